//! A recording as a source: the same inputs as from the probe, in the same order, so that everything behind it shows
//! and prints what it did live.
//!
//! [`Player`] is the replay without a clock: it answers with the next input up to a time. [`Deck`] is it under
//! [`Control`], by the time that it is told. [`start`] drives either from a thread, as fast as the consumer takes it or
//! by the clock. A scripted run that must give the same bytes each time drives a [`Deck`] by a time of its own.

mod deck;
mod player;
mod thread;

pub use deck::{Control, Deck, Outlet, Position, SPEEDS, Stop};
pub use player::{Player, Report};
pub use thread::{Pace, Replay, start};
