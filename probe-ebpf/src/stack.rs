//! From where an open comes: the stacks of the user and of the kernel, into the stack maps, and opens counted by them.
//!
//! The kernel's stack is taken where the open enters: at its return the way to it is gone, and under a kretprobe the
//! return address, too. The user's is the same all the time, so it is taken at the return, of opens that are wanted then.

use core::ptr::addr_of;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_F_USER_STACK, BPF_NOEXIST},
    helpers::generated::bpf_get_stackid,
    maps::StackTrace,
};
use probe_common::{Capture, RecordHeader, StackKey, capture, loss, stack};

use crate::{
    count::{add, lost},
    maps::{
        InFlight, KSTACKS, KSTACKS_WAY, STACK_COUNTS, STACKED, STACKS, STACKS_SET, STACKS_SET_WAY, STACKS_WAY, ZEROS,
    },
};

/// Whether the stacks of this process are wanted: without any, the test of a flag that has been read anyway.
#[inline(always)]
pub fn wanted(capture: Capture, tgid: u32) -> bool {
    if capture.flags() & (capture::STACKS | capture::STACKS_SOME) == 0 {
        return false;
    }
    // SAFETY: the value is not used, only that there is one.
    capture.flags() & capture::STACKS != 0 || unsafe { STACKED.get(tgid) }.is_some()
}

/// Takes the kernel's stack.
#[inline(always)]
pub fn entered<C: EbpfContext>(ctx: &C, header: &mut RecordHeader) {
    header.kernel_stack = take(ctx, &KSTACKS, &KSTACKS_WAY, 0, 0);
    if header.kernel_stack == 0 {
        lost(loss::STACK_KERNEL, 1);
    }
}

/// Takes the user's stack, and counts the open by both.
#[inline(always)]
pub fn returned<C: EbpfContext>(ctx: &C, capture: Capture, entry: &mut InFlight) {
    let header = &mut entry.header;
    let user = u64::from(BPF_F_USER_STACK);
    let set = if capture.flags() & capture::STACK_SET != 0 { stack::SET } else { 0 };
    header.user_stack = if set != 0 {
        take(ctx, &STACKS_SET, &STACKS_SET_WAY, user, set)
    } else {
        take(ctx, &STACKS, &STACKS_WAY, user, 0)
    };
    if header.user_stack == 0 {
        lost(loss::STACK_USER, 1);
    }
    entry.stacks = StackKey {
        start_ns: header.process_start_ns,
        tgid: header.tgid,
        user: header.user_stack,
        kernel: header.kernel_stack,
        set,
    };
    let row = match STACK_COUNTS.get_ptr_mut(&entry.stacks) {
        Some(row) => row,
        None => {
            let Some(zeros) = ZEROS.get(0) else { return };
            // Another CPU may be first: what matters is that the row is there afterwards.
            let _ = STACK_COUNTS.insert(&entry.stacks, &zeros.stacks, u64::from(BPF_NOEXIST));
            match STACK_COUNTS.get_ptr_mut(&entry.stacks) {
                Some(row) => row,
                None => return lost(loss::STACK_UNCOUNTED, 1),
            }
        }
    };
    // SAFETY: a value of STACK_COUNTS, which stays readable until the program ends even if it is deleted.
    unsafe {
        add(&raw mut (*row).opens, 1);
        if entry.header.ret < 0 {
            add(&raw mut (*row).failed, 1);
        }
    }
}

/// Where the stack lies, plus one; 0 when it could not be had. A place that another stack has is left to it
/// (`-EEXIST`): then the second way is tried.
#[inline(always)]
fn take<C: EbpfContext>(ctx: &C, first: &'static StackTrace, second: &'static StackTrace, flags: u64, set: u32) -> u32 {
    // SAFETY: the helper takes the program's context and the maps' addresses, which the loader puts here.
    unsafe {
        let id = bpf_get_stackid(ctx.as_ptr(), addr_of!(*first) as *mut _, flags);
        if id >= 0 {
            return 1 + (id as u32 & stack::ID_MASK | set);
        }
        if id != -EEXIST {
            return 0;
        }
        let id = bpf_get_stackid(ctx.as_ptr(), addr_of!(*second) as *mut _, flags);
        if id >= 0 { 1 + (id as u32 & stack::ID_MASK | stack::WAY | set) } else { 0 }
    }
}

/// EEXIST of errno.h.
const EEXIST: i64 = 17;
