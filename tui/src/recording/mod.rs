//! Recordings: what a session saw, in a file that replays without root and on any machine; and the asciicast of
//! the screen.
//!
//! A recording keeps the records as the probe made them, so that a replay decodes with the same
//! [`crate::event::Event::decode`] and prints the same bytes. The file is described in docs/recording-format.md, from
//! which alone another program can read it: change both or neither. Not in here: when to record and what to do when it
//! fails (`run/`), and the pacing of a replay ([`crate::source::replay`]).

pub mod cast;
pub mod file;
pub mod format;
mod index;
pub mod keys;
pub mod opening;
pub mod payload;
mod queue;
pub mod reader;
mod rebase;
pub mod recorder;
mod window;
mod worker;
pub mod writer;

pub use file::{Options, Rotate};
pub use opening::SAMPLE;
pub use reader::{Damage, Item, Reader};
pub use recorder::{Recorder, Stats};

#[cfg(test)]
mod tests;
