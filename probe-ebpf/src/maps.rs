//! Every map of the probe, and the values that never leave the kernel.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf, StackTrace},
};
use probe_common::{
    DIR_MAX, NAME_MAX, ProcessCounts, ProcessKey, RecordHeader, StackKey, StackOpens, filter::Program, loss,
};

/// Bytes of name that fit an [`InFlight`], a power of two: longer ones go to [`LONG`].
pub const INLINE_NAME: usize = 256;
/// Bytes of directory that fit an [`InFlight`] before its last component, a power of two.
pub const INLINE_DIR: usize = 256;
/// Longest component of a path with its separator, `NAME_MAX` of limits.h plus one.
pub const COMPONENT: usize = 256;

/// A thread's open between entry and return, laid out as the record it becomes.
///
/// It stays with its thread from the first open to the thread's end, so that an open costs look-ups only,
/// and carries what does not change meanwhile.
#[repr(C)]
pub struct InFlight {
    /// One of [`crate::open::kind`] while an open is in flight, else 0.
    pub active: u32,
    /// Whether the name (and the directory) is there: [`NAMED_INLINE`] or [`NAMED_LONG`].
    pub named: u32,
    /// Which of two programs saw this entry, and the last return: [`crate::open::role`].
    pub entered: u32,
    pub left: u32,
    /// Bytes cut off the name, with the mark that it is cut, as far as they are known.
    pub cut: u64,
    /// The open's place among the counts by stack: kept here, as the stack has no room for it.
    pub stacks: StackKey,
    /// The name in user memory.
    pub user_name: u64,
    /// The `io_kiocb` of an open by `io_uring`.
    pub request: u64,
    /// Whether the request is complete, with [`InFlight::result`].
    pub completed: u32,
    /// Its result, descriptor or −errno.
    pub result: i32,
    /// Whether the last open was another process's, whose work this kernel thread did.
    pub foreign: u32,
    /// Generation of the capture that let it in, where that was a filtered one.
    pub capture: u32,
    /// Where the name is, for [`crate::filter`].
    pub address: u64,
    /// `start_boottime` of the process, 0 until it was looked up.
    pub process_start_ns: u64,
    /// The way up from the directory of a relative name.
    pub walk: crate::path::Walk,
    /// The record's fixed part.
    pub header: RecordHeader,
    /// Name, and right behind it the directory.
    pub bytes: [u8; INLINE_NAME + INLINE_DIR + COMPONENT],
}

/// [`InFlight::named`]: in [`InFlight::bytes`].
pub const NAMED_INLINE: u32 = 1;
/// [`InFlight::named`]: in [`LONG`].
pub const NAMED_LONG: u32 = 2;

/// A record whose name or directory does not fit [`InFlight::bytes`].
#[repr(C)]
pub struct Long {
    pub header: RecordHeader,
    pub bytes: [u8; NAME_MAX + 1 + DIR_MAX + COMPONENT],
}

/// Values to insert into the hash maps: far beyond the 512 bytes of stack.
#[repr(C)]
pub struct Zeros {
    pub inflight: InFlight,
    pub long: Long,
    pub counts: ProcessCounts,
    pub stacks: StackOpens,
}

/// Records on their way to user space. The loader sets the size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// Threads by `bpf_get_current_pid_tgid`. Preallocated: hooks may run where memory cannot be had.
#[map]
pub static INFLIGHT: HashMap<u64, InFlight> = HashMap::with_max_entries(16384, 0);

/// Opens in flight with long names.
#[map]
pub static LONG: HashMap<u64, Long> = HashMap::with_max_entries(256, 0);

/// Exact counts by process.
#[map]
pub static PROCESSES: HashMap<ProcessKey, ProcessCounts> = HashMap::with_max_entries(16384, 0);

/// Exact counts of all processes that did not fit [`PROCESSES`].
#[map]
pub static OTHERS: Array<ProcessCounts> = Array::with_max_entries(1, 0);

/// What is missing from the records, see [`loss`].
#[map]
pub static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(loss::COUNT, 0);

/// What to capture: a [`probe_common::Capture`].
#[map]
pub static CAPTURE: Array<u64> = Array::with_max_entries(1, 0);

/// What the capture in force and the one before or after it ask for.
#[map]
pub static FILTER: Array<Program> = Array::with_max_entries(2, 0);

/// Captured processes (tgid) and the trees each of them is in, see [`Program::trees`].
#[map]
pub static SCOPE: HashMap<u32, u64> = HashMap::with_max_entries(65536, 0);

/// Threads whose open was left out at its entry, see [`crate::filter::reject`].
#[map]
pub static REJECTED: Array<u32> = Array::with_max_entries(REJECTED_SLOTS, 0);

/// A power of two.
pub const REJECTED_SLOTS: u32 = 1 << 16;

/// Non-zero while the reader sleeps: the next record wakes it.
#[map]
pub static WAKE: Array<u32> = Array::with_max_entries(1, 0);

/// Users' stacks: two sets of two ways, see [`probe_common::stack`]. The loader sets the sizes, and leaves these maps with
/// one place each where no stacks are wanted.
#[map]
pub static STACKS: StackTrace = StackTrace::with_max_entries(1, 0);
#[map]
pub static STACKS_WAY: StackTrace = StackTrace::with_max_entries(1, 0);
#[map]
pub static STACKS_SET: StackTrace = StackTrace::with_max_entries(1, 0);
#[map]
pub static STACKS_SET_WAY: StackTrace = StackTrace::with_max_entries(1, 0);

/// The kernel's stacks, in two ways.
#[map]
pub static KSTACKS: StackTrace = StackTrace::with_max_entries(1, 0);
#[map]
pub static KSTACKS_WAY: StackTrace = StackTrace::with_max_entries(1, 0);

/// Exact counts by process and stacks.
#[map]
pub static STACK_COUNTS: HashMap<StackKey, StackOpens> = HashMap::with_max_entries(1, 0);

/// Processes (tgid) whose stacks are wanted, with [`probe_common::capture::STACKS_SOME`].
#[map]
pub static STACKED: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);

#[map]
pub static ZEROS: Array<Zeros> = Array::with_max_entries(1, 0);
