//! Who opens: what the kernel knows of the process.

use core::ptr::read_volatile;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_NOEXIST, bpf_pidns_info},
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_current_task_btf,
        bpf_get_current_uid_gid, bpf_get_ns_current_pid_tgid, bpf_probe_read_kernel, bpf_task_pt_regs,
        generated::bpf_get_current_comm as gen_comm,
    },
    programs::RawTracePointContext,
};
use probe_common::{COMM_LEN, Offsets, ProcessKey, loss, route};

use crate::{
    arch,
    config::{self, setting},
    count::{count_unreturned, lost},
    maps::{INFLIGHT, LONG, PROCESSES, SCOPE, STACKED},
};

/// Reads kernel memory; `None` where it is not there.
#[inline(always)]
pub fn read<T>(address: u64) -> Option<T> {
    // SAFETY: bpf_probe_read_kernel checks the address itself and fails on a bad one.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// The current task's `task_struct`, as a number.
#[inline(always)]
pub fn task() -> u64 {
    // SAFETY: no arguments, no conditions.
    unsafe { bpf_get_current_task() }
}

/// A member of a struct of the kernel whose type the verifier knows: a plain load, which gives 0 where nothing is.
///
/// # Safety
/// `of` comes from a helper or a context that gives such a pointer, or from a member that is one.
#[inline(always)]
pub unsafe fn member<T: Copy>(of: *const u8, offset: u32) -> T {
    // SAFETY: the verifier checks type and offset, and the kernel catches a fault.
    unsafe { read_volatile(of.add(offset as usize).cast()) }
}

/// The current task, and what is asked of it at each open. With [`config::typed`] that takes one call of a helper and
/// loads, else a helper for each.
#[derive(Clone, Copy)]
pub struct Current {
    /// As of `bpf_get_current_pid_tgid`.
    pub pid_tgid: u64,
    task: *const u8,
}

impl Current {
    #[inline(always)]
    pub fn get() -> Self {
        if !config::typed() {
            return Self { pid_tgid: bpf_get_current_pid_tgid(), task: task() as *const u8 };
        }
        // SAFETY: no arguments, no conditions; the members are plain numbers.
        unsafe {
            let task: *const u8 = bpf_get_current_task_btf().cast();
            let tgid: u32 = member(task, setting!(offsets.task_tgid));
            let tid: u32 = member(task, setting!(offsets.task_pid));
            Self { pid_tgid: (u64::from(tgid) << 32) | u64::from(tid), task }
        }
    }

    /// tgid of the parent; 0 when it cannot be read.
    #[inline(always)]
    pub fn ppid(self) -> u32 {
        if !config::typed() {
            return ppid(self.task as u64);
        }
        // SAFETY: `task` is typed, and so is its parent.
        unsafe {
            let parent: *const u8 = member(self.task, setting!(offsets.task_real_parent));
            if parent.is_null() { 0 } else { member(parent, setting!(offsets.task_tgid)) }
        }
    }

    /// Real uid, initial user namespace.
    #[inline(always)]
    pub fn uid(self) -> u32 {
        if config::typed() {
            // SAFETY: `task` is typed, and so are its credentials.
            unsafe {
                let cred: *const u8 = member(self.task, setting!(offsets.task_cred));
                if !cred.is_null() {
                    return member(cred, setting!(offsets.cred_uid));
                }
            }
        }
        bpf_get_current_uid_gid() as u32
    }

    /// Id of the cgroup, version 2.
    #[inline(always)]
    pub fn cgroup_id(self) -> u64 {
        if config::typed() && setting!(offsets.task_cgroups) != Offsets::NONE {
            // SAFETY: `task` is typed, and so is each step: task_dfl_cgroup() and cgroup_id() of the kernel.
            unsafe {
                let set: *const u8 = member(self.task, setting!(offsets.task_cgroups));
                if !set.is_null() {
                    let cgroup: *const u8 = member(set, setting!(offsets.css_set_dfl_cgrp));
                    if !cgroup.is_null() {
                        let node: *const u8 = member(cgroup, setting!(offsets.cgroup_kn));
                        if !node.is_null() {
                            return member(node, setting!(offsets.kernfs_node_id));
                        }
                    }
                }
            }
        }
        // SAFETY: no arguments, no conditions.
        unsafe { bpf_get_current_cgroup_id() }
    }

    /// Name of the thread, written in place.
    #[inline(always)]
    pub fn comm(self, to: &mut [u8; COMM_LEN]) {
        // SAFETY: the helper writes COMM_LEN bytes; `to` has 16 at a multiple of 4, which four loads fill.
        unsafe {
            if !config::typed() {
                let _ = gen_comm(to.as_mut_ptr().cast(), COMM_LEN as u32);
                return;
            }
            let at = setting!(offsets.task_comm);
            let to = to.as_mut_ptr().cast::<u32>();
            to.write(member(self.task, at));
            to.add(1).write(member(self.task, at + 4));
            to.add(2).write(member(self.task, at + 8));
            to.add(3).write(member(self.task, at + 12));
        }
    }
}

/// Whether the current process is opentop itself.
#[inline(always)]
pub fn is_self(tgid: u32) -> bool {
    let (dev, ino) = (setting!(pidns_dev), setting!(pidns_ino));
    if ino == 0 {
        return tgid == setting!(self_tgid);
    }
    // In a container opentop knows itself by the pid of its own namespace only.
    let mut seen = bpf_pidns_info { pid: 0, tgid: 0 };
    // SAFETY: the helper fills the struct, or fails and zeroes it.
    let found = unsafe { bpf_get_ns_current_pid_tgid(dev, ino, &raw mut seen, size_of::<bpf_pidns_info>() as u32) };
    found == 0 && seen.tgid == setting!(self_tgid)
}

/// `start_boottime` of a task's process, ns; 0 when it cannot be read.
#[inline(always)]
pub fn start_ns(task: u64) -> u64 {
    if !config::btf() {
        return 0;
    }
    let Some(leader) = read::<u64>(task + u64::from(setting!(offsets.task_group_leader))) else { return 0 };
    read(leader + u64::from(setting!(offsets.task_start_boottime))).unwrap_or(0)
}

/// tgid of a task's parent; 0 when it cannot be read.
#[inline(always)]
pub fn ppid(task: u64) -> u32 {
    if !config::btf() {
        return 0;
    }
    let Some(parent) = read::<u64>(task + u64::from(setting!(offsets.task_real_parent))) else { return 0 };
    read(parent + u64::from(setting!(offsets.task_tgid))).unwrap_or(0)
}

/// By which system call the current task came, as a route, and whether by a 32-bit one.
#[inline(always)]
pub fn syscall_route(current: Current) -> (u8, bool) {
    let unknown = (route::SYSCALL, false);
    if !config::btf() {
        return unknown;
    }
    let at = setting!(offsets.task_compat);
    let (nr, set): (u32, u32) = if config::typed() {
        // SAFETY: `task` is typed; the helper takes the current task only and always has its registers.
        unsafe {
            let regs: *const u8 = bpf_task_pt_regs(current.task.cast_mut().cast()) as *const u8;
            let set = if at == Offsets::NONE { 0 } else { member(current.task, at) };
            (member(regs, setting!(offsets.pt_regs_nr)), set)
        }
    } else {
        let task = current.task as u64;
        let Some(stack) = read::<u64>(task + u64::from(setting!(offsets.task_stack))) else { return unknown };
        let regs = stack + u64::from(setting!(offsets.stack_pt_regs));
        let Some(nr) = read::<u32>(regs + u64::from(setting!(offsets.pt_regs_nr))) else { return unknown };
        (nr, if at == Offsets::NONE { 0 } else { read(task + u64::from(at)).unwrap_or(0) })
    };
    let compat = set & arch::COMPAT != 0;
    (arch::route(nr, compat), compat)
}

/// EEXIST of errno.h.
const EEXIST: i32 = 17;

/// sched:sched_process_fork: a child of a captured process is captured, from before its first open.
#[inline(always)]
pub fn forked(ctx: &RawTracePointContext) {
    let child: u64 = ctx.arg(1);
    let parent_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: copied at once.
    let Some(trees) = unsafe { SCOPE.get(parent_tgid) }.copied() else { return };
    let Some(tgid) = read::<u32>(child + u64::from(setting!(offsets.task_tgid))) else { return };
    if tgid != parent_tgid {
        // User space, when it looks for the members of a new tree, may have found the child first: then it knows more.
        match SCOPE.insert(tgid, trees, u64::from(BPF_NOEXIST)) {
            Err(why) if why != -EEXIST => lost(loss::SCOPE_FULL, 1),
            _ => {}
        }
    }
}

/// sched:sched_process_exit: what was kept for the thread goes, and with the last one what was kept for the process.
#[inline(always)]
pub fn exited(_ctx: &RawTracePointContext) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let task = task();
    // Where the thread opened, its entry knows when the process started; where not, another's may have.
    if let Some(entry) = INFLIGHT.get_ptr(pid_tgid) {
        // SAFETY: a value of INFLIGHT that only this thread uses. No thread ends within an open.
        if unsafe { (*entry).active } != 0 {
            count_unreturned(pid_tgid);
        }
        let _ = INFLIGHT.remove(pid_tgid);
    }
    let _ = LONG.remove(pid_tgid);
    if !config::btf() {
        return;
    }
    let Some(signal) = read::<u64>(task + u64::from(setting!(offsets.task_signal))) else { return };
    // do_exit() has already taken this thread off: 0 means that it was the last.
    if read::<i32>(signal + u64::from(setting!(offsets.signal_live))) != Some(0) {
        return;
    }
    let _ = SCOPE.remove(tgid);
    let _ = STACKED.remove(tgid);
    let key = ProcessKey { start_ns: start_ns(task), tgid, reserved: 0 };
    if let Some(row) = PROCESSES.get_ptr_mut(key) {
        // SAFETY: a value of PROCESSES.
        unsafe { (*row).exited = 1 };
    }
}

/// sched:sched_process_exec: a thread that execs takes over its leader's pid, and leaves its own behind.
#[inline(always)]
pub fn execed(ctx: &RawTracePointContext) {
    let old_pid: u32 = ctx.arg(1);
    let pid_tgid = bpf_get_current_pid_tgid();
    if old_pid != pid_tgid as u32 {
        let _ = INFLIGHT.remove((pid_tgid & !0xffff_ffff) | u64::from(old_pid));
    }
    let _ = ctx.as_ptr();
}
