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
    /// Entry and return are matched, and counted.
    Count,
    /// Name and directory are read as well.
    Path,
    /// The record goes into the ring as well, and nobody is woken.
    Ring,
}

impl Stage {
    /// The number that crosses to the kernel.
    pub(super) fn to_abi(self) -> u32 {
        match self {
            Self::Whole => stage::WHOLE,
            Self::Two | Self::Empty => stage::EMPTY,
            Self::Count => stage::COUNT,
            Self::Path => stage::PATH,
            Self::Ring => stage::RING,
        }
    }
}
