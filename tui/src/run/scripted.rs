//! `-r` with `--cast`, with nobody at the keyboard: the replay and the keys of `--keys` by a time of their own, as fast as
//! the machine can. Nothing of this machine is looked at, so that the same recording and script give the same bytes.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::account::Account;
use super::sandbox::{self, Keep};
use super::stage::{Cast, FRAME, Stage};
use super::user::Invoker;
use super::{output, say};
use crate::app::replay::Replay;
use crate::app::{App, Effect, Msg, Outcome, Settings, update};
use crate::error::Error;
use crate::recording::Reader;
use crate::recording::keys::Act;
use crate::source::Input;
use crate::source::replay::{Control, Deck, Outlet, Player, Stop};

/// What the replay's inputs are taken in by.
struct Into<'a> {
    app: &'a mut App,
    outcome: &'a mut Outcome,
}

impl Outlet for Into<'_> {
    fn send(&mut self, input: Input) -> Result<(), Stop> {
        take(self.outcome, update(self.app, Msg::Input(input)));
        Ok(())
    }
}

fn take(into: &mut Outcome, more: Outcome) {
    into.changed |= more.changed;
    into.effects.extend(more.effects);
}

/// Makes the cast of a recording. Without `script` it is as long as the recording.
///
/// # Errors
/// When the recording can't be read, or the cast can't be written.
pub(super) fn cast(
    (from, to, wanted): (&Path, &Path, Option<&str>),
    invoker: Option<&Invoker>,
    keep_privileges: bool,
    mut settings: Settings,
    size: (u16, u16),
    script: Option<Vec<(Duration, Act)>>,
) -> Result<ExitCode, Error> {
    let unread = super::user::as_invoker(invoker, || Reader::unread(from))??;
    // While there are privileges: root may write where nobody else does.
    let file = output::create(to, invoker)?;
    sandbox::enter(invoker, if keep_privileges { Keep::All } else { Keep::Nothing })?;
    let reader = unread.begin()?;
    settings.filter = super::trace::late_filter(wanted, Some(from), settings.filter)?;
    let session = reader.session().session.clone();
    let mut player = Player::new(reader);
    let index = if player.can_rewind() { player.index()? } else { Vec::new() };
    let began = i64::try_from(session.wall_ns(session.start_ns).div_euclid(1_000_000_000)).ok();
    let cast = Cast::begin(file, to, size, began)?;
    let mut app = App::new(session, settings);
    let deck = Deck::new(player, &index);
    let chunks = index.iter().map(|entry| (entry.time_ns, entry.ordinal)).collect();
    app.replay = Some(Replay::new(deck.position(), chunks));
    let mut run = Run {
        app,
        deck,
        stage: Stage::new(false, Some(cast), size),
        outcome: Outcome::default(),
        at: Duration::ZERO,
        drawn: Duration::ZERO,
        next_frame: Duration::ZERO,
    };
    match run.play(script) {
        Ok(()) | Err(Stop::Done) => {}
        Err(Stop::Failed(error)) => return Err(error),
    }
    run.stage.finish(run.at, 0)?;
    let account = Account::of(&run.app.live);
    if let Some(losses) = account.losses(run.app.session.ring_bytes) {
        say(&losses);
    }
    run.deck.player().report().to_string().lines().for_each(say);
    super::line(&account.to_string());
    Ok(ExitCode::SUCCESS)
}

struct Run {
    app: App,
    deck: Deck,
    stage: Stage,
    outcome: Outcome,
    /// What time it is, since the beginning.
    at: Duration,
    /// When the last frame was drawn, and when the next one may be.
    drawn: Duration,
    next_frame: Duration,
}

impl Run {
    fn play(&mut self, script: Option<Vec<(Duration, Act)>>) -> Result<(), Stop> {
        let scripted = script.is_some();
        let mut acts = script.unwrap_or_default().into_iter().peekable();
        let (columns, rows) = self.stage.size();
        self.tell(Msg::Resize(columns, rows));
        let mut going = true;
        while going {
            self.replay(|deck, at, out| deck.advance(at, out).map(|_| ()))?;
            while let Some((_, act)) = acts.next_if(|(due, _)| *due <= self.at) {
                going &= self.act(act)?;
            }
            going &= self.settle()?;
            going &= scripted || !self.deck.position().ended;
            let due = self.outcome.changed && self.at >= self.next_frame;
            if due || !going {
                let pause = self.stage.draw(self.at, &self.app).map_err(Stop::Failed)?;
                self.outcome.changed = false;
                (self.drawn, self.next_frame) = (self.at, self.at + pause);
            }
            let next = self.at.saturating_add(FRAME);
            if going {
                self.at = acts.peek().map_or(next, |(due, _)| next.min(*due)).max(self.at);
            }
        }
        // For the account: what is counted so far. The last frame stays as it was.
        let mut out = Into { app: &mut self.app, outcome: &mut self.outcome };
        self.deck.obey(Control::Stop, self.at, &mut out)
    }

    fn tell(&mut self, msg: Msg) {
        take(&mut self.outcome, update(&mut self.app, msg));
    }

    fn replay(
        &mut self,
        what: impl FnOnce(&mut Deck, Duration, &mut Into<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut out = Into { app: &mut self.app, outcome: &mut self.outcome };
        what(&mut self.deck, self.at, &mut out)?;
        self.tell(Msg::Position(self.deck.position()));
        Ok(())
    }

    /// One step of the script; false at its end.
    fn act(&mut self, act: Act) -> Result<bool, Stop> {
        match act {
            Act::Key(key) => {
                self.next_frame = self.next_frame.min(self.drawn + FRAME);
                self.tell(Msg::Key(key));
            }
            Act::Mark(label) => self.stage.mark(self.at, &label),
            Act::Resize(columns, rows) => {
                self.stage.resize(self.at, (columns, rows));
                self.tell(Msg::Resize(columns, rows));
            }
            Act::End => return Ok(false),
        }
        self.settle()
    }

    /// Does what is to be done, and lets a new filter examine all there is; false when it is to end.
    fn settle(&mut self) -> Result<bool, Stop> {
        loop {
            for effect in std::mem::take(&mut self.outcome.effects) {
                match effect {
                    Effect::Quit => return Ok(false),
                    Effect::Repaint => self.stage.repaint(),
                    Effect::Control(control) => self.replay(|deck, at, out| deck.obey(control, at, out))?,
                    Effect::NameUsers(uids) => self.tell(Msg::Users(strangers(uids))),
                    // There is no shell, no clipboard, nobody to want a file, no probe, and no process of here that is meant.
                    Effect::Suspend
                    | Effect::Copy(_)
                    | Effect::Look(_)
                    | Effect::Save(..)
                    | Effect::Meter(_)
                    | Effect::Capture(_)
                    | Effect::Stacks(..) => {}
                }
            }
            if self.app.is_examining() {
                self.tell(Msg::Tick(self.deck.position().at_ns));
            } else if self.outcome.effects.is_empty() {
                return Ok(true);
            }
        }
    }
}

/// The users of another machine: its recording may name them, this machine's list does not. Root is root everywhere.
pub(super) fn strangers(uids: Vec<u32>) -> Vec<(u32, Option<String>)> {
    uids.into_iter().map(|uid| (uid, (uid == 0).then(|| "root".to_owned()))).collect()
}
