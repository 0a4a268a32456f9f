//! An open begins: [`enter`] notes what was asked, [`named`] takes the kernel's copy of the name. What becomes of it is in
//! `leave`.

use core::ptr::null_mut;

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_boot_ns, bpf_probe_read_user},
};
use aya_log_ebpf::warn;
use probe_common::{Capture, Offsets, RECORD_VERSION, loss, marks, route, stage};

use crate::{
    arch,
    config::{self, setting},
    count::{self, lost},
    filter,
    maps::{INFLIGHT, InFlight, ZEROS},
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
    /// The only program at its place: it has nobody's work to leave alone.
    pub const ALONE: u32 = FIRST | TWIN;
}

/// O_LARGEFILE of asm-generic/fcntl.h, see [`arch::flags`]: the kernel adds it to every 64-bit open by itself.
pub const O_LARGEFILE: u32 = 0o100000;
/// `__FMODE_EXEC` of fs.h, which do_open_execat() puts among the flags.
const FMODE_EXEC: u32 = 0x20;

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
    enter_as(role::ALONE, ctx, request);
}

/// [`enter`], by one of two programs.
#[inline(always)]
pub fn enter_as<C: EbpfContext>(role: u32, ctx: &C, request: &Request) {
    if !config::does(stage::DECIDE) {
        return;
    }
    let current = Current::get();
    let pid_tgid = current.pid_tgid;
    // Up to 5.11 a kernel thread does the work of io_uring: the open is its requester's.
    let (subject, owner) =
        if request.kind == kind::IO_URING { requester(request.request, pid_tgid) } else { (pid_tgid, 0) };
    let capture = filter::current();
    // A thread whose last open this capture let in needs no second decision, only its entry, which is wanted anyway.
    let ask_entry = request.kind != kind::IO_URING && filter::may_remember(capture, pid_tgid);
    let mut entry = if ask_entry { in_flight(pid_tgid) } else { null_mut() };
    // SAFETY: a value of INFLIGHT that only this thread uses, or null.
    let remembered = !entry.is_null() && unsafe { filter::remembered(capture, &*entry) };
    if !remembered && !filter::enter(capture, pid_tgid, subject, owner, request) {
        return;
    }
    if !config::does(stage::MATCH) {
        return;
    }
    if !ask_entry {
        entry = in_flight(pid_tgid);
    }
    if entry.is_null() {
        entry = insert(pid_tgid);
        if entry.is_null() {
            lost(loss::INFLIGHT_FULL, 1);
            warn!(ctx, "in-flight table full, thread {}", pid_tgid as u32);
            return;
        }
    }
    // SAFETY: a value of INFLIGHT that only this thread uses.
    let entry = unsafe { &mut *entry };
    if entry.active != 0 {
        // The other one was here in this very call; twice the same is another call.
        if entry.entered & role == 0 {
            entry.entered |= role;
            return;
        }
        if config::does(stage::COUNT) {
            count::count_unreturned(pid_tgid);
        }
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
    if config::does(stage::FACTS) {
        note(ctx, entry, request, capture, current, subject, owner);
    }
    if config::does(stage::CLOCK) {
        // SAFETY: no arguments, no conditions. Last, so that the open's time has as little of this in it as can be.
        entry.header.start_ns = unsafe { bpf_ktime_get_boot_ns() };
    }
}

/// Notes what is asked for, and who asks.
#[inline(always)]
fn note<C: EbpfContext>(
    ctx: &C,
    entry: &mut InFlight,
    request: &Request,
    capture: Capture,
    current: Current,
    subject: u64,
    owner: u64,
) {
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
        (Some(tgid), Some(tid)) if u64::from(tgid) != current >> 32 => {
            ((u64::from(tgid) << 32) | u64::from(tid), owner)
        }
        _ => (current, 0),
    }
}

/// The thread's entry, null where it has none. No `Option`, for the reason that [`requester`] has none.
#[inline(always)]
fn in_flight(pid_tgid: u64) -> *mut InFlight {
    match INFLIGHT.get_ptr_mut(pid_tgid) {
        Some(entry) => entry,
        None => null_mut(),
    }
}

/// A new one; null where there is no room.
#[inline(always)]
fn insert(pid_tgid: u64) -> *mut InFlight {
    let Some(zeros) = ZEROS.get(0) else { return null_mut() };
    if INFLIGHT.insert(pid_tgid, &zeros.inflight, 0).is_err() {
        return null_mut();
    }
    in_flight(pid_tgid)
}

/// The kernel has made its own copy of the name (`struct filename`, whose first member points to it) and of the flags
/// (`struct open_flags`) and is about to walk it: do_filp_open(), or do_file_open() as it is called from 7.x.
///
/// For the first one within an open: what a driver opens in turn is not what was asked for.
#[inline(always)]
pub fn named(filename: u64, open_flags: u64) {
    if !config::does(stage::PATH) {
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
