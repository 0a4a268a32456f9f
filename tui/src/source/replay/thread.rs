//! Drives a [`Player`] from a thread of its own: as fast as the consumer takes it, or by the clock.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::player::{Player, Report};
use crate::error::Error;
use crate::recording::Reader;
use crate::recording::payload::IndexEntry;
use crate::session::Session;
use crate::source::Input;

/// Records in one input at most, when replayed by the clock: controls are looked at in between.
const BATCH_RECORDS: usize = 4096;

/// Longest sleep: positions move on that often, though nothing happens.
const TURN: Duration = Duration::from_millis(50);

/// Slowest and fastest replay.
pub const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=100.0;

/// How a replay goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the consumer takes it: for lines and tables. Ends behind [`Input::End`].
    AsFast,
    /// By the clock, under [`Control`]: for the dashboard. Stays, behind [`Input::End`], to be taken back.
    Clock,
}

/// What a replay by the clock can be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Control {
    /// Goes on.
    Play,
    /// Stands still.
    Pause,
    /// The one or the other.
    Toggle,
    /// Stands still, so many opens later.
    Step(u64),
    /// Stands still, so many opens earlier. Sends [`Input::Restart`].
    StepBack(u64),
    /// So many times as fast as it was, from 0.1 to 100.
    Speed(f64),
    /// Goes to a boot time, ns. Sends [`Input::Restart`] when that is earlier; everything before it comes again, at
    /// once, so that all counts are right.
    JumpTo(u64),
    /// Goes so many ns forwards, or backwards.
    JumpBy(i64),
    /// Ends it: counters as of now come, then [`Input::End`], and the channel closes.
    Stop,
}

/// Where a replay is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// The recorded time that is now, boot clock, ns.
    pub at_ns: u64,
    /// When the recording begins, boot clock, ns.
    pub start_ns: u64,
    /// When its last open returned; `None` where it can only be read forwards and this is not known yet.
    pub end_ns: Option<u64>,
    /// Whether it goes on.
    pub playing: bool,
    /// How many times as fast as it was.
    pub speed: f64,
    /// Whether the end is reached.
    pub ended: bool,
    /// Opens handed over.
    pub opens: u64,
}

#[derive(Debug, Default)]
struct Shared {
    report: Report,
    error: Option<Error>,
}

/// A replay that is going on. Dropping it ends it.
#[derive(Debug)]
pub struct Replay {
    control: Sender<Control>,
    position: watch::Receiver<Position>,
    index: Vec<IndexEntry>,
    session: Session,
    shared: Arc<Mutex<Shared>>,
}

impl Replay {
    /// Tells it something. Without effect when it is over, or not by the clock (but for [`Control::Stop`]).
    pub fn control(&self, control: Control) {
        let _ = self.control.send(control);
    }

    /// Where it is; to be awaited for changes.
    #[must_use]
    pub fn position(&self) -> watch::Receiver<Position> {
        self.position.clone()
    }

    /// What time it is in the recording, boot clock, ns.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.position.borrow().at_ns
    }

    /// Where records are, and when: `(time_ns, ordinal)` of neighbours give the rate over time. Empty when replayed as
    /// fast as possible, and for what can only be read forwards.
    #[must_use]
    pub fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    /// The session that was recorded.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What is to be said of the recording: complete behind [`Input::End`].
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).report.clone()
    }

    /// Why reading ended before the recording did.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.control(Control::Stop);
    }
}

/// Starts a replay; `capacity` inputs at most wait in the channel.
///
/// # Errors
/// When the recording can't be read, or the thread can't be started.
pub fn start(reader: Reader, capacity: usize, pace: Pace) -> Result<(Replay, mpsc::Receiver<Input>), Error> {
    let mut player = Player::new(reader);
    let index = match pace {
        Pace::Clock if player.can_rewind() => player.index()?,
        _ => Vec::new(),
    };
    let start_ns = player.session().start_ns;
    let position = Position {
        at_ns: start_ns,
        start_ns,
        end_ns: index.last().map(|entry| entry.time_ns),
        playing: true,
        speed: 1.0,
        ended: false,
        opens: 0,
    };
    let (control, controls) = std::sync::mpsc::channel();
    let (position_sender, position_receiver) = watch::channel(position);
    let (out, inputs) = mpsc::channel(capacity.max(1));
    let shared = Arc::new(Mutex::new(Shared::default()));
    let session = player.session().clone();
    let driver = Driver {
        player,
        out,
        controls,
        held: None,
        position,
        positions: position_sender,
        anchor: Instant::now(),
        anchor_ns: start_ns,
        shared: Arc::clone(&shared),
    };
    std::thread::Builder::new()
        .name("replay".into())
        .spawn(move || driver.run(pace))
        .map_err(|error| Error::failed(format!("cannot start the replay's thread: {error}")))?;
    Ok((Replay { control, position: position_receiver, index, session, shared }, inputs))
}

/// Why the thread ends.
enum Stop {
    /// Nobody listens any more, or it was told to.
    Done,
    /// The recording can't be read.
    Failed(Error),
}

struct Driver {
    player: Player,
    out: mpsc::Sender<Input>,
    controls: Receiver<Control>,
    /// Came while something else was going on.
    held: Option<Control>,
    position: Position,
    positions: watch::Sender<Position>,
    /// At this moment it was `anchor_ns` in the recording.
    anchor: Instant,
    anchor_ns: u64,
    shared: Arc<Mutex<Shared>>,
}

impl Driver {
    fn run(mut self, pace: Pace) {
        let stop = match pace {
            Pace::AsFast => self.as_fast(),
            Pace::Clock => self.by_the_clock(),
        };
        self.publish();
        if let Err(Stop::Failed(error)) = stop {
            self.shared.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
            let _ = self.out.blocking_send(Input::End);
        }
    }

    fn as_fast(&mut self) -> Result<(), Stop> {
        while !self.player.ended() {
            match self.controls.try_recv() {
                Ok(Control::Stop) => self.player.stop(),
                Err(TryRecvError::Disconnected) => return Err(Stop::Done),
                _ => {}
            }
            self.hand_over(u64::MAX, usize::MAX)?;
        }
        Ok(())
    }

    fn by_the_clock(&mut self) -> Result<(), Stop> {
        loop {
            let control = if self.position.playing && !self.position.ended {
                let now = self.now_ns();
                while self.held.is_none() && self.hand_over(now, BATCH_RECORDS)? {
                    self.held = self.controls.try_recv().ok();
                }
                self.position.at_ns = now;
                self.publish();
                let next = self.player.next_ns().map_err(Stop::Failed)?.unwrap_or(now);
                // Saturating casts: a length of time that is too long is TURN.
                let wait = Duration::from_nanos((next.saturating_sub(now) as f64 / self.position.speed) as u64);
                match self.held.take().map_or_else(|| self.controls.recv_timeout(wait.min(TURN)), Ok) {
                    Ok(control) => control,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return Err(Stop::Done),
                }
            } else {
                self.publish();
                self.controls.recv().map_err(|_| Stop::Done)?
            };
            self.obey(control)?;
        }
    }

    fn obey(&mut self, control: Control) -> Result<(), Stop> {
        let now = if self.position.playing { self.now_ns() } else { self.position.at_ns };
        match control {
            Control::Play => self.position.playing = true,
            Control::Pause => self.position.playing = false,
            Control::Toggle => self.position.playing = !self.position.playing,
            Control::Speed(speed) if speed.is_nan() => {}
            Control::Speed(speed) => self.position.speed = speed.clamp(*SPEEDS.start(), *SPEEDS.end()),
            Control::Step(opens) => {
                self.position.playing = false;
                return self.run_to_open(self.player.handed_over().saturating_add(opens));
            }
            Control::StepBack(opens) => {
                self.position.playing = false;
                let target = self.player.handed_over().saturating_sub(opens);
                if !self.restart()? {
                    self.set_now(now);
                    return Ok(());
                }
                return self.run_to_open(target);
            }
            Control::JumpTo(to) => return self.jump(now, to),
            Control::JumpBy(by) => return self.jump(now, now.saturating_add_signed(by)),
            Control::Stop => {
                self.player.stop();
                while self.hand_over(u64::MAX, usize::MAX)? {}
                return Err(Stop::Done);
            }
        }
        self.set_now(now);
        Ok(())
    }

    fn jump(&mut self, now: u64, to: u64) -> Result<(), Stop> {
        let to = to.max(self.position.start_ns).min(self.position.end_ns.unwrap_or(u64::MAX));
        // To the end means all of it: the last counters are later than the last open.
        let to_the_end = self.position.end_ns.is_some_and(|end| to >= end);
        if to < now && !to_the_end && !self.restart()? {
            self.set_now(now);
            return Ok(());
        }
        let until = if to_the_end { u64::MAX } else { to };
        while self.held.is_none() && self.hand_over(until, usize::MAX)? {
            // A jump over a large recording takes a while: a newer wish comes first.
            self.held = self.controls.try_recv().ok();
        }
        self.set_now(to);
        match self.held.take() {
            Some(control) => self.obey(control),
            None => Ok(()),
        }
    }

    /// Hands over until so many opens were, and stands where the last of them was.
    fn run_to_open(&mut self, target: u64) -> Result<(), Stop> {
        while self.player.handed_over() < target {
            let left = usize::try_from(target - self.player.handed_over()).unwrap_or(usize::MAX);
            if !self.hand_over(u64::MAX, left)? {
                break;
            }
        }
        self.set_now(self.player.at_ns());
        Ok(())
    }

    /// Back to the beginning; false where it can only go forwards, as from a pipe.
    fn restart(&mut self) -> Result<bool, Stop> {
        if !self.player.can_rewind() {
            return Ok(false);
        }
        self.player.rewind().map_err(Stop::Failed)?;
        self.position.ended = false;
        self.send(Input::Restart)?;
        Ok(true)
    }

    /// Hands over the next input up to a time; false when there is none.
    fn hand_over(&mut self, until_ns: u64, most: usize) -> Result<bool, Stop> {
        let Some(input) = self.player.next_input(until_ns, most).map_err(Stop::Failed)? else { return Ok(false) };
        if self.player.ended() {
            self.position.ended = true;
            self.position.end_ns = Some(self.player.at_ns());
            // Before the end is seen, what is to be said of the recording is there.
            self.publish();
        }
        self.send(input)?;
        Ok(true)
    }

    fn send(&mut self, input: Input) -> Result<(), Stop> {
        self.out.blocking_send(input).map_err(|_| Stop::Done)
    }

    fn now_ns(&self) -> u64 {
        let passed = self.anchor.elapsed().as_nanos() as f64 * self.position.speed;
        self.anchor_ns.saturating_add(passed as u64)
    }

    fn set_now(&mut self, now: u64) {
        (self.anchor, self.anchor_ns) = (Instant::now(), now);
        self.position.at_ns = now;
    }

    fn publish(&mut self) {
        self.position.opens = self.player.handed_over();
        if self.position.ended {
            self.position.at_ns = self.player.at_ns();
        }
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).report = self.player.report();
        let position = self.position;
        self.positions.send_if_modified(|old| std::mem::replace(old, position) != position);
    }
}
