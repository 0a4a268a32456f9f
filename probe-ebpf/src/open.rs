//! The one path of an open: [`enter`] notes what was asked, [`named`] takes the kernel's copy of the name,
//! [`leave`] adds the result, counts, and emits the record.

use core::ptr::addr_of;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns, bpf_probe_read_user, generated::bpf_ringbuf_output,
    },
};
use aya_log_ebpf::{debug, warn};
use probe_common::{Offsets, RECORD_VERSION, RecordHeader, capture, loss, marks, route, stage};

use crate::{
    arch,
    config::{self, setting},
    count::{self, lost},
    filter,
    maps::{EVENTS, INFLIGHT, INLINE_NAME, InFlight, LONG, NAMED_LONG, WAKE, ZEROS},
    path::{self, Name},
    process::{self, Current, read},
    stack,
};

/// Which function is in flight: a return belongs to the entry of the same function only.
pub mod kind {
    /// `do_sys_openat2`, or one of the system call tracepoints.
    pub const SYSCALL: u32 = 1;
    /// `io_openat2`
    pub const IO_URING: u32 = 2;
    /// `do_open_execat`
    pub const EXEC: u32 = 3;
    /// `do_handle_open`
    pub const HANDLE: u32 = 4;
}

/// Which of two programs at the same place it is, see the twins of `hooks`. In whatever order the kernel runs them, and
/// whichever it skips, the first one does the work.
pub mod role {
    pub const FIRST: u32 = 1;
    pub const TWIN: u32 = 2;
}

/// O_LARGEFILE of asm-generic/fcntl.h, see [`arch::flags`]: the kernel adds it to every 64-bit open by itself.
const O_LARGEFILE: u32 = 0o100000;
/// `__FMODE_EXEC` of fs.h, which do_open_execat() puts among the flags.
const FMODE_EXEC: u32 = 0x20;
/// EAGAIN of errno.h.
const EAGAIN: i32 = 11;

/// `struct open_how` of linux/openat2.h: on the kernel's stack, not the user's.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// What an open asks for.
pub struct Request {
    pub kind: u32,
    pub route: u8,
    pub dirfd: i32,
    /// Address of the name in user memory, 0 for none.
    pub user_name: u64,
    pub flags: u32,
    pub mode: u16,
    pub resolve: u32,
    /// The `io_kiocb`, for `io_uring`.
    pub request: u64,
}

/// What `how` says; nothing where it cannot be read.
#[inline(always)]
pub fn with_how(request: &mut Request, how: u64) {
    if let Some(how) = read::<OpenHow>(how) {
        request.flags = how.flags as u32;
        request.mode = how.mode as u16;
        request.resolve = how.resolve as u32;
    }
}

/// The same from user memory, where a tracepoint sees nothing else: the kernel reads it again after this.
#[inline(always)]
pub fn with_user_how(request: &mut Request, how: u64) {
    // SAFETY: the helper checks the address itself and fails on a bad one.
    if let Ok(how) = unsafe { bpf_probe_read_user(how as *const OpenHow) } {
        request.flags = how.flags as u32;
        request.mode = how.mode as u16;
        request.resolve = how.resolve as u32;
    }
}

/// An open begins.
#[inline(always)]
pub fn enter<C: EbpfContext>(ctx: &C, request: &Request) {
    enter_as(role::FIRST, ctx, request);
}

/// [`enter`], by one of two programs.
#[inline(always)]
pub fn enter_as<C: EbpfContext>(role: u32, ctx: &C, request: &Request) {
    if config::stage() == stage::EMPTY {
        return;
    }
    let current = Current::get();
    let pid_tgid = current.pid_tgid;
    // Up to 5.11 a kernel thread does the work of io_uring: the open is its requester's.
    let (subject, owner) =
        if request.kind == kind::IO_URING { requester(request.request, pid_tgid) } else { (pid_tgid, 0) };
    let Some(capture) = filter::enter(pid_tgid, subject, owner, request) else { return };
    let entry = match INFLIGHT.get_ptr_mut(pid_tgid) {
        Some(entry) => entry,
        None => match insert(pid_tgid) {
            Some(entry) => entry,
            None => {
                lost(loss::INFLIGHT_FULL, 1);
                warn!(ctx, "in-flight table full, thread {}", pid_tgid as u32);
                return;
            }
        },
    };
    // SAFETY: a value of INFLIGHT that only this thread uses.
    let entry = unsafe { &mut *entry };
    if entry.active != 0 {
        // The other one was here in this very call; twice the same is another call.
        if entry.entered & role == 0 {
            entry.entered |= role;
            return;
        }
        lost(loss::NO_RETURN, 1);
        warn!(ctx, "no return seen of the last open of thread {}", pid_tgid as u32);
    }
    if capture.flags() != 0 {
        entry.capture = capture.generation();
    }
    entry.active = request.kind;
    entry.entered = role;
    entry.named = 0;
    entry.completed = 0;
    entry.user_name = request.user_name;
    entry.request = request.request;
    let header = &mut entry.header;
    header.version = RECORD_VERSION;
    header.name_len = 0;
    header.dir_len = 0;
    header.tgid = (subject >> 32) as u32;
    header.tid = subject as u32;
    header.flags = arch::flags(request.flags);
    header.resolve = request.resolve;
    header.mode = request.mode;
    header.dirfd = request.dirfd;
    (header.route, header.marks) = (request.route, 0);
    (header.user_stack, header.kernel_stack) = (0, 0);
    if stack::wanted(capture, header.tgid) {
        stack::entered(ctx, header);
    }
    if request.route == route::SYSCALL {
        let (by, compat) = process::syscall_route(current);
        header.route = by;
        if compat {
            header.marks = marks::COMPAT;
        }
    }
    // A cached start would be wrong where one kernel thread works for many.
    if owner != 0 {
        entry.process_start_ns = process::start_ns(owner);
        entry.header.ppid = process::ppid(owner);
    } else {
        if entry.process_start_ns == 0 || entry.foreign != 0 {
            entry.process_start_ns = process::start_ns(process::task());
        }
        entry.header.ppid = current.ppid();
    }
    entry.foreign = u32::from(owner != 0);
    entry.header.process_start_ns = entry.process_start_ns;
    // SAFETY: no arguments, no conditions. Last, so that the open's time has as little of this in it as can be.
    entry.header.start_ns = unsafe { bpf_ktime_get_boot_ns() };
}

/// Whose request it is: its pid_tgid, and its task where that is not the current one, else 0. A plain number, as the payload
/// of an `Option` that is `None` is a register nobody has written, which the compiler may spill and the verifier refuses.
#[inline(always)]
fn requester(request: u64, current: u64) -> (u64, u64) {
    let offset = setting!(offsets.req_task);
    if !config::btf() || offset == Offsets::NONE {
        return (current, 0);
    }
    let Some(owner) = read::<u64>(request + u64::from(offset)) else { return (current, 0) };
    let tgid: Option<u32> = read(owner + u64::from(setting!(offsets.task_tgid)));
    let tid: Option<u32> = read(owner + u64::from(setting!(offsets.task_pid)));
    match (tgid, tid) {
        // A worker that is a thread of the process (5.12 on) is who opens.
        (Some(tgid), Some(tid)) if u64::from(tgid) != current >> 32 => ((u64::from(tgid) << 32) | u64::from(tid), owner),
        _ => (current, 0),
    }
}

#[inline(always)]
fn insert(pid_tgid: u64) -> Option<*mut InFlight> {
    let zeros = ZEROS.get(0)?;
    INFLIGHT.insert(pid_tgid, &zeros.inflight, 0).ok()?;
    INFLIGHT.get_ptr_mut(pid_tgid)
}

/// The kernel has made its own copy of the name (`struct filename`, whose first member points to it) and of the flags
/// (`struct open_flags`) and is about to walk it: do_filp_open(), or do_file_open() as it is called from 7.x.
///
/// For the first one within an open: what a driver opens in turn is not what was asked for.
#[inline(always)]
pub fn named(filename: u64, open_flags: u64) {
    if matches!(config::stage(), stage::EMPTY | stage::COUNT) {
        return;
    }
    let pid_tgid = bpf_get_current_pid_tgid();
    let Some(entry) = INFLIGHT.get_ptr_mut(pid_tgid) else { return };
    // SAFETY: a value of INFLIGHT that only this thread uses.
    let entry = unsafe { &mut *entry };
    if entry.active == 0 || entry.named != 0 {
        return;
    }
    if entry.active == kind::EXEC && config::btf() {
        if let Some(flags) = read::<u32>(open_flags + u64::from(setting!(offsets.open_flags_flag))) {
            entry.header.flags = arch::flags(flags & !FMODE_EXEC) & !O_LARGEFILE;
        }
    }
    if let Some(name) = read::<u64>(filename) {
        path::fill(entry, pid_tgid, Name::Kernel(name));
    }
}

/// A request of `io_uring` is complete: this thread's open, if one is in flight.
#[inline(always)]
pub fn completed(result: i32) {
    if let Some(entry) = INFLIGHT.get_ptr_mut(bpf_get_current_pid_tgid()) {
        // SAFETY: a value of INFLIGHT that only this thread uses.
        unsafe {
            if (*entry).active == kind::IO_URING && (*entry).completed == 0 {
                (*entry).completed = 1;
                (*entry).result = result;
            }
        }
    }
}

/// An open returns: with a descriptor, or with −errno. `result` is asked only for an open that was seen to enter.
#[inline(always)]
pub fn leave<C: EbpfContext>(ctx: &C, kind: u32, ret: i64) {
    leave_as(role::FIRST, ctx, kind, ret);
}

/// [`leave`], by one of two programs.
#[inline(always)]
pub fn leave_as<C: EbpfContext>(role: u32, ctx: &C, kind: u32, ret: i64) {
    if config::stage() == stage::EMPTY {
        return;
    }
    let current = Current::get();
    let pid_tgid = current.pid_tgid;
    let capture = filter::current();
    if capture.flags() != 0 && filter::was_rejected(pid_tgid, role) {
        return;
    }
    let entry = match INFLIGHT.get_ptr_mut(pid_tgid) {
        // SAFETY: a value of INFLIGHT that only this thread uses.
        Some(entry) => unsafe { &mut *entry },
        None => return leave_unseen(ctx, kind, pid_tgid, ret),
    };
    if entry.active != kind {
        if entry.left & role == 0 {
            entry.left |= role;
            return;
        }
        return leave_unseen(ctx, kind, pid_tgid, ret);
    }
    entry.active = 0;
    entry.left = role;
    let Some(result) = result(entry, kind, ret) else { return };
    if capture.flags() & capture::FAILED != 0 && result >= 0 {
        drop_long(entry, pid_tgid);
        return;
    }
    // SAFETY: no arguments, no conditions.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    entry.header.ret = result;
    entry.header.duration_ns = now_ns.saturating_sub(entry.header.start_ns);
    entry.header.uid = current.uid();
    entry.header.cgroup_id = current.cgroup_id();
    comm(entry, kind, current);
    if kind == kind::SYSCALL && entry.header.marks & marks::COMPAT == 0 && entry.header.route != route::OPENAT2 {
        entry.header.flags &= !O_LARGEFILE;
    }
    if capture.flags() != 0 && !filter::leave(capture, kind, pid_tgid) {
        drop_long(entry, pid_tgid);
        return;
    }
    if entry.named == 0 && config::stage() != stage::COUNT {
        // It failed before the kernel was done with the name, or the hook has no view of the kernel's copy.
        if kind == kind::HANDLE {
            if result >= 0 {
                path::fill_from_descriptor(entry, pid_tgid, result);
            }
        } else {
            let name = entry.user_name;
            path::fill(entry, pid_tgid, Name::User(name));
        }
    }
    if capture.flags() & capture::PATH != 0 && !filter::path_passes(capture, pid_tgid) {
        drop_long(entry, pid_tgid);
        return;
    }
    let marks = entry.header.marks;
    if marks & (marks::NAME_UNREADABLE | marks::NAME_TRUNCATED | marks::DIR_TRUNCATED) != 0 {
        if marks & marks::NAME_UNREADABLE != 0 {
            lost(loss::NAME_UNREADABLE, 1);
            debug!(ctx, "name unreadable, thread {}", pid_tgid as u32);
        }
        if marks & marks::NAME_TRUNCATED != 0 {
            lost(loss::NAME_TRUNCATED, 1);
            lost(loss::NAME_BYTES, entry.cut);
        }
        if marks & marks::DIR_TRUNCATED != 0 {
            lost(loss::DIR_INCOMPLETE, 1);
        }
    }
    if stack::wanted(capture, entry.header.tgid) {
        stack::returned(ctx, capture, entry);
    }
    let row = count::open(entry, now_ns);
    if marks & marks::NAME_TRUNCATED != 0 {
        if let Some(row) = row {
            // SAFETY: a value of PROCESSES or OTHERS.
            unsafe { count::add(&raw mut (*row).name_bytes_lost, entry.cut) };
        }
    }
    let sent = if entry.named == NAMED_LONG { emit_long(entry, pid_tgid) } else { emit(entry) };
    if !sent {
        lost(loss::RING_FULL, 1);
        debug!(ctx, "ring full, thread {}", pid_tgid as u32);
        let name = u64::from(entry.header.name_len);
        lost(loss::NAME_BYTES, name);
        if let Some(row) = row {
            // SAFETY: a value of PROCESSES or OTHERS.
            unsafe {
                count::add(&raw mut (*row).lost, 1);
                count::add(&raw mut (*row).name_bytes_lost, name);
            }
        }
    }
}

/// Name of the thread; of the requester where a kernel thread did the work.
#[inline(always)]
fn comm(entry: &mut InFlight, kind: u32, current: Current) {
    if kind == kind::IO_URING && entry.header.tgid != (current.pid_tgid >> 32) as u32 && config::btf() {
        let owner = read::<u64>(entry.request + u64::from(setting!(offsets.req_task)));
        if let Some(comm) = owner.and_then(|owner| read(owner + u64::from(setting!(offsets.task_comm)))) {
            entry.header.comm = comm;
            return;
        }
    }
    current.comm(&mut entry.header.comm);
}

/// The result of an open as descriptor or −errno; `None` when this was no open yet.
#[inline(always)]
fn result(entry: &mut InFlight, kind: u32, ret: i64) -> Option<i32> {
    match kind {
        kind::IO_URING => {
            // A first try that may not block: the worker comes back with the real one.
            if ret as i32 == -EAGAIN {
                return None;
            }
            if entry.completed != 0 {
                return Some(entry.result);
            }
            let offset = setting!(offsets.req_result);
            if !config::btf() || offset == Offsets::NONE {
                entry.header.marks |= marks::RESULT_UNKNOWN;
                return Some(0);
            }
            match read::<i32>(entry.request + u64::from(offset)) {
                Some(result) => Some(result),
                None => {
                    entry.header.marks |= marks::RESULT_UNKNOWN;
                    Some(0)
                }
            }
        }
        // A `struct file *`, or ERR_PTR.
        kind::EXEC => {
            if ret < 0 && ret >= -4095 {
                Some(ret as i32)
            } else {
                entry.header.marks |= marks::NO_FD;
                Some(0)
            }
        }
        _ => Some(ret as i32),
    }
}

/// A return without its entry: counted and told, with what a return knows. From before the attach, from a full
/// in-flight table, or because the kernel skipped the entry's program.
#[inline(always)]
fn leave_unseen<C: EbpfContext>(ctx: &C, kind: u32, pid_tgid: u64, ret: i64) {
    // Which requests of io_uring were opens in the capture cannot be told here.
    if kind == kind::IO_URING {
        return;
    }
    let result = if kind == kind::EXEC && !(-4095..0).contains(&ret) { 0 } else { ret as i32 };
    if !filter::unseen(pid_tgid, kind, result) {
        return;
    }
    lost(loss::NO_ENTRY, 1);
    debug!(ctx, "no entry seen of an open of thread {}", pid_tgid as u32);
    let Some(zeros) = ZEROS.get(0) else { return };
    let current = Current::get();
    let mut header: RecordHeader = zeros.inflight.header;
    header.version = RECORD_VERSION;
    header.route = match kind {
        kind::EXEC => route::EXEC,
        kind::HANDLE => route::HANDLE,
        _ => process::syscall_route(current).0,
    };
    header.marks = marks::NO_ENTRY | marks::NAME_UNREADABLE;
    if kind == kind::EXEC && result == 0 {
        header.marks |= marks::NO_FD;
    }
    header.tgid = (pid_tgid >> 32) as u32;
    header.tid = pid_tgid as u32;
    header.ppid = current.ppid();
    header.process_start_ns = process::start_ns(process::task());
    header.uid = current.uid();
    header.ret = result;
    header.dirfd = -1;
    // SAFETY: no arguments, no conditions.
    header.start_ns = unsafe { bpf_ktime_get_boot_ns() };
    header.cgroup_id = current.cgroup_id();
    current.comm(&mut header.comm);
    lost(loss::NAME_UNREADABLE, 1);
    let row = count::unseen(&header);
    // SAFETY: the header is on the stack, whole.
    if !unsafe { output(addr_of!(header).cast(), size_of::<RecordHeader>() as u64) } {
        lost(loss::RING_FULL, 1);
        if let Some(row) = row {
            // SAFETY: a value of PROCESSES or OTHERS.
            unsafe { count::add(&raw mut (*row).lost, 1) };
        }
    }
}

/// Sends the record that the entry holds.
#[inline(always)]
fn emit(entry: &InFlight) -> bool {
    let name = entry.header.name_len as u64 & (INLINE_NAME as u64 - 1);
    let dir = entry.header.dir_len as u64 & 0x1ff;
    // SAFETY: header and bytes lie behind each other, and 255 + 511 bytes are within `bytes`.
    unsafe { output(addr_of!(entry.header).cast(), size_of::<RecordHeader>() as u64 + name + dir) }
}

/// Sends the record whose name is in [`LONG`].
#[inline(always)]
fn emit_long(entry: &mut InFlight, pid_tgid: u64) -> bool {
    let Some(long) = LONG.get_ptr_mut(pid_tgid) else { return false };
    let name = entry.header.name_len as u64 & 0xfff;
    let mut dir = entry.header.dir_len as u64 & 0x1fff;
    if dir > 0x1000 + 0xff {
        dir = 0x1000 + 0xff;
    }
    // SAFETY: a value of LONG that only this thread uses; header and bytes lie behind each other, and 4,095 + 4,351
    // bytes are within `bytes`.
    let sent = unsafe {
        (*long).header = entry.header;
        output(addr_of!((*long).header).cast(), size_of::<RecordHeader>() as u64 + name + dir)
    };
    let _ = LONG.remove(pid_tgid);
    sent
}

#[inline(always)]
fn drop_long(entry: &mut InFlight, pid_tgid: u64) {
    if entry.named == NAMED_LONG {
        let _ = LONG.remove(pid_tgid);
    }
}

/// Copies a record into the ring; false when it has no room.
///
/// A wakeup costs more than all the rest of an open, so there is none while the reader is busy: it polls then.
/// Before it sleeps it says so in [`WAKE`], and the first record wakes it. In a small ring a quarter full wakes it too.
///
/// # Safety
/// `data` points to `len` bytes.
#[inline(always)]
unsafe fn output(data: *const u8, len: u64) -> bool {
    if matches!(config::stage(), stage::COUNT | stage::PATH) {
        return true;
    }
    let mut flags = u64::from(BPF_RB_NO_WAKEUP);
    if config::stage() != stage::RING
        && let Some(wake) = WAKE.get_ptr_mut(0)
    {
        // SAFETY: a value of WAKE. Two CPUs may both find it set and wake twice: that costs, it does not hurt.
        if unsafe { core::ptr::read_volatile(wake) } != 0 {
            // SAFETY: the same.
            unsafe { core::ptr::write_volatile(wake, 0) };
            flags = u64::from(BPF_RB_FORCE_WAKEUP);
        }
    }
    let enough = setting!(wake_bytes);
    if enough != 0 && EVENTS.query(u64::from(BPF_RB_AVAIL_DATA)) > u64::from(enough) {
        flags = u64::from(BPF_RB_FORCE_WAKEUP);
    }
    // SAFETY: the helper takes the map's address, which the loader puts here; the bytes are the caller's promise.
    unsafe { bpf_ringbuf_output(addr_of!(EVENTS) as *mut _, data as *mut _, len, flags) == 0 }
}
