//! The dashboard's loop: what happens becomes messages, what they answer is done here.

use std::io::{self, Write};
use std::time::Duration;

use crossterm::event::Event;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use super::keyboard::{self, Typed};
use super::terminal::{self, Screen, Taken};
use crate::app::{Account, App, Effect, Msg, Outcome, Settings, update};
use crate::error::Error;
use crate::session::Session;
use crate::source::Input;
use crate::view;

/// Least time between two frames: 20 a second.
const FRAME: Duration = Duration::from_millis(50);

/// How often it is looked what time it is.
const TICK: Duration = Duration::from_millis(250);

/// Longest wait for what the source still has, after it was asked to stop.
const DRAIN: Duration = Duration::from_secs(3);

/// What the dashboard is started with.
#[derive(Clone, Debug)]
pub struct DashboardOptions {
    /// How it looks, what it keeps.
    pub settings: Settings,
    /// Whether the mouse is used.
    pub mouse: bool,
    /// Whether it ends when the source does (a command that was traced has ended), instead of leaving the last
    /// picture to be looked at.
    pub quit_at_end: bool,
}

/// How the dashboard ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// `opens = shown + filtered + lost`.
    pub account: Account,
    /// The signal that ended it; `None` when the person did, or the source.
    pub signal: Option<i32>,
    /// Whether the source had ended by itself.
    pub source_ended: bool,
}

/// Runs the dashboard until the person quits, a signal comes, or the source ends (see
/// [`DashboardOptions::quit_at_end`]). `stop` asks the source to end; what it still hands over is counted.
///
/// # Errors
/// When there is no terminal, or it cannot be written to.
pub async fn run(
    session: Session,
    mut input: Receiver<Input>,
    options: DashboardOptions,
    mut stop: impl FnMut(),
) -> Result<Ended, Error> {
    let no_terminal = |error: io::Error| {
        Error::failed(format!(
            "the dashboard needs a terminal ({error}); `opentop trace` writes lines to anything"
        ))
    };
    let taken = Taken::new(options.mouse).map_err(no_terminal)?;
    let mut keys = keyboard::start().map_err(|e| Error::failed(format!("cannot start the reader of keys: {e}")))?;
    let mut signals = Signals::new().map_err(|e| Error::failed(format!("cannot watch signals: {e}")))?;
    let (columns, rows) = terminal::size();
    let mut screen = Screen::new(io::stdout(), columns, rows);
    let mut app = App::new(session, options.settings);
    let (names_to, mut names) = tokio::sync::mpsc::channel(16);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);

    let mut ended = Ended::default();
    let mut changed = true;
    // No frame yet: the first one comes at once.
    let mut next_frame = Instant::now();
    let mut source_open = true;
    update(&mut app, Msg::Tick(boot_ns()));
    let mut outcome = update(&mut app, Msg::Resize(columns, rows));
    'running: loop {
        changed |= outcome.changed;
        for effect in std::mem::take(&mut outcome.effects) {
            match effect {
                Effect::Quit => break 'running,
                Effect::Suspend => {
                    taken.suspend().map_err(no_terminal)?;
                    let (columns, rows) = terminal::size();
                    screen.resize(columns, rows);
                    changed |= update(&mut app, Msg::Resize(columns, rows)).changed;
                }
                Effect::Repaint => screen.repaint(),
                Effect::NameUsers(uids) => name_users(uids, names_to.clone()),
            }
        }
        if app.live.ended && options.quit_at_end {
            break;
        }
        // A new filter is worked off in pieces, between which keys are looked at.
        let busy = app.is_examining();
        outcome = tokio::select! {
            biased;
            signal = signals.recv() => match signal {
                Caught::Resized => {
                    let (columns, rows) = terminal::size();
                    screen.resize(columns, rows);
                    update(&mut app, Msg::Resize(columns, rows))
                }
                Caught::End(number) => {
                    ended.signal = Some(number);
                    break;
                }
            },
            typed = keys.recv() => match typed {
                Some(Typed::Event(Event::Key(key))) => update(&mut app, Msg::Key(key)),
                Some(Typed::Event(Event::Mouse(mouse))) => update(&mut app, Msg::Mouse(mouse)),
                Some(Typed::Event(_)) => Outcome::default(),
                Some(Typed::Gone) | None => {
                    ended.signal = Some(nix::libc::SIGHUP);
                    break;
                }
            },
            () = tokio::time::sleep_until(next_frame), if changed => {
                draw(&mut screen, &app)?;
                changed = false;
                next_frame = Instant::now() + FRAME;
                Outcome::default()
            },
            Some(named) = names.recv() => update(&mut app, Msg::Users(named)),
            came = input.recv(), if source_open => {
                source_open = came.is_some();
                update(&mut app, Msg::Input(came.unwrap_or(Input::End)))
            },
            _ = tick.tick() => update(&mut app, Msg::Tick(boot_ns())),
            () = std::future::ready(()), if busy => update(&mut app, Msg::Tick(boot_ns())),
        };
    }
    ended.source_ended = app.live.ended;
    stop();
    drain(&mut app, &mut input).await;
    ended.account = app.account();
    drop(taken);
    Ok(ended)
}

fn draw<W: Write>(screen: &mut Screen<W>, app: &App) -> Result<(), Error> {
    screen
        .frame(|buf| view::draw(app, buf))
        .map(|_| ())
        .map_err(|e| Error::failed(format!("cannot write to the terminal: {e}")))
}

/// Takes in what the source still has, until its end.
async fn drain(app: &mut App, input: &mut Receiver<Input>) {
    let deadline = Instant::now() + DRAIN;
    while !app.live.ended {
        match tokio::time::timeout_at(deadline, input.recv()).await {
            Ok(Some(came)) => {
                update(app, Msg::Input(came));
            }
            Ok(None) | Err(_) => break,
        }
    }
}

/// Boot clock, ns.
fn boot_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(0, |t| {
        let seconds = u64::try_from(t.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(t.tv_nsec()).unwrap_or(0))
    })
}

/// Looks names of users up, off the loop: the answer may have to come over a network.
fn name_users(uids: Vec<u32>, to: tokio::sync::mpsc::Sender<Vec<(u32, Option<String>)>>) {
    tokio::task::spawn_blocking(move || {
        let name = |uid| nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten().map(|u| u.name);
        let names = uids.into_iter().map(|uid| (uid, name(uid))).collect();
        // The dashboard may have ended meanwhile.
        let _ = to.blocking_send(names);
    });
}

/// What a signal means here.
enum Caught {
    Resized,
    End(i32),
}

struct Signals {
    resized: Signal,
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn recv(&mut self) -> Caught {
        tokio::select! {
            _ = self.terminate.recv() => Caught::End(nix::libc::SIGTERM),
            _ = self.hang_up.recv() => Caught::End(nix::libc::SIGHUP),
            _ = self.interrupt.recv() => Caught::End(nix::libc::SIGINT),
            _ = self.quit.recv() => Caught::End(nix::libc::SIGQUIT),
            _ = self.resized.recv() => Caught::Resized,
        }
    }
}
