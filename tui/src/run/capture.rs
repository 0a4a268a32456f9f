//! A running capture: where its inputs come from, what may end it, and its end in order.

use std::{ffi::OsString, path::Path, process::ExitCode, time::Duration};

use nix::sys::signal::Signal;
use tokio::{runtime::Runtime, sync::mpsc};

use super::{
    account::Account,
    begin::{confine, first_file, open_recording, options, processes_exist, recorder, runtime},
    child,
    facts::Facts,
    fault, line, output,
    probe_log::ProbeLog,
    progress::Progress,
    sandbox, say, signals, user,
    wanted::Wanted,
};
use crate::{
    cli::CaptureArgs,
    error::Error,
    privilege,
    probe::{self, Meter, Probe},
    recording::Recorder,
    session::Session,
    source::{
        Input, ProcessFacts,
        live::{self, Live},
        replay::{self, Replay},
    },
    symbols,
};

/// Batches between the reader of the ring and the front end. When they are full the ring fills, and says what it loses.
const QUEUE: usize = 64;

/// What can end a session, beside the end of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A signal: its number, and whether a key of the terminal sent it (then the command got it as well).
    Signal { signal: i32, keyboard: bool },
    /// The command ended.
    Command,
    /// `--duration` is over.
    Time,
    /// A thread of opentop's own panicked.
    Fault,
}

/// Where the inputs of a session come from.
pub(super) enum Origin {
    Live(Live),
    Replay(Box<Replay>),
}

impl Origin {
    /// Asks for the end: what is under way comes, then [`Input::End`].
    pub(super) fn stop(&self) {
        match self {
            Self::Live(live) => live.stop(),
            Self::Replay(replay) => replay.stop(),
        }
    }
}

/// A running capture, with whatever may end it.
pub(super) struct Capture {
    pub(super) runtime: Runtime,
    pub(super) session: Session,
    pub(super) origin: Origin,
    pub(super) recorder: Option<Recorder>,
    /// Who the processes are, where somebody wants to know.
    pub(super) facts: Option<Facts>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) ends: mpsc::Receiver<End>,
    pub(super) command: Option<child::Running>,
    /// Exit status of the command, once it has ended.
    pub(super) status: Option<u8>,
    /// The file of `--probe-log`.
    pub(super) log: Option<ProbeLog>,
    /// What tells the cost of the probe.
    pub(super) meter: Option<Meter>,
    /// How far a recording is read, where that is to be told.
    pub(super) progress: Option<Progress>,
    /// The source is gone: nothing comes any more.
    pub(super) closed: bool,
    /// The end was found without waiting, and is to be the next input.
    pub(super) ending: bool,
    /// Whether it is said at once when the recording fails, and whether it was.
    pub(super) tells: bool,
    pub(super) told: bool,
    /// Whether a signal or `--duration` asked for the end.
    pub(super) asked: bool,
}

/// What is known before a capture starts.
pub(super) struct Plan<'a> {
    pub(super) args: &'a CaptureArgs,
    /// The whole command line, for advice.
    pub(super) typed: &'a [OsString],
    pub(super) streams: child::Streams,
    /// Whose stacks may be asked for.
    pub(super) stacks: probe::StacksOf,
    pub(super) invoker: Option<user::Invoker>,
    /// Whether the kernel is to measure the probe from the beginning, see [`Meter`].
    pub(super) measure: bool,
    /// Whether the front end shows who the processes are.
    pub(super) who: bool,
    /// Whether it is told how far a recording is read: not among lines that go to a terminal.
    pub(super) progress: bool,
}

impl Capture {
    /// Attaches the probe and starts the command. To be called while there is one thread.
    pub(super) fn start(plan: Plan<'_>) -> Result<Self, Error> {
        let Plan { args, typed, streams, stacks, invoker, measure, who, progress } = plan;
        if let Some(path) = &args.recording.read {
            let mut capture = Self::replay(path, invoker.as_ref(), args.keep_privileges, replay::Pace::AsFast)?;
            capture.progress = progress.then(Progress::start);
            return Ok(capture);
        }
        let wanted = Wanted::new(args)?;
        processes_exist(&args.pids)?;
        let blocked = signals::block()?;
        let held = match args.cmd.as_slice() {
            [] => None,
            cmd => Some(child::hold(cmd, invoker.as_ref(), streams, blocked.before)?),
        };
        let missing = privilege::missing_here();
        if !missing.is_empty() {
            return Err(privilege::denied(&missing, typed, std::env::current_exe().ok().as_deref()));
        }
        if let Some(note) = args.ring_size.and_then(|ring| ring.note()) {
            say(&note);
        }
        let log = args
            .probe_log
            .as_ref()
            .map(|path| ProbeLog::create(path, args.probe_log_level.into(), invoker.as_ref()))
            .transpose()?;
        let mut probe = Probe::start(&probe::Options { stacks, ..options(args, &wanted) })?;
        if let Some(held) = &held {
            probe.follow(held.pid())?;
        }
        if let Some(log) = &log {
            probe.log_into(Box::new(log.clone()))?;
        }
        let session = probe.session().clone();
        let meter = measure.then(|| probe.meter(probe::Gauge::start(sandbox::leave_measuring).ok()));
        let first = first_file(&args.recording, invoker.as_ref(), args.keep_privileges)?;
        let names = (stacks != probe::StacksOf::Nobody).then(|| symbols::Prepared::new(sandbox::leave_looking));
        let invoker = confine(&probe, invoker, args)?;
        // Ends are few: a signal, the command's, the time's.
        let (tell, ends) = mpsc::channel(8);
        fault::watch(tell.clone());
        signals::watch(&blocked, tell.clone(), held.is_some())?;
        let recorder =
            first.map(|file| recorder(file, &args.recording, &session, invoker.as_ref())).transpose()?.flatten();
        let facts = (who || recorder.is_some()).then(Facts::start).transpose()?;
        let runtime = runtime()?;
        let (live, inputs) = {
            let _inside = runtime.enter();
            live::start(probe, QUEUE, names)?
        };
        let command = held.map(|held| held.start(tell.clone())).transpose()?;
        if let Some(duration) = args.duration {
            runtime.spawn(end_after(duration, tell));
        }
        Ok(Self {
            runtime,
            session,
            origin: Origin::Live(live),
            recorder,
            facts,
            inputs,
            ends,
            command,
            status: None,
            log,
            meter,
            progress: None,
            closed: false,
            ending: false,
            tells: !who,
            told: false,
            asked: false,
        })
    }

    /// Opens a recording: a session like one of the probe, without the probe.
    pub(super) fn replay(
        path: &Path,
        invoker: Option<&user::Invoker>,
        keep_privileges: bool,
        pace: replay::Pace,
    ) -> Result<Self, Error> {
        let blocked = signals::block()?;
        let reader = open_recording(path, invoker, keep_privileges)?;
        let session = reader.session().session.clone();
        let (tell, ends) = mpsc::channel(8);
        fault::watch(tell.clone());
        signals::watch(&blocked, tell, false)?;
        let runtime = runtime()?;
        let (replay, inputs) = replay::start(reader, QUEUE, pace)?;
        let origin = Origin::Replay(Box::new(replay));
        Ok(Self {
            runtime,
            session,
            origin,
            recorder: None,
            facts: None,
            inputs,
            ends,
            command: None,
            status: None,
            log: None,
            meter: None,
            progress: None,
            closed: false,
            ending: false,
            tells: false,
            told: false,
            asked: false,
        })
    }

    /// Says how the probe is attached where that is not the best there is: what a front end without a screen of its own
    /// would leave untold.
    pub(super) fn introduce(&self) {
        let Origin::Live(_) = self.origin else { return };
        let Session { attach, reason, routes, .. } = &self.session;
        let blind: Vec<&str> = routes.iter().filter(|r| r.blind.is_some()).map(|r| r.name).collect();
        if blind.is_empty() {
            return;
        }
        say(&format!(
            "attached by {attach} ({reason}), which does not see opens by {}; `opentop doctor` tells more",
            blind.join(", ")
        ));
    }

    /// The next input. Meanwhile, what should end the session is made to end it: its last input is [`Input::End`].
    pub(super) async fn next(&mut self) -> Input {
        loop {
            if self.ending {
                if let Some(facts) = &mut self.facts
                    && let Some(last) = facts.last().await
                {
                    return self.recorded(Input::Facts(last));
                }
                self.ending = false;
                return self.recorded(Input::End);
            }
            let end = tokio::select! {
                biased;
                Some(end) = self.ends.recv() => end,
                // Few by their own bound, so that the inputs' turn comes.
                found = found(&mut self.facts) => return self.recorded(Input::Facts(found)),
                input = self.inputs.recv(), if !self.closed => match input {
                    Some(Input::End) | None => {
                        (self.closed, self.ending) = (input.is_none(), true);
                        continue;
                    }
                    Some(input) => return self.recorded(input),
                },
                else => std::future::pending().await,
            };
            self.react(end);
        }
    }

    /// The next input if it is there already. Ends are heard here too: under load there is always more input.
    pub(super) fn next_at_once(&mut self) -> Option<Input> {
        if let Ok(end) = self.ends.try_recv() {
            self.react(end);
        }
        if let Some(found) = self.facts.as_mut().and_then(Facts::ready) {
            return Some(self.recorded(Input::Facts(found)));
        }
        match self.inputs.try_recv().ok()? {
            Input::End => {
                self.ending = true;
                None
            }
            input => Some(self.recorded(input)),
        }
    }

    pub(super) fn recorded(&mut self, input: Input) -> Input {
        self.record(&input);
        input
    }

    pub(super) fn record(&mut self, input: &Input) {
        if let (Some(progress), Origin::Replay(replay)) = (&mut self.progress, &self.origin) {
            let opens = if let Input::Batch(batch) = input { batch.len() } else { 0 };
            progress.tick(opens, replay.bytes_read(), replay.byte_len());
        }
        if let Some(facts) = &mut self.facts {
            facts.note(input);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.offer_input(input);
            // The dashboard shows it; others have nowhere but here.
            if self.tells && recorder.is_failing() != self.told {
                self.told = !self.told;
                let error = recorder.stats().error.filter(|_| self.told);
                say(&error.unwrap_or_else(|| "the recording goes on; what is missing from it is counted".to_owned()));
            }
        }
    }

    pub(super) fn react(&mut self, end: End) {
        match (end, &mut self.command) {
            (End::Signal { signal, keyboard }, Some(command)) => {
                // A key has sent it to the command already. It ends as the command decides.
                let passed_on = keyboard || Signal::try_from(signal).is_ok_and(|signal| command.signal(signal));
                if !passed_on {
                    // It has become another user's: nobody is there to wait for.
                    self.asked = true;
                    self.origin.stop();
                }
            }
            (End::Command, Some(command)) => {
                self.status = Some(command.reap());
                self.origin.stop();
            }
            (End::Signal { .. } | End::Command | End::Time | End::Fault, _) => {
                self.asked = true;
                self.origin.stop();
            }
        }
    }

    /// Ends it for a reader that has gone: the recording is closed, nothing is said but what went wrong with it.
    pub(super) fn leave(mut self) -> ExitCode {
        if let Some(Err(error)) = self.recorder.take().map(Recorder::finish) {
            say(&error.message);
            self.runtime.shutdown_background();
            return ExitCode::FAILURE;
        }
        self.runtime.shutdown_background();
        ExitCode::SUCCESS
    }

    /// Says the account as the last line of stderr, and gives the exit code: the command's, where there was one.
    pub(super) fn finish(mut self, account: &Account) -> ExitCode {
        drop(self.progress.take());
        let mut status = self.status.unwrap_or(0);
        // Before anything is said: nobody may be listening, and the recording is to be whole.
        let recorded = self.recorder.map(Recorder::finish);
        if output::dropped() {
            say("nobody read the output: the last of it was dropped");
        }
        if let Some(complaint) = self.log.as_ref().and_then(ProbeLog::complaint) {
            say(&complaint);
        }
        if let Some(losses) = account.losses(self.session.ring_bytes) {
            say(&losses);
        }
        if let Some(Err(error)) = recorded {
            say(&error.message);
            status = status.max(1);
        }
        if let Origin::Replay(replay) = &self.origin {
            replay.report().to_string().lines().for_each(say);
            if let Some(error) = replay.error() {
                say(&error.message);
                status = 1;
            }
        }
        if fault::happened() {
            status = fault::CODE;
        }
        let code = ExitCode::from(status);
        // The command is told first (SIGTERM, if it still runs): its last words must not follow the account.
        drop(self.command);
        line(&account.to_string());
        // A look-up that is still under way (a user's name over a network) has nobody to answer.
        self.runtime.shutdown_background();
        code
    }
}

/// The next facts; never, where nobody asks for them.
pub(super) async fn found(facts: &mut Option<Facts>) -> Vec<ProcessFacts> {
    match facts {
        Some(facts) => facts.next().await,
        None => std::future::pending().await,
    }
}

async fn end_after(duration: Duration, tell: mpsc::Sender<End>) {
    tokio::time::sleep(duration).await;
    fault::point("duration");
    let _ = tell.send(End::Time).await;
}
