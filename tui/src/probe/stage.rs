//! How much of its work the probe does: a bench tells from it what each part costs.

use probe_common::stage;

/// How much of its work the probe does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// All of it.
    #[default]
    Whole,
    /// Two programs, where a call enters and where it returns, and both are empty: the least that seeing opens costs.
    Two,
    /// Every program, and all are empty.
    Empty,
    /// Each from here on does what those before it do, and one thing more: who opens, and whether that is captured.
    Decide,
    /// Entry and return are matched.
    Match,
    /// The clock is read at both.
    Clock,
    /// What is known of the open and of who opens is noted.
    Facts,
    /// The open is counted.
    Count,
    /// Name and directory are read.
    Path,
    /// The record goes into the ring, and nobody is woken.
    Ring,
}

impl Stage {
    /// The number that crosses to the kernel.
    pub(super) fn to_abi(self) -> u32 {
        match self {
            Self::Whole => stage::WHOLE,
            Self::Two | Self::Empty => stage::EMPTY,
            Self::Decide => stage::DECIDE,
            Self::Match => stage::MATCH,
            Self::Clock => stage::CLOCK,
            Self::Facts => stage::FACTS,
            Self::Count => stage::COUNT,
            Self::Path => stage::PATH,
            Self::Ring => stage::RING,
        }
    }
}
