//! How a probe is to be loaded, and whom it captures.

use super::stage::Stage;
use crate::{filter::capture::CaptureProgram, session::AttachKind};

/// Which processes to capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    #[default]
    All,
    /// These, with the descendants they have and will have. More may come by [`Probe::follow`](super::Probe::follow); none at all is fine.
    Pids(Vec<u32>),
}

/// Whose stacks to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StacksOf {
    /// Nobody's, now or later.
    #[default]
    Nobody,
    /// Those of processes that are named later, by [`Probe::stacks_of`](super::Probe::stacks_of).
    Named,
    /// Those of everybody who is captured.
    All,
}

/// How to load the probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The kind of hook; `None` takes the first that attaches.
    pub attach: Option<AttachKind>,
    /// Size of the ring, bytes: a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Which processes everything is confined to.
    pub scope: Scope,
    /// What to capture of them.
    pub program: CaptureProgram,
    /// The same in words, for the session.
    pub words: String,
    /// The probe's own log lines to ask for, see [`Probe::log_into`](super::Probe::log_into).
    pub log: Option<log::Level>,
    /// Threads that can be between entry and return at once, with those that opened before and still live.
    pub inflight: u32,
    /// Rows of the table of processes.
    pub processes: u32,
    /// Rows of the table of processes in captured trees: those alive at once.
    pub followed: u32,
    /// How much of its work the probe does: a bench asks for less than all.
    pub stage: Stage,
    /// Whose stacks to take.
    pub stacks: StacksOf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            attach: None,
            ring_bytes: 8 << 20,
            scope: Scope::All,
            program: CaptureProgram::all(),
            words: "all".into(),
            log: None,
            inflight: 16384,
            processes: 16384,
            followed: 65536,
            stage: Stage::Whole,
            stacks: StacksOf::Nobody,
        }
    }
}
