//! What the dashboard's loop asks of where its opens come from, and the capture that answers.

use super::own::boot_ns;
use super::{Capture, Origin};
use crate::probe::Meter;
use crate::recording::{Recorder, Stats};
use crate::source::replay;
use crate::source::{Input, Recapture};

/// What hands the dashboard its input.
pub(super) trait Inputs {
    /// The next input; [`Input::End`] when there is none left. Must be cancel-safe.
    fn next(&mut self) -> impl Future<Output = Input>;
    /// Asks for the end: what is still under way comes, then [`Input::End`].
    fn stop(&mut self);
    /// Whether something else than the person at the keys asked for the end.
    fn asked(&self) -> bool {
        false
    }
    /// Takes the stacks of a process from now on, or no more; false when that is not possible.
    fn stacks_of(&self, _pid: u32, _on: bool) -> bool {
        false
    }
    /// What time it is where the inputs come from, boot clock, ns: a recording's own time, in a replay.
    fn now_ns(&self) -> u64 {
        boot_ns()
    }
    /// What tells the cost of the probe, where there is one.
    fn meter(&mut self) -> Option<&mut Meter> {
        None
    }
    /// How the recording stands that is made of them, if one is.
    fn recording(&self) -> Option<Stats> {
        None
    }
    /// Asks for another capture, answered by [`Input::Capture`]; false when that cannot be asked now.
    fn capture(&mut self, _to: Recapture) -> bool {
        false
    }
    /// The replay that they come from, if they do.
    fn replay(&self) -> Option<&replay::Replay> {
        None
    }
}

impl Inputs for Capture {
    async fn next(&mut self) -> Input {
        Capture::next(self).await
    }

    fn stop(&mut self) {
        // It holds the programs, which are to leave the kernel.
        self.meter = None;
        self.origin.stop();
    }

    fn meter(&mut self) -> Option<&mut Meter> {
        self.meter.as_mut()
    }

    fn asked(&self) -> bool {
        self.asked
    }

    fn capture(&mut self, to: Recapture) -> bool {
        match &self.origin {
            Origin::Live(live) => live.change(to),
            Origin::Replay(_) => false,
        }
    }

    fn stacks_of(&self, pid: u32, on: bool) -> bool {
        match &self.origin {
            Origin::Live(live) => live.stacks_of(pid, on),
            Origin::Replay(_) => false,
        }
    }

    fn now_ns(&self) -> u64 {
        match &self.origin {
            Origin::Live(_) => boot_ns(),
            Origin::Replay(replay) => replay.now_ns(),
        }
    }

    fn recording(&self) -> Option<Stats> {
        self.recorder.as_ref().map(Recorder::stats)
    }

    fn replay(&self) -> Option<&replay::Replay> {
        match &self.origin {
            Origin::Live(_) => None,
            Origin::Replay(replay) => Some(replay),
        }
    }
}
