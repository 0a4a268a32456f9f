//! What the probe costs: measured in the first seconds, while there are privileges for it, and later while it is asked
//! for, where `--keep-privileges` left the means.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::Msg;
use crate::probe::Meter;

/// How long the kernel measures at the beginning.
const FIRST: Duration = Duration::from_secs(5);

/// When it is measured.
#[derive(Debug)]
pub(super) struct Costs {
    first_until: Option<Instant>,
    asked: bool,
}

impl Costs {
    /// From now on.
    pub(super) fn new() -> Self {
        Self { first_until: Some(Instant::now() + FIRST), asked: false }
    }

    /// Somebody looks at it, or no longer.
    pub(super) fn ask(&mut self, meter: Option<&mut Meter>, on: bool) -> Option<Msg> {
        let meter = meter?;
        self.asked = on;
        // The first measurement goes on whoever looks.
        if self.first_until.is_some() {
            return None;
        }
        meter.switch(on).err().map(|why| Msg::Cost(Err(why)))
    }

    /// The next reading, if it is measured.
    pub(super) fn look(&mut self, meter: Option<&mut Meter>, at_ns: u64) -> Option<Msg> {
        let meter = meter?;
        let reading = meter.read(at_ns).map(|cost| Msg::Cost(Ok(cost)));
        if self.first_until.take_if(|until| *until <= Instant::now()).is_some() && !self.asked {
            // Switching off takes no privilege.
            let _ = meter.switch(false);
        }
        reading
    }
}
