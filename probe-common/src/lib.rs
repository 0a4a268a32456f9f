//! The ABI between opentop and its probe: the record that goes through the ring buffer,
//! the values of the maps, and the globals that steer the probe.
//!
//! Plain integers and bytes with explicit padding, nothing else: no `Option`, no enum crosses the
//! boundary. Sizes and offsets are asserted below, so both sides fail to compile rather than disagree.
//! Everything is in the byte order of the machine; recordings store the same bytes and name that order.
#![no_std]

pub mod filter;
mod settings;

use bytemuck::{Pod, Zeroable};
use core::mem::{offset_of, size_of};

pub use settings::{Config, Offsets, config, stage};

/// Version of [`RecordHeader`], in its first byte. Raised whenever the meaning of a byte changes.
pub const RECORD_VERSION: u8 = 1;

/// Longest name a record carries, in bytes: `PATH_MAX` (4,096) less its NUL, the longest the kernel accepts.
pub const NAME_MAX: usize = 4095;

/// Longest directory a record carries, in bytes. A deeper one is marked [`marks::DIR_TRUNCATED`].
pub const DIR_MAX: usize = 4096;

/// Most components the probe walks from a directory up to the root. A deeper one is marked [`marks::DIR_TRUNCATED`].
pub const DIR_DEPTH: u32 = 96;

/// Length of `comm`, the kernel's `TASK_COMM_LEN`.
pub const COMM_LEN: usize = 16;

/// Buckets of a latency histogram: bucket `i` counts opens whose duration `d` in ns has `ilog2(max(d, 1)) == i`;
/// the last one takes everything longer (2³¹ ns is 2.1 s).
pub const HISTOGRAM_BUCKETS: usize = 32;

/// One open, as the probe emits it when the open returns: this header, then `name_len` bytes of name,
/// then `dir_len` bytes of directory.
///
/// The directory is written in the order of the walk, leaf first, each component followed by `/`:
/// `proj/u/home/` is `/home/u/proj`, and no bytes at all with [`marks::HAS_DIR`] is the root itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RecordHeader {
    /// [`RECORD_VERSION`].
    pub version: u8,
    /// One of [`route`].
    pub route: u8,
    /// Set of [`marks`].
    pub marks: u16,
    /// Bytes of name behind the header, at most [`NAME_MAX`].
    pub name_len: u16,
    /// Bytes of directory behind the name, at most [`DIR_MAX`].
    pub dir_len: u16,
    /// When the open began: boot clock (`bpf_ktime_get_boot_ns`), ns.
    pub start_ns: u64,
    /// How long it took, ns. 0 with [`marks::NO_ENTRY`].
    pub duration_ns: u64,
    /// When the process (its thread group leader) started: `start_boottime`, boot clock, ns. 0 when unknown.
    pub process_start_ns: u64,
    /// cgroup v2 id of the task.
    pub cgroup_id: u64,
    /// The process as users know it (the kernel's tgid), in the initial pid namespace.
    pub tgid: u32,
    /// The thread (the kernel's pid).
    pub tid: u32,
    /// tgid of the parent. 0 when unknown.
    pub ppid: u32,
    /// Real uid, initial user namespace.
    pub uid: u32,
    /// `O_*` flags as the kernel took them (`open_how.flags`, whose defined bits fit 32), in the values of
    /// asm-generic/fcntl.h whatever the architecture.
    pub flags: u32,
    /// `RESOLVE_*` of openat2, else 0.
    pub resolve: u32,
    /// The descriptor, or −errno. With [`marks::NO_FD`] a success has no descriptor and this is 0.
    pub ret: i32,
    /// The directory descriptor as given; `AT_FDCWD` (−100) for the working directory.
    pub dirfd: i32,
    /// Permission bits, meaningful when the open may create.
    pub mode: u16,
    /// Zero.
    pub reserved: u16,
    /// The user's stack, 0 for none. In the ring it is a place in the stack maps, see [`stack`]; the reader of the ring
    /// makes an id of it that holds for the whole session.
    pub user_stack: u32,
    /// The same for the kernel's stack.
    pub kernel_stack: u32,
    /// Name of the thread, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Zero.
    pub reserved2: u32,
}

/// Values of [`RecordHeader::route`]: the way by which an open came.
pub mod route {
    /// A system call; the hook cannot tell which.
    pub const SYSCALL: u8 = 0;
    /// open(2).
    pub const OPEN: u8 = 1;
    /// openat(2).
    pub const OPENAT: u8 = 2;
    /// openat2(2).
    pub const OPENAT2: u8 = 3;
    /// creat(2).
    pub const CREAT: u8 = 4;
    /// `IORING_OP_OPENAT` and `IORING_OP_OPENAT2`.
    pub const IO_URING: u8 = 5;
    /// execve(2) and friends: the program and its interpreter (`do_open_execat`).
    pub const EXEC: u8 = 6;
    /// open_by_handle_at(2).
    pub const HANDLE: u8 = 7;
}

/// Bits of [`RecordHeader::marks`].
pub mod marks {
    /// The name could not be read.
    pub const NAME_UNREADABLE: u16 = 1 << 0;
    /// The name was longer than a record holds.
    pub const NAME_TRUNCATED: u16 = 1 << 1;
    /// The name was read from user memory: the kernel made no copy (or the hook cannot see it),
    /// so another thread may have changed it meanwhile.
    pub const NAME_FROM_USER: u16 = 1 << 2;
    /// A directory follows the name (possibly of zero bytes: the root).
    pub const HAS_DIR: u16 = 1 << 3;
    /// The directory was deleted at the time of the open.
    pub const DIR_DELETED: u16 = 1 << 4;
    /// The directory is outside of the process's root.
    pub const DIR_UNREACHABLE: u16 = 1 << 5;
    /// The directory was longer or deeper than a record holds: its upper end is missing.
    pub const DIR_TRUNCATED: u16 = 1 << 6;
    /// A 32-bit system call.
    pub const COMPAT: u16 = 1 << 7;
    /// The return was seen without the entry: `start_ns` is the time of the return, the duration is unknown.
    pub const NO_ENTRY: u16 = 1 << 8;
    /// A success without a descriptor (exec).
    pub const NO_FD: u16 = 1 << 9;
    /// The directory is the opened file itself (open_by_handle_at, whose name is a handle).
    pub const DIR_IS_FILE: u16 = 1 << 10;
    /// The result could not be learnt (`ret` is 0 and means nothing).
    pub const RESULT_UNKNOWN: u16 = 1 << 11;
}

/// Slots of the per-CPU `LOSSES` map, each a `u64` that only grows.
pub mod loss {
    /// Records that the ring had no room for.
    pub const RING_FULL: u32 = 0;
    /// Entries that found the in-flight table full: their returns are [`NO_ENTRY`].
    pub const INFLIGHT_FULL: u32 = 1;
    /// Returns whose entry was not seen: the open is counted and has a record, with what the return knows.
    pub const NO_ENTRY: u32 = 2;
    /// Long names that found the table of long names full: cut, and marked.
    pub const LONG_FULL: u32 = 3;
    /// Records whose name could not be read.
    pub const NAME_UNREADABLE: u32 = 4;
    /// Records whose name was cut.
    pub const NAME_TRUNCATED: u32 = 5;
    /// Bytes of names that are missing from the stream: those of records that the ring had no room for, and those cut
    /// off because the table of long names was full. How long a name is that cannot be read, or that is too long for the
    /// kernel as well, is not known.
    pub const NAME_BYTES: u32 = 6;
    /// Records whose directory is missing or cut although the name is relative.
    pub const DIR_INCOMPLETE: u32 = 7;
    /// Opens counted in the row of all others because the process table was full.
    pub const PROCESS_TABLE_FULL: u32 = 8;
    /// Entries whose return was never seen (a kretprobe was missed, say): opens without a record.
    pub const NO_RETURN: u32 = 9;
    /// Opens whose user stack was wanted and could not be had: its places in the map were taken by others (hashes
    /// collide), or there was none to walk.
    pub const STACK_USER: u32 = 10;
    /// The same for the kernel's stack.
    pub const STACK_KERNEL: u32 = 11;
    /// Opens with stacks that found the table of [`super::StackKey`] full.
    pub const STACK_UNCOUNTED: u32 = 12;
    /// Processes forked within a captured tree that found the table of these full: their opens, and their descendants', are
    /// neither recorded nor counted.
    pub const SCOPE_FULL: u32 = 13;
    /// Number of slots.
    pub const COUNT: u32 = 14;
}

/// Where a stack lies in the stack maps, as [`RecordHeader::user_stack`] has it: one more than the sum of these.
///
/// A stack map has one place for each hash, so there are two maps after one another (ways), which holds until three stacks
/// share a hash. And there are two sets of these for users' stacks: while opens use the one, the other is read and emptied.
pub mod stack {
    /// The id that `bpf_get_stackid` gave.
    pub const ID_MASK: u32 = (1 << 20) - 1;
    /// The second way.
    pub const WAY: u32 = 1 << 20;
    /// The second set. Not in kernel's stacks: they are few, and stay.
    pub const SET: u32 = 1 << 21;
    /// Most addresses of a stack: what the kernel walks unless told otherwise (`kernel.perf_event_max_stack`).
    pub const DEPTH: usize = 127;
}

/// Key of the `PROCESSES` map: a pid alone is reused, a pid with its start time is not.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct ProcessKey {
    /// When the process started, boot clock, ns. 0 when the kernel has no BTF to find it by.
    pub start_ns: u64,
    /// The process (tgid).
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// Value of the `PROCESSES` map, and of the row of all others: what the kernel counted, exact, since the attach.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct ProcessCounts {
    /// In the kernel's map: opens of unknown duration only, as the histogram counts the others (one addition less per
    /// open). What reads the map adds the histogram up, so everywhere else: all opens, but for those under way.
    pub opens: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Opens whose record was lost: the ring was full, or their return was not seen.
    pub lost: u64,
    /// Bytes of names missing from the stream, see [`loss::NAME_BYTES`].
    pub name_bytes_lost: u64,
    /// Sum of the durations, ns.
    pub latency_ns: u64,
    /// Longest duration, ns (approximate under a race of two CPUs: never more than the true one).
    pub latency_max_ns: u64,
    /// When the last open returned, boot clock, ns.
    pub last_ns: u64,
    /// Non-zero once the thread group leader has exited.
    pub exited: u32,
    /// Real uid at the first open.
    pub uid: u32,
    /// tgid of the parent at the first open.
    pub ppid: u32,
    /// Zero.
    pub reserved: u32,
    /// Name of the thread group leader at the last open seen from it, else of the first thread.
    pub comm: [u8; COMM_LEN],
    /// log2 histogram of the durations, see [`HISTOGRAM_BUCKETS`].
    pub histogram: [u64; HISTOGRAM_BUCKETS],
}

/// Key of the `STACK_COUNTS` map: a process and the stacks by which it opens.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct StackKey {
    /// As in [`ProcessKey`].
    pub start_ns: u64,
    /// As in [`ProcessKey`].
    pub tgid: u32,
    /// [`RecordHeader::user_stack`], as in the ring.
    pub user: u32,
    /// [`RecordHeader::kernel_stack`], as in the ring.
    pub kernel: u32,
    /// The set that was in use: 0, or [`stack::SET`].
    pub set: u32,
}

/// Value of the `STACK_COUNTS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct StackOpens {
    /// Opens that returned.
    pub opens: u64,
    /// Those of them that failed.
    pub failed: u64,
}

/// The capture in force, in the one slot of the `CAPTURE` map: rewritten while the probe runs, and read in one piece.
///
/// Bits of [`capture`] below bit 32, a generation above. What the bits speak of is in the slot of the `FILTER` map that the
/// lowest bit of the generation names: the other slot is free to be written for the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capture(pub u64);

impl Capture {
    /// That of a generation.
    #[must_use]
    pub const fn new(flags: u32, generation: u32) -> Self {
        Self(flags as u64 | (generation as u64) << 32)
    }

    /// Set of [`capture`]. 0: every open but opentop's own.
    #[must_use]
    #[inline(always)]
    pub const fn flags(self) -> u32 {
        self.0 as u32
    }

    /// Which one it is; never the same again.
    #[must_use]
    #[inline(always)]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The slot of the `FILTER` map that belongs to it.
    #[must_use]
    #[inline(always)]
    pub const fn slot(self) -> u32 {
        self.generation() & 1
    }
}

/// Bits of [`Capture::flags`].
pub mod capture {
    /// Only processes in one of the trees [`super::filter::Program::trees`]. Forks enter the `SCOPE` map by themselves.
    pub const SCOPE: u32 = 1 << 0;
    /// Only opens by [`super::filter::Program::uid`].
    pub const UID: u32 = 1 << 1;
    /// Only opens that failed.
    pub const FAILED: u32 = 1 << 2;
    /// Nothing at all: the probe is attached and waits.
    pub const OFF: u32 = 1 << 3;
    /// The program decides, at the entry as far as it can.
    pub const AT_ENTRY: u32 = 1 << 4;
    /// The program decides, at the return.
    pub const AT_RETURN: u32 = 1 << 5;
    /// The program asks for the path.
    pub const PATH: u32 = 1 << 6;
    /// Another capture was in force before this one: opens that it left out may still be under way.
    pub const CHANGED: u32 = 1 << 7;
    /// Any of these: the program decides.
    pub const PROGRAM: u32 = AT_ENTRY | AT_RETURN | PATH;
    /// With the stacks of every open.
    pub const STACKS: u32 = 1 << 16;
    /// With the stacks of processes in the `STACKED` map.
    pub const STACKS_SOME: u32 = 1 << 17;
    /// Users' stacks go into the second set, see [`super::stack`].
    pub const STACK_SET: u32 = 1 << 18;
}

const _: () = {
    assert!(size_of::<RecordHeader>() == 104);
    assert!(offset_of!(RecordHeader, start_ns) == 8);
    assert!(offset_of!(RecordHeader, tgid) == 40);
    assert!(offset_of!(RecordHeader, ret) == 64);
    assert!(offset_of!(RecordHeader, mode) == 72);
    assert!(offset_of!(RecordHeader, comm) == 84);
    assert!(size_of::<filter::Step>() == 48);
    assert!(offset_of!(filter::Program, steps) == 16);
    assert!(offset_of!(filter::Program, texts) == 16 + 48 * filter::STEPS);
    assert!(size_of::<ProcessKey>() == 16);
    assert!(size_of::<StackKey>() == 24);
    assert!(size_of::<ProcessCounts>() == 88 + 8 * HISTOGRAM_BUCKETS);
};
