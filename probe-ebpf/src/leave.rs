//! An open returns: [`leave`] adds the result, counts, and sends the record on its way.

use core::ptr::addr_of;

use aya_ebpf::{EbpfContext, helpers::bpf_ktime_get_boot_ns};
use aya_log_ebpf::debug;
use probe_common::{Offsets, RECORD_VERSION, RecordHeader, capture, loss, marks, route, stage};

use crate::{
    config::{self, setting},
    count::{self, lost},
    emit::{drop_long, emit, emit_long, output},
    filter,
    maps::{INFLIGHT, InFlight, NAMED_LONG, ZEROS},
    open::{O_LARGEFILE, kind, role},
    path::{self, Name},
    process::{self, Current, read},
    stack,
};

/// EAGAIN of errno.h.
const EAGAIN: i32 = 11;

/// An open returns: with a descriptor, or with −errno. `result` is asked only for an open that was seen to enter.
#[inline(always)]
pub fn leave<C: EbpfContext>(ctx: &C, kind: u32, ret: i64) {
    leave_as(role::ALONE, ctx, kind, ret);
}

/// [`leave`], by one of two programs.
#[inline(always)]
pub fn leave_as<C: EbpfContext>(role: u32, ctx: &C, kind: u32, ret: i64) {
    if !config::does(stage::DECIDE) {
        return;
    }
    let current = Current::get();
    let pid_tgid = current.pid_tgid;
    let capture = filter::current();
    if capture.flags() != 0 && filter::was_rejected(pid_tgid, role) {
        return;
    }
    if !config::does(stage::MATCH) {
        return;
    }
    let entry = match INFLIGHT.get_ptr_mut(pid_tgid) {
        // SAFETY: a value of INFLIGHT that only this thread uses.
        Some(entry) => unsafe { &mut *entry },
        None => {
            if role != role::ALONE && filter::was_told(pid_tgid, role) {
                return;
            }
            return leave_unseen(ctx, kind, pid_tgid, ret);
        }
    };
    if entry.active != kind {
        if role != role::ALONE {
            // The other one has seen this very return, whether its entry was seen or not.
            if entry.left & role == 0 {
                entry.left |= role;
                return;
            }
            entry.left = role;
        }
        return leave_unseen(ctx, kind, pid_tgid, ret);
    }
    entry.active = 0;
    entry.left = role;
    if !config::does(stage::CLOCK) {
        return;
    }
    let Some(result) = result(entry, kind, ret) else { return };
    if capture.flags() & capture::FAILED != 0 && result >= 0 {
        drop_long(entry, pid_tgid);
        return;
    }
    // SAFETY: no arguments, no conditions.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    entry.header.ret = result;
    entry.header.duration_ns = now_ns.saturating_sub(entry.header.start_ns);
    if !config::does(stage::FACTS) {
        return;
    }
    entry.header.uid = current.uid();
    entry.header.cgroup_id = current.cgroup_id();
    comm(entry, kind, current);
    if kind == kind::SYSCALL && entry.header.marks & marks::COMPAT == 0 && entry.header.route != route::OPENAT2 {
        entry.header.flags &= !O_LARGEFILE;
    }
    if capture.flags() != 0 && !filter::leave(capture, kind, pid_tgid, entry) {
        drop_long(entry, pid_tgid);
        return;
    }
    if entry.named == 0 && config::does(stage::PATH) {
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
    if !config::does(stage::COUNT) {
        return;
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
