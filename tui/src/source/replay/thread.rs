//! Drives a [`Player`] from a thread of its own: as fast as the consumer takes it, or by the clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::deck::{Control, Deck, Outlet, Position, Stop};
use super::player::{Player, Report};
use crate::error::Error;
use crate::recording::Reader;
use crate::recording::payload::IndexEntry;
use crate::session::Session;
use crate::source::Input;

/// Longest sleep: positions move on that often, though nothing happens.
const TURN: Duration = Duration::from_millis(50);

/// Controls that wait while the replay is busy: more than a person types in that time.
const CONTROLS: usize = 64;

/// How a replay goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the consumer takes it: for lines and tables. Ends behind [`Input::End`].
    AsFast,
    /// By the clock, under [`Control`]: for the dashboard. Stays, behind [`Input::End`], to be taken back.
    Clock,
}

#[derive(Debug, Default)]
struct Shared {
    report: Report,
    error: Option<Error>,
    stop: bool,
}

/// A replay that is going on. Dropping it ends it.
#[derive(Debug)]
pub struct Replay {
    control: SyncSender<Control>,
    position: watch::Receiver<Position>,
    index: Vec<IndexEntry>,
    session: Session,
    bytes_read: Arc<AtomicU64>,
    byte_len: Option<u64>,
    shared: Arc<Mutex<Shared>>,
}

impl Replay {
    /// Tells it something. Never waits: false when so much is waiting to be done that this was not taken. Without effect
    /// when it is over, or not by the clock.
    pub fn control(&self, control: Control) -> bool {
        !matches!(self.control.try_send(control), Err(TrySendError::Full(_)))
    }

    /// Ends it, whatever else it was told: counters as of now come, then [`Input::End`], and the channel closes.
    pub fn stop(&self) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        // Should the queue be full it is not asleep, and finds the word above.
        let _ = self.control.try_send(Control::Stop);
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

    /// Bytes of the recording that were read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Bytes of the whole recording, where that is known.
    #[must_use]
    pub fn byte_len(&self) -> Option<u64> {
        self.byte_len
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
        self.stop();
    }
}

/// Starts a replay; `capacity` inputs at most wait in the channel.
///
/// # Errors
/// When the recording can't be read, or the thread can't be started.
pub fn start(reader: Reader, capacity: usize, pace: Pace) -> Result<(Replay, mpsc::Receiver<Input>), Error> {
    let byte_len = reader.byte_len();
    let bytes_read = Arc::new(AtomicU64::new(0));
    let mut player = Player::new(reader);
    let index = match pace {
        Pace::Clock if player.can_rewind() => player.index()?,
        _ => Vec::new(),
    };
    let session = player.session().clone();
    let deck = Deck::new(player, &index);
    let position = deck.position();
    let (control, controls) = sync_channel(CONTROLS);
    let (position_sender, position_receiver) = watch::channel(position);
    let (out, inputs) = mpsc::channel(capacity.max(1));
    let shared = Arc::new(Mutex::new(Shared::default()));
    let out = Way { out, controls, shared: Arc::clone(&shared) };
    let driver =
        Driver { deck, out, positions: position_sender, bytes_read: Arc::clone(&bytes_read), began: Instant::now() };
    std::thread::Builder::new()
        .name("replay".into())
        .spawn(move || {
            crate::run::fault::point("replay");
            driver.run(pace);
        })
        .map_err(|error| Error::failed(format!("cannot start the replay's thread: {error}")))?;
    Ok((Replay { control, position: position_receiver, index, session, bytes_read, byte_len, shared }, inputs))
}

/// The way out of the thread and into it.
struct Way {
    out: mpsc::Sender<Input>,
    controls: Receiver<Control>,
    shared: Arc<Mutex<Shared>>,
}

impl Outlet for Way {
    fn send(&mut self, input: Input) -> Result<(), Stop> {
        self.out.blocking_send(input).map_err(|_| Stop::Done)
    }

    fn ending(&mut self, report: Report) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).report = report;
    }

    fn wish(&mut self) -> Option<Control> {
        if self.stop() { Some(Control::Stop) } else { self.controls.try_recv().ok() }
    }
}

impl Way {
    fn stop(&self) -> bool {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).stop
    }
}

struct Driver {
    deck: Deck,
    out: Way,
    positions: watch::Sender<Position>,
    bytes_read: Arc<AtomicU64>,
    began: Instant,
}

impl Driver {
    fn run(mut self, pace: Pace) {
        let stop = match pace {
            Pace::AsFast => self.as_fast(),
            Pace::Clock => self.by_the_clock(),
        };
        self.publish();
        if let Err(Stop::Failed(error)) = stop {
            self.out.shared.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
            let _ = self.out.send(Input::End);
        }
    }

    fn as_fast(&mut self) -> Result<(), Stop> {
        while !self.deck.player().ended() {
            match self.out.controls.try_recv() {
                Ok(Control::Stop) => self.deck.player_mut().stop(),
                Err(TryRecvError::Disconnected) => return Err(Stop::Done),
                _ => {}
            }
            self.bytes_read.store(self.deck.player().bytes_read(), Ordering::Relaxed);
            self.deck.hand_over(u64::MAX, usize::MAX, &mut self.out)?;
        }
        Ok(())
    }

    fn by_the_clock(&mut self) -> Result<(), Stop> {
        loop {
            let wait = self.deck.advance(self.began.elapsed(), &mut self.out)?;
            self.publish();
            let control = match (self.deck.held(), wait) {
                _ if self.out.stop() => Control::Stop,
                (Some(control), _) => control,
                (None, Some(wait)) => match self.out.controls.recv_timeout(wait.min(TURN)) {
                    Ok(control) => control,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return Err(Stop::Done),
                },
                (None, None) => self.out.controls.recv().map_err(|_| Stop::Done)?,
            };
            self.deck.obey(control, self.began.elapsed(), &mut self.out)?;
        }
    }

    fn publish(&mut self) {
        self.out.shared.lock().unwrap_or_else(PoisonError::into_inner).report = self.deck.player().report();
        let position = self.deck.position();
        self.positions.send_if_modified(|old| std::mem::replace(old, position) != position);
    }
}
