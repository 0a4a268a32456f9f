//! A [`Player`] under control, without the clock: whoever drives it says what time it is. A thread does so by the real
//! clock, a scripted run by its own, and then the same script gives the same inputs.

use std::time::Duration;

use super::player::{Player, Report};
use crate::error::Error;
use crate::recording::payload::IndexEntry;
use crate::source::Input;

/// Records in one input at most, when replayed by the clock: controls are looked at in between.
const BATCH_RECORDS: usize = 4096;

/// Slowest and fastest replay.
pub const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=100.0;

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

/// Why a replay goes no further.
#[derive(Debug)]
pub enum Stop {
    /// Nobody listens any more, or it was told to.
    Done,
    /// The recording can't be read.
    Failed(Error),
}

/// Where the inputs go.
pub trait Outlet {
    /// Takes an input.
    ///
    /// # Errors
    /// When nobody listens any more.
    fn send(&mut self, input: Input) -> Result<(), Stop>;

    /// The end is the next input: what is to be said of the recording is known.
    fn ending(&mut self, _report: Report) {}

    /// A control that came while inputs were being handed over: it comes before the rest of them.
    fn wish(&mut self) -> Option<Control> {
        None
    }
}

/// A replay under control. Times are given since the deck began.
pub struct Deck {
    player: Player,
    position: Position,
    /// Came while something else was going on.
    held: Option<Control>,
    /// At this moment it was `anchor_ns` in the recording.
    anchor: Duration,
    anchor_ns: u64,
}

impl Deck {
    /// At the recording's beginning, playing. `index` says where its end is; it may be empty.
    #[must_use]
    pub fn new(player: Player, index: &[IndexEntry]) -> Self {
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
        Self { player, position, held: None, anchor: Duration::ZERO, anchor_ns: start_ns }
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self) -> Position {
        let at_ns = if self.position.ended { self.player.at_ns() } else { self.position.at_ns };
        Position { opens: self.player.handed_over(), at_ns, ..self.position }
    }

    /// What it plays.
    #[must_use]
    pub fn player(&self) -> &Player {
        &self.player
    }

    /// What it plays, to be driven directly.
    pub fn player_mut(&mut self) -> &mut Player {
        &mut self.player
    }

    /// The control that came meanwhile: to be obeyed next.
    pub fn held(&mut self) -> Option<Control> {
        self.held.take()
    }

    /// Hands over what happened up to `at`. Gives how long nothing will happen; `None` while it stands still.
    ///
    /// # Errors
    /// When nobody listens any more, or the recording can't be read.
    pub fn advance(&mut self, at: Duration, out: &mut impl Outlet) -> Result<Option<Duration>, Stop> {
        if !self.position.playing || self.position.ended {
            return Ok(None);
        }
        let now = self.now_ns(at);
        while self.held.is_none() && self.hand_over(now, BATCH_RECORDS, out)? {
            self.held = out.wish();
        }
        self.position.at_ns = now;
        let next = self.player.next_ns().map_err(Stop::Failed)?.unwrap_or(now);
        // Saturating cast: a length of time that is too long is as good as any.
        Ok(Some(Duration::from_nanos((next.saturating_sub(now) as f64 / self.position.speed) as u64)))
    }

    /// Does what it is told, at `at`.
    ///
    /// # Errors
    /// When nobody listens any more, or it was told to stop, or the recording can't be read.
    pub fn obey(&mut self, control: Control, at: Duration, out: &mut impl Outlet) -> Result<(), Stop> {
        let still = !self.position.playing || self.position.ended;
        let now = if still { self.position().at_ns } else { self.now_ns(at) };
        match control {
            Control::Play => self.position.playing = true,
            Control::Pause => self.position.playing = false,
            Control::Toggle => self.position.playing = !self.position.playing,
            Control::Speed(speed) if speed.is_nan() => {}
            Control::Speed(speed) => self.position.speed = speed.clamp(*SPEEDS.start(), *SPEEDS.end()),
            Control::Step(opens) => {
                self.position.playing = false;
                return self.run_to_open(self.player.handed_over().saturating_add(opens), at, out);
            }
            Control::StepBack(opens) => {
                self.position.playing = false;
                let target = self.player.handed_over().saturating_sub(opens);
                if !self.restart(out)? {
                    self.set_now(now, at);
                    return Ok(());
                }
                return self.run_to_open(target, at, out);
            }
            Control::JumpTo(to) => return self.jump(now, to, at, out),
            Control::JumpBy(by) => return self.jump(now, now.saturating_add_signed(by), at, out),
            Control::Stop => {
                self.player.stop();
                while self.hand_over(u64::MAX, usize::MAX, out)? {}
                return Err(Stop::Done);
            }
        }
        self.set_now(now, at);
        Ok(())
    }

    fn jump(&mut self, now: u64, to: u64, at: Duration, out: &mut impl Outlet) -> Result<(), Stop> {
        let to = to.max(self.position.start_ns).min(self.position.end_ns.unwrap_or(u64::MAX));
        // To the end means all of it: the last counters are later than the last open.
        let to_the_end = self.position.end_ns.is_some_and(|end| to >= end);
        if to < now && !to_the_end && !self.restart(out)? {
            self.set_now(now, at);
            return Ok(());
        }
        let until = if to_the_end { u64::MAX } else { to };
        while self.held.is_none() && self.hand_over(until, usize::MAX, out)? {
            // A jump over a large recording takes a while: a newer wish comes first.
            self.held = out.wish();
        }
        self.set_now(to, at);
        match self.held.take() {
            Some(control) => self.obey(control, at, out),
            None => Ok(()),
        }
    }

    /// Hands over until so many opens were, and stands where the last of them was.
    fn run_to_open(&mut self, target: u64, at: Duration, out: &mut impl Outlet) -> Result<(), Stop> {
        while self.player.handed_over() < target {
            let left = usize::try_from(target - self.player.handed_over()).unwrap_or(usize::MAX);
            if !self.hand_over(u64::MAX, left, out)? {
                break;
            }
        }
        self.set_now(self.player.at_ns(), at);
        Ok(())
    }

    /// Back to the beginning; false where it can only go forwards, as from a pipe.
    fn restart(&mut self, out: &mut impl Outlet) -> Result<bool, Stop> {
        if !self.player.can_rewind() {
            return Ok(false);
        }
        self.player.rewind().map_err(Stop::Failed)?;
        self.position.ended = false;
        out.send(Input::Restart)?;
        Ok(true)
    }

    /// Hands over the next input up to a time; false when there is none.
    pub(super) fn hand_over(&mut self, until_ns: u64, most: usize, out: &mut impl Outlet) -> Result<bool, Stop> {
        let Some(input) = self.player.next_input(until_ns, most).map_err(Stop::Failed)? else { return Ok(false) };
        if self.player.ended() {
            self.position.ended = true;
            self.position.end_ns = Some(self.player.at_ns());
            out.ending(self.player.report());
        }
        out.send(input)?;
        Ok(true)
    }

    fn now_ns(&self, at: Duration) -> u64 {
        let passed = at.saturating_sub(self.anchor).as_nanos() as f64 * self.position.speed;
        self.anchor_ns.saturating_add(passed as u64)
    }

    fn set_now(&mut self, now: u64, at: Duration) {
        (self.anchor, self.anchor_ns) = (at, now);
        self.position.at_ns = now;
    }
}
