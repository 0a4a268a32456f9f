//! Where opens come from: the probe ([`live`]) or a recording ([`replay`]). Both hand over the same type.

pub mod live;
pub mod losses;
pub mod replay;
pub mod stacks;

use probe_common::{HISTOGRAM_BUCKETS, ProcessCounts, ProcessKey};

use crate::event::{DecodeError, Event};
pub use losses::{Class, Loss, Losses};
pub use stacks::{Addresses, Book, Frame, Stack, StackCount, Stacks};

/// Records handed over in one piece: bytes back to back, in the order in which the opens returned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Batch {
    /// An empty one with room for so many bytes of records, so that it need not grow, and copy what it has, again and again.
    #[must_use]
    pub fn with_room(records: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(records) }
    }

    /// Appends one record as it came. Not decoded yet: whatever reads it must be ready for bad bytes.
    pub fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        // A drain is capped far below 4 GiB.
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// The records' bytes, to be changed in place.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(&mut [u8])) {
        let mut from = 0;
        for to in &self.ends {
            if let Some(record) = self.bytes.get_mut(from..*to as usize) {
                change(record);
            }
            from = *to as usize;
        }
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all records.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Empties it, keeping its memory for the next drain.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The records' bytes, one after the other.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(from, to)| self.bytes.get(from as usize..*to as usize).unwrap_or_default())
    }

    /// The records, decoded.
    pub fn events(&self) -> impl Iterator<Item = Result<Event<'_>, DecodeError>> {
        self.records().map(Event::decode)
    }
}

/// What the kernel counted over all processes since the attach. Exact, whatever the ring lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Opens that returned and were in the capture.
    pub opens: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Sum of the durations, ns.
    pub latency_ns: u64,
    /// Longest duration, ns.
    pub latency_max_ns: u64,
    /// log2 histogram of the durations, see [`probe_common::HISTOGRAM_BUCKETS`].
    pub histogram: [u64; HISTOGRAM_BUCKETS],
    /// Everything that is missing.
    pub losses: Losses,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            opens: 0,
            failed: 0,
            latency_ns: 0,
            latency_max_ns: 0,
            histogram: [0; HISTOGRAM_BUCKETS],
            losses: Losses::default(),
        }
    }
}

/// The exact counters at one moment. Cumulative since the attach: a later one replaces an earlier one, process by
/// process. A process that is not in it has not changed since the one before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// When they were read, boot clock, ns.
    pub at_ns: u64,
    /// All processes together.
    pub totals: Totals,
    /// The processes whose counts changed since the last hand-over, with their cumulative counts.
    pub processes: Vec<(ProcessKey, ProcessCounts)>,
    /// Processes that did not fit the kernel's table, together; `None` when there were none.
    pub others: Option<ProcessCounts>,
    /// Bytes waiting in the ring when they were read.
    pub ring_used: u64,
}

/// What is known of a process beyond its counts: read once from /proc (live), or from a recording.
/// All of it is bytes from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// tgid, initial pid namespace.
    pub tgid: u32,
    /// When the process started, boot clock, ns; 0 when unknown. With `tgid` the same key as [`ProcessKey`].
    pub start_ns: u64,
    /// tgid of the parent; 0 when unknown.
    pub ppid: u32,
    /// Real uid, initial user namespace.
    pub uid: u32,
    /// Name of that user; empty when it has none.
    pub user: Vec<u8>,
    /// The program, as `/proc/PID/exe` has it; empty when it could not be read.
    pub exe: Vec<u8>,
    /// The command line, as `/proc/PID/cmdline` has it: each argument followed by a NUL.
    pub command_line: Vec<u8>,
}

impl ProcessFacts {
    /// The process they are about.
    #[must_use]
    pub fn key(&self) -> ProcessKey {
        ProcessKey { start_ns: self.start_ns, tgid: self.tgid, reserved: 0 }
    }
}

/// What the probe's programs on an open's way used since they are measured; those that follow processes are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCost {
    /// When it was read, boot clock, ns.
    pub at_ns: u64,
    /// Time that they ran, ns.
    pub ns: u64,
    /// How often they ran, all together.
    pub runs: u64,
    /// How often those ran that run when an open returns: at every open of the machine, captured or not.
    pub opens: u64,
}

/// A capture that a running session is to change to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recapture {
    /// What the kernel decides by.
    pub program: crate::filter::capture::CaptureProgram,
    /// As a person wrote it; empty for all.
    pub text: String,
    /// For the header: with the command that it is confined to.
    pub words: String,
}

/// The capture was changed while it ran, or could not be. What came before was captured as before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureChange {
    /// From when on, boot clock, ns: no open that returned later is captured as before.
    pub at_ns: u64,
    /// As a person wrote it; empty for all.
    pub text: String,
    /// For the header.
    pub words: String,
    /// Why it could not be changed, in words.
    pub refused: Option<String>,
}

/// What a source hands over.
#[derive(Clone, Debug)]
pub enum Input {
    /// Opens.
    Batch(Batch),
    /// The kernel's counters.
    Counters(Box<Counters>),
    /// Facts on processes that became known. Consumers that have no use for them pass over.
    Facts(Vec<ProcessFacts>),
    /// What became known of stacks. A record may come before the stacks that it names.
    Stacks(Box<Stacks>),
    /// The capture is another one from here on.
    Capture(Box<CaptureChange>),
    /// A replay goes back to the beginning (a jump to an earlier time): forget everything, it comes again.
    Restart,
    /// Nothing more will come: the recording ended, or the probe is gone. The counters before it were the last ones.
    End,
}
