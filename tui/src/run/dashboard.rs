//! The dashboard's loop: what happens becomes messages, what they answer is done here.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crossterm::event::Event;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::account::Account;
use super::child::Streams;
use super::keyboard::{self, Typed};
use super::tail::{self, Tail};
use super::terminal::{self, Output, Screen, Taken};
use super::{Capture, Origin, Plan, signals, user};
use crate::app::{App, Effect, Look, Msg, Outcome, Own, Settings, update};
use crate::cli::{CaptureArgs, DisplayArgs, LookArgs};
use crate::error::Error;
use crate::model;
use crate::session::Session;
use crate::source::Input;
use crate::source::replay::Pace;
use crate::source::replay::{Control, Position};
use crate::view::{self, theme};

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

/// What hands the dashboard its input.
pub trait Inputs {
    /// The next input; [`Input::End`] when there is none left. Must be cancel-safe.
    fn next(&mut self) -> impl Future<Output = Input>;
    /// Asks for the end: what is still under way comes, then [`Input::End`].
    fn stop(&mut self);
    /// Whether something else than the person at the keys asked for the end.
    fn asked(&self) -> bool {
        false
    }
    /// Tells a replay something.
    fn control(&self, _: Control) {}
    /// Where a replay is.
    fn position(&self) -> Option<Position> {
        None
    }
    /// What time it is where the inputs come from, boot clock, ns: a recording's own time, in a replay.
    fn now_ns(&self) -> u64 {
        boot_ns()
    }
}

impl Inputs for Capture {
    async fn next(&mut self) -> Input {
        Capture::next(self).await
    }

    fn stop(&mut self) {
        self.origin.stop();
    }

    fn asked(&self) -> bool {
        self.asked
    }

    fn control(&self, control: Control) {
        if let Origin::Replay(replay) = &self.origin {
            replay.control(control);
        }
    }

    fn position(&self) -> Option<Position> {
        match &self.origin {
            Origin::Live(_) => None,
            Origin::Replay(replay) => Some(*replay.position().borrow()),
        }
    }

    fn now_ns(&self) -> u64 {
        match &self.origin {
            Origin::Live(_) => boot_ns(),
            Origin::Replay(replay) => replay.now_ns(),
        }
    }
}

/// Runs `opentop` without a subcommand on a terminal: the dashboard. `typed` is the whole command line.
///
/// # Errors
/// Whatever keeps it from starting, and a terminal that cannot be written to.
pub fn dashboard(
    look: &LookArgs,
    display: &DisplayArgs,
    args: &CaptureArgs,
    typed: &[OsString],
) -> Result<ExitCode, Error> {
    let filter = super::trace::filter(display.filter.as_deref())?;
    // The command must neither draw over the screen nor take its keys.
    let (output, streams) = match args.cmd.as_slice() {
        [] => (None, Streams::default()),
        _ => {
            let (from, to) = tail::pipe()?;
            let input = std::fs::File::open("/dev/null").ok().map(Into::into);
            (Some(from), Streams { input, output: Some(to) })
        }
    };
    let invoker = user::invoker();
    let mut capture = match &args.recording.read {
        Some(path) => Capture::replay(path, invoker.as_ref(), Pace::Clock)?,
        None => Capture::start(Plan { args, typed, streams, invoker })?,
    };
    let tail = output.map(Tail::start).transpose()?;
    signals::before_a_quick_end(terminal::give_back);
    let var = |name| std::env::var(name).ok();
    let colors = if look.no_color {
        theme::Colors::None
    } else {
        theme::Colors::from_env(var("NO_COLOR").as_deref(), var("COLORTERM").as_deref(), var("TERM").as_deref())
    };
    let settings = Settings {
        model: model::Options::default(),
        look: Look { theme: look.theme, colors, ascii: look.ascii },
        live: args.recording.read.is_none(),
        time_zone: jiff::tz::TimeZone::system(),
        parse: crate::filter::Filter::parse,
        filter,
    };
    let options = DashboardOptions { settings, mouse: !look.no_mouse, quit_at_end: args.recording.read.is_none() };
    let handle = capture.runtime.handle().clone();
    let session = capture.session.clone();
    let account = handle.block_on(run(session, &mut capture, options))?;
    if let Some(tail) = tail {
        tail.show();
    }
    Ok(capture.finish(&account))
}

/// Runs the dashboard until the person quits or the source ends (see [`DashboardOptions::quit_at_end`]); gives what
/// became of every open.
///
/// # Errors
/// When there is no terminal, or it cannot be written to.
pub async fn run(session: Session, inputs: &mut impl Inputs, options: DashboardOptions) -> Result<Account, Error> {
    let no_terminal = |error: io::Error| {
        Error::failed(format!("the dashboard needs a terminal ({error}); `opentop trace` writes lines to anything"))
    };
    let taken = Taken::new(options.mouse).map_err(no_terminal)?;
    let mut keys = keyboard::start().map_err(|e| Error::failed(format!("cannot start the reader of keys: {e}")))?;
    // Those that end a session are waited for elsewhere, and come as the end of the input.
    let mut resized = signal(SignalKind::window_change())
        .map_err(|e| Error::failed(format!("cannot watch the size of the terminal: {e}")))?;
    let (columns, rows) = terminal::size();
    let mut screen = Screen::new(Output, columns, rows);
    let mut app = App::new(session, options.settings);
    let (names_to, mut names) = tokio::sync::mpsc::channel(16);
    let (looked_to, mut looked) = tokio::sync::mpsc::channel(4);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);

    let mut changed = true;
    let mut closed = false;
    // No frame yet: the first one comes at once.
    let mut next_frame = Instant::now();
    update(&mut app, Msg::Tick(inputs.now_ns()));
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
                Effect::Control(control) => inputs.control(control),
                Effect::Copy(text) => super::clipboard::copy(&text),
                Effect::Look(key) => super::look::look(key, looked_to.clone()),
                Effect::NameUsers(uids) => name_users(uids, names_to.clone()),
            }
        }
        if inputs.asked() || (app.live.ended && options.quit_at_end) {
            break;
        }
        // A new filter is worked off in pieces, between which keys are looked at.
        let busy = app.is_examining();
        outcome = tokio::select! {
            biased;
            _ = resized.recv() => {
                let (columns, rows) = terminal::size();
                screen.resize(columns, rows);
                update(&mut app, Msg::Resize(columns, rows))
            }
            typed = keys.recv() => match typed {
                Some(Typed::Event(Event::Key(key))) => update(&mut app, Msg::Key(key)),
                Some(Typed::Event(Event::Mouse(mouse))) => update(&mut app, Msg::Mouse(mouse)),
                Some(Typed::Event(_)) => Outcome::default(),
                // Nobody can see or stop it any more.
                Some(Typed::Gone) | None => break,
            },
            () = tokio::time::sleep_until(next_frame), if changed => {
                draw(&mut screen, &app)?;
                changed = false;
                next_frame = Instant::now() + FRAME;
                Outcome::default()
            },
            Some((key, family, cgroup)) = looked.recv() => update(&mut app, Msg::Looked(key, family, cgroup)),
            Some(named) = names.recv() => update(&mut app, Msg::Users(named)),
            came = inputs.next(), if !closed => {
                // A replay has more to come when it is taken back; a second end is the last one.
                closed = app.live.ended && matches!(came, Input::End);
                update(&mut app, Msg::Input(came))
            }
            _ = tick.tick() => {
                update(&mut app, Msg::Own(own()));
                if let Some(position) = inputs.position() {
                    changed |= update(&mut app, Msg::Position(position)).changed;
                }
                update(&mut app, Msg::Tick(inputs.now_ns()))
            }
            () = std::future::ready(()), if busy => update(&mut app, Msg::Tick(inputs.now_ns())),
        };
    }
    inputs.stop();
    drain(&mut app, inputs).await;
    drop(taken);
    let model = &app.live;
    Ok(Account { totals: model.totals, shown: model.shown, filtered: model.filtered, undecodable: model.undecodable })
}

fn draw<W: Write>(screen: &mut Screen<W>, app: &App) -> Result<(), Error> {
    screen
        .frame(|buf| view::draw(app, buf))
        .map(|_| ())
        .map_err(|e| Error::failed(format!("cannot write to the terminal: {e}")))
}

/// Takes in what the source still has, until its end.
async fn drain(app: &mut App, inputs: &mut impl Inputs) {
    let deadline = Instant::now() + DRAIN;
    while !app.live.ended {
        let Ok(came) = tokio::time::timeout_at(deadline, inputs.next()).await else { break };
        update(app, Msg::Input(came));
    }
}

/// Boot clock, ns.
fn boot_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(0, |t| {
        let seconds = u64::try_from(t.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(t.tv_nsec()).unwrap_or(0))
    })
}

/// What this process used so far.
fn own() -> Own {
    let Ok(usage) = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF) else {
        return Own::default();
    };
    let ns = |t: nix::sys::time::TimeVal| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_usec()).unwrap_or(0) * 1_000
    };
    Own {
        at_ns: boot_ns(),
        cpu_ns: ns(usage.user_time()) + ns(usage.system_time()),
        // In KiB: getrusage(2).
        memory: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
    }
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
