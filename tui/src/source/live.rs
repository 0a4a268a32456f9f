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
///
/// # Errors
/// When the ring cannot be watched.
pub fn start(_: Probe, capacity: usize) -> Result<(Live, mpsc::Receiver<Input>), crate::error::Error> {
    Ok((Live, mpsc::channel(capacity).1))
}
