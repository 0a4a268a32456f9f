//! A recording as a source: the same inputs as from the probe, in the same order, so that everything behind it shows
//! and prints what it did live.
//!
//! [`Player`] is the replay without a clock: it answers with the next input up to a time. [`start`] drives it from a
//! thread, as fast as the consumer takes it or by the clock, under [`Control`]. A scripted run that must give the same
//! bytes each time drives a [`Player`] itself.

mod player;
mod thread;

pub use player::{Player, Report};
pub use thread::{Control, Pace, Position, Replay, SPEEDS, start};
