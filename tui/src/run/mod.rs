//! The effects of opentop: it starts the probe and the command, waits for what comes first (opens, a signal, the
//! command's end, the end of the time), hands the input to a front end, and ends everything in order.
//!
//! This module and those below are the only ones that perform effects. What the input means is not decided here.

pub mod account;
mod begin;
mod capture;
mod child;
mod clipboard;
pub mod config;
mod costs;
mod crash;
pub mod dashboard;
mod facts;
pub(crate) mod fault;
mod filmed;
mod frames;
mod inputs;
mod keyboard;
mod look;
mod modes;
mod output;
mod own;
mod probe_log;
mod progress;
mod sandbox;
mod save;
pub mod screen;
mod scripted;
mod signals;
mod stage;
mod stops;
mod summary;
mod tail;
mod terminal;
mod trace;
mod user;
mod wanted;

use std::io::Write as _;

use begin::stacks_of;
use capture::{Capture, End, Origin, Plan};
pub use dashboard::dashboard;
pub use summary::summary;
pub use trace::trace;
pub use wanted::Wanted;

/// Says a sentence on stderr.
pub fn say(sentence: &str) {
    line(&format!("opentop: {sentence}"));
}

/// Writes a line to stderr in one piece: the command may be writing there too.
fn line(text: &str) {
    // Where stderr is gone there is nobody to tell.
    let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}
