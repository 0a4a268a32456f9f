//! (in the making: the signatures only)

use tokio::sync::mpsc;

use super::Input;
use crate::probe::Probe;

/// The reader of a probe.
#[derive(Debug)]
pub struct Live;

impl Live {
    /// Asks for the end.
    pub fn stop(&self) {}
}

/// Starts reading.
#[must_use]
pub fn start(_: Probe, capacity: usize) -> (Live, mpsc::Receiver<Input>) {
    (Live, mpsc::channel(capacity).1)
}
