//! The dashboard's loop: what happens becomes messages, what they answer is done here.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use crossterm::event::Event;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::account::Account;
use super::child::Streams;
use super::costs::Costs;
use super::frames::Frames;
use super::inputs::Inputs;
use super::keyboard::{self, Typed};
use super::own::{boot_ns, own};
use super::stage::{Cast, Stage};
use super::stops::{Stop, Stops};
use super::tail::{self, Tail};
use super::terminal::{self, Taken};
use super::{Capture, Plan, Wanted, scripted, signals, user};
use crate::app::replay::Replay;
use crate::app::{App, CaptureText, Effect, Msg, Outcome, Prefs, Settings, update};
use crate::cli::{CaptureArgs, CastArgs, DisplayArgs, LookArgs};
use crate::config::Config;
use crate::error::{Error, Kind, in_words};
use crate::look::{Colors, Look, ThemeName};
use crate::probe::StacksOf;
use crate::recording::keys::{self as script_keys, Act};
use crate::session::Session;
use crate::source::replay::{self, Pace};

/// How often it is looked what time it is.
const TICK: Duration = Duration::from_millis(250);

/// Size of a cast where there is no terminal to have one.
const CAST_SIZE: (u16, u16) = (100, 34);

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
    /// Whether it is on a terminal; else it is drawn for a cast alone.
    pub on_terminal: bool,
    /// What is done when, of itself; ends with [`Act::End`]. Empty for nothing.
    pub script: Vec<(Duration, Act)>,
}

/// Runs `opentop` without a subcommand: the dashboard, on a terminal or for a cast alone. `typed` is the whole command
/// line.
///
/// # Errors
/// Whatever keeps it from starting, and a terminal that cannot be written to.
pub fn dashboard(
    look: &LookArgs,
    display: &DisplayArgs,
    cast: &CastArgs,
    args: &CaptureArgs,
    typed: &[OsString],
) -> Result<ExitCode, Error> {
    let script = script(cast.keys.as_deref())?;
    let terminal = io::stdout().is_terminal();
    let on_terminal = terminal && cast.cast_size.is_none();
    let size = match cast.cast_size {
        Some(size) => size,
        None if terminal => terminal::size(),
        None => CAST_SIZE,
    };
    let invoker = user::invoker();
    // What is made for others to see is the same whoever makes it.
    let (config, complaint) = match on_terminal && script.is_none() {
        true => super::config::read(invoker.as_ref())?,
        false => (Config::default(), None),
    };
    let look = &super::config::merge(look, &config);
    let (asked, recording) = (display.filter.as_deref().or(config.filter.as_deref()), args.recording.read.as_deref());
    let filter = super::trace::filter(asked, recording)?;
    let prefs = Prefs {
        layout: look.layout.unwrap_or_default(),
        columns: config.columns.unwrap_or_default(),
        keymap: config.keymap,
        notice: complaint,
    };
    let mut settings = settings(filter, (look, prefs), args, on_terminal);
    let wanted = Wanted::new(args)?;
    settings.capture = CaptureText { text: wanted.text, command: wanted.scope };
    if let (Some(from), Some(to)) = (&args.recording.read, &cast.cast)
        && (script.is_some() || !on_terminal)
    {
        return scripted::cast((from, to, asked), invoker.as_ref(), args.keep_privileges, settings, size, script);
    }
    let cast = cast.cast.as_deref().map(|path| {
        let now = jiff::Timestamp::now().as_second();
        Cast::create(path, invoker.as_ref(), size, Some(now))
    });
    let mut stage = Stage::new(on_terminal, cast.transpose()?, size);
    // The command must neither draw over the screen nor take its keys.
    let (output, streams) = match args.cmd.as_slice() {
        [] => (None, Streams::default()),
        _ => {
            let (from, to) = tail::pipe()?;
            let input = std::fs::File::open("/dev/null").ok().map(Into::into);
            (Some(from), Streams { input, output: Some(to) })
        }
    };
    let mut capture = match &args.recording.read {
        Some(path) => Capture::replay(path, invoker.as_ref(), args.keep_privileges, Pace::Clock)?,
        None => {
            // A key may ask for those of one process.
            let stacks = if args.stacks { StacksOf::All } else { StacksOf::Named };
            let plan = Plan { args, typed, streams, stacks, invoker, measure: true, who: true, progress: false };
            Capture::start(plan)?
        }
    };
    let tail = output.map(Tail::start).transpose()?;
    signals::before_a_quick_end(terminal::give_back);
    let filmed = on_terminal && super::filmed::by_asciinema();
    if filmed {
        stage.is_filmed();
    }
    settings.filter = super::trace::late_filter(asked, recording, settings.filter)?;
    let options = DashboardOptions {
        settings,
        mouse: !look.no_mouse.unwrap_or(false) && !filmed,
        quit_at_end: args.recording.read.is_none(),
        on_terminal,
        script: script.unwrap_or_default(),
    };
    let handle = capture.runtime.handle().clone();
    let session = capture.session.clone();
    let began = Instant::now();
    let account = handle.block_on(run(session, &mut capture, &mut stage, options))?;
    let cast = stage.finish(began.elapsed(), capture.status.unwrap_or(0));
    if let Some(tail) = tail {
        tail.show();
    }
    let code = capture.finish(&account);
    cast.map(|()| code)
}

/// The script of `--keys`, as its timeline.
fn script(text: Option<&str>) -> Result<Option<Vec<(Duration, Act)>>, Error> {
    let Some(text) = text else { return Ok(None) };
    let steps = script_keys::parse(text)
        .map_err(|e| Error::new(Kind::Usage, format!("--keys cannot be understood:\n{}", e.pointing(text))))?;
    Ok(Some(script_keys::timeline(steps)))
}

/// How it looks. Off the terminal nothing of this machine decides that, nor what time it is.
fn settings(
    filter: Option<crate::filter::Filter>,
    (look, prefs): (&LookArgs, Prefs),
    args: &CaptureArgs,
    on_terminal: bool,
) -> Settings {
    let live = args.recording.read.is_none();
    let var = |name| std::env::var(name).ok();
    let colors = match (look.no_color, on_terminal) {
        (true, _) => Colors::None,
        (_, true) => Colors::from_env(var("NO_COLOR").as_deref(), var("COLORTERM").as_deref(), var("TERM").as_deref()),
        (_, false) => Colors::True,
    };
    let foreign = !live && !on_terminal;
    Settings {
        prefs,
        model: super::config::model(look),
        look: Look { theme: look.theme.unwrap_or(ThemeName::Dark), colors, ascii: look.ascii.unwrap_or(false) },
        live,
        time_zone: if foreign { jiff::tz::TimeZone::UTC } else { jiff::tz::TimeZone::system() },
        parse: crate::filter::Filter::parse,
        filter,
        capture: CaptureText::default(),
        stacks: live && args.stacks,
    }
}

/// Runs the dashboard until the person or the script quits, or the source ends (see
/// [`DashboardOptions::quit_at_end`]); gives what became of every open.
async fn run(
    session: Session,
    inputs: &mut impl Inputs,
    stage: &mut Stage,
    options: DashboardOptions,
) -> Result<Account, Error> {
    let no_terminal = |error: io::Error| {
        Error::failed(format!(
            "the dashboard needs a terminal ({}); `opentop trace` writes lines to anything",
            in_words(&error)
        ))
    };
    // Before the terminal is taken: a SIGTSTP that comes at once would leave it as it is.
    let mut stops = Stops::watch(options.on_terminal)?;
    let taken = options.on_terminal.then(|| Taken::new(options.mouse)).transpose().map_err(no_terminal)?;
    let no_keys = |e: io::Error| Error::failed(format!("cannot start the reader of keys: {}", in_words(&e)));
    let mut keys = options.on_terminal.then(keyboard::start).transpose().map_err(no_keys)?;
    // Those that end a session are waited for elsewhere, and come as the end of the input.
    let mut resized = signal(SignalKind::window_change())
        .map_err(|e| Error::failed(format!("cannot watch the size of the terminal: {}", in_words(&e))))?;
    let began = Instant::now();
    let (columns, rows) = stage.size();
    let mut app = App::new(session, options.settings);
    let mut positions = inputs.replay().map(replay::Replay::position);
    app.replay = inputs.replay().map(|replay| {
        let chunks = replay.index().iter().map(|entry| (entry.time_ns, entry.ordinal)).collect();
        Replay::new(*replay.position().borrow(), chunks)
    });
    let mut script = options.script.into_iter().peekable();
    let (names_to, mut names) = tokio::sync::mpsc::channel(16);
    let (said_to, mut said) = tokio::sync::mpsc::channel(4);
    let (looked_to, mut looked) = tokio::sync::mpsc::channel(4);
    let mut tick = tokio::time::interval(TICK.min(Duration::from_nanos(app.settings.model.interval_ns)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);

    let mut costs = Costs::new(Instant::now());
    // Whether there is something to draw, and whether a person waits for it.
    let (mut changed, mut urgent) = (true, true);
    let mut pace = Frames::default();
    update(&mut app, Msg::Tick(inputs.now_ns()));
    let mut outcome = update(&mut app, Msg::Resize(columns, rows));
    'running: loop {
        changed |= outcome.changed;
        for effect in std::mem::take(&mut outcome.effects) {
            match effect {
                Effect::Quit => break 'running,
                Effect::Suspend => {
                    let Some(taken) = &taken else { continue };
                    taken.suspend().map_err(no_terminal)?;
                    stage.resize(began.elapsed(), terminal::size());
                    let (columns, rows) = stage.size();
                    changed |= update(&mut app, Msg::Resize(columns, rows)).changed;
                }
                Effect::Repaint => stage.repaint(),
                Effect::Capture(to) => {
                    if !inputs.capture(*to) {
                        let busy = "the capture is still being changed to what was typed before".to_owned();
                        changed |= update(&mut app, Msg::Said(busy)).changed;
                    }
                }
                Effect::Control(control) => {
                    if inputs.replay().is_some_and(|replay| !replay.control(control)) {
                        let busy = "the replay is still busy with what it was told before".to_owned();
                        changed |= update(&mut app, Msg::Said(busy)).changed;
                    }
                }
                Effect::Copy(text) if taken.is_some() => super::clipboard::copy(&text),
                Effect::Copy(_) => {}
                Effect::Save(list, text) => super::save::save(list, text, user::invoker(), said_to.clone()),
                Effect::Look(key) => super::look::look(key, looked_to.clone()),
                Effect::NameUsers(uids) if app.replay.is_some() => {
                    changed |= update(&mut app, Msg::Users(scripted::strangers(uids))).changed;
                }
                Effect::Stacks(pid, on) => {
                    if !inputs.stacks_of(pid, on) {
                        let busy = "the reader of the ring is busy: press the key once more".to_owned();
                        changed |= update(&mut app, Msg::Said(busy)).changed;
                    }
                }
                Effect::NameUsers(uids) => name_users(uids, names_to.clone()),
                Effect::Meter(on) => costs.ask(inputs.meter(), on),
            }
        }
        if inputs.asked() || (app.live.ended && options.quit_at_end) {
            break;
        }
        // A new filter is worked off in pieces, between which keys are looked at.
        let busy = app.is_examining();
        // A replay that has ended can be taken back.
        let waiting = !app.live.ended || app.replay.is_some();
        let due = script.peek().map(|(due, _)| began + *due);
        let next_frame = pace.next(urgent, Instant::now());
        outcome = tokio::select! {
            biased;
            _ = resized.recv(), if taken.is_some() => {
                stage.resize(began.elapsed(), terminal::size());
                let (columns, rows) = stage.size();
                update(&mut app, Msg::Resize(columns, rows))
            }
            stop = stops.next() => {
                if let Some(taken) = &taken {
                    match stop {
                        Stop::Wanted => taken.suspend(),
                        Stop::Over => taken.again(),
                    }
                    .map_err(no_terminal)?;
                }
                stage.resize(began.elapsed(), terminal::size());
                let (columns, rows) = stage.size();
                urgent = true;
                update(&mut app, Msg::Resize(columns, rows))
            }
            typed = typed(&mut keys) => match typed {
                Some(Typed::Event(Event::Key(key))) => {
                    urgent = true;
                    update(&mut app, Msg::Key(key))
                }
                Some(Typed::Event(Event::Mouse(mouse))) => {
                    let outcome = update(&mut app, Msg::Mouse(mouse));
                    urgent |= outcome.changed;
                    outcome
                }
                Some(Typed::Event(_)) => Outcome::default(),
                // Nobody can see or stop it any more.
                Some(Typed::Gone) | None => break,
            },
            () = tokio::time::sleep_until(next_frame), if changed => {
                let pause = stage.draw(began.elapsed(), &app)?;
                (changed, urgent) = (false, false);
                pace.drawn(Instant::now(), pause);
                Outcome::default()
            },
            () = tokio::time::sleep_until(due.unwrap_or(began)), if due.is_some() => match script.next() {
                Some((_, Act::Key(key))) => {
                    urgent = true;
                    update(&mut app, Msg::Key(key))
                }
                Some((_, Act::Mark(label))) => {
                    stage.mark(began.elapsed(), &label);
                    Outcome::default()
                }
                // The size of a terminal is not ours to change.
                Some((_, Act::Resize(..))) if taken.is_some() => Outcome::default(),
                Some((_, Act::Resize(columns, rows))) => {
                    stage.resize(began.elapsed(), (columns, rows));
                    update(&mut app, Msg::Resize(columns, rows))
                }
                Some((_, Act::End)) | None => break,
            },
            Some((key, known)) = looked.recv() => update(&mut app, Msg::Looked(key, known)),
            Some(sentence) = said.recv() => update(&mut app, Msg::Said(sentence)),
            Some(named) = names.recv() => update(&mut app, Msg::Users(named)),
            position = moved(&mut positions) => update(&mut app, Msg::Position(position)),
            came = inputs.next(), if waiting => update(&mut app, Msg::Input(came)),
            _ = tick.tick() => {
                super::fault::point("main");
                update(&mut app, Msg::Own(own()));
                if let Some(stats) = inputs.recording() {
                    changed |= update(&mut app, Msg::Recording(stats)).changed;
                }
                if let Some(cost) = costs.look(inputs.meter(), Instant::now(), boot_ns()) {
                    changed |= update(&mut app, cost).changed;
                }
                update(&mut app, Msg::Tick(inputs.now_ns()))
            }
            () = std::future::ready(()), if busy => update(&mut app, Msg::Tick(inputs.now_ns())),
        };
    }
    keyboard::ending();
    inputs.stop();
    drain(&mut app, inputs).await;
    // The last frame of a cast has all there is.
    let last = stage.draw(began.elapsed(), &app);
    drop(taken);
    last?;
    Ok(Account::of(&app.live))
}

/// The next key; never, where there is no keyboard.
async fn typed(keys: &mut Option<tokio::sync::mpsc::Receiver<Typed>>) -> Option<Typed> {
    match keys {
        Some(keys) => {
            let typed = keys.recv().await;
            typed.iter().for_each(keyboard::taken);
            typed
        }
        None => std::future::pending().await,
    }
}

/// The replay's next position; never, when there is none any more.
async fn moved(positions: &mut Option<tokio::sync::watch::Receiver<replay::Position>>) -> replay::Position {
    if let Some(watched) = positions
        && watched.changed().await.is_ok()
    {
        return *watched.borrow_and_update();
    }
    *positions = None;
    std::future::pending().await
}

/// Takes in what the source still has, until its end.
async fn drain(app: &mut App, inputs: &mut impl Inputs) {
    let deadline = Instant::now() + DRAIN;
    while !app.live.ended {
        let Ok(came) = tokio::time::timeout_at(deadline, inputs.next()).await else { break };
        update(app, Msg::Input(came));
    }
}

/// Looks names of users up, off the loop: the answer may have to come over a network.
fn name_users(uids: Vec<u32>, to: tokio::sync::mpsc::Sender<Vec<(u32, Option<String>)>>) {
    tokio::task::spawn_blocking(move || {
        super::fault::point("users");
        let name = |uid| nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten().map(|u| u.name);
        let names = uids.into_iter().map(|uid| (uid, name(uid))).collect();
        // The dashboard may have ended meanwhile.
        let _ = to.blocking_send(names);
    });
}
