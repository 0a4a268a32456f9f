//! The globals that user space fixes when it loads the probe: where the kernel keeps things, and how much to do.

use bytemuck::{Pod, Zeroable};

/// The globals that steer the probe, fixed at load (`.rodata`): the verifier knows them and drops what they switch off.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Config {
    /// Device of the pid namespace that `self_tgid` is counted in, as in `stat("/proc/self/ns/pid")`.
    pub pidns_dev: u64,
    /// Its inode; 0 for the initial one.
    pub pidns_ino: u64,
    /// opentop itself: its opens are never recorded.
    pub self_tgid: u32,
    /// Set of [`config`].
    pub flags: u32,
    /// Bytes waiting in the ring from which the reader is woken in any case; 0 to never ask.
    pub wake_bytes: u32,
    /// How much of the work is done, one of [`stage`].
    pub stage: u32,
    /// Where the kernel keeps things.
    pub offsets: Offsets,
}

/// Bits of [`Config::flags`].
pub mod config {
    /// The offsets are those of the running kernel.
    pub const BTF: u32 = 1 << 0;
    /// The kernel has the helpers `bpf_get_current_task_btf` and `bpf_task_pt_regs` (5.11, 5.15), whose answers' members are
    /// plain loads.
    pub const TYPED_TASK: u32 = 1 << 1;
}

/// Values of [`Config::stage`]: what the probe does of its work, so that a bench can tell what each part costs. Each does what
/// those before it do, and one thing more.
pub mod stage {
    /// All of it: what everybody gets.
    pub const WHOLE: u32 = 0;
    /// Nothing: every program is empty.
    pub const EMPTY: u32 = 1;
    /// Who opens, and whether that is captured.
    pub const DECIDE: u32 = 2;
    /// Entry and return are matched.
    pub const MATCH: u32 = 3;
    /// The clock is read at both.
    pub const CLOCK: u32 = 4;
    /// What is known of the open and of who opens is noted: flags, parent, uid, cgroup, comm.
    pub const FACTS: u32 = 5;
    /// The open is counted.
    pub const COUNT: u32 = 6;
    /// The name and the directory are read.
    pub const PATH: u32 = 7;
    /// The record goes into the ring, but nobody is woken.
    pub const RING: u32 = 8;
}

/// Where the running kernel keeps what the probe reads, in bytes, from its BTF (Rust emits no CO-RE relocations).
///
/// An offset that may be missing (its member came or went with a version) is [`Offsets::NONE`] then.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Offsets {
    /// `task_struct.real_parent`
    pub task_real_parent: u32,
    /// `task_struct.group_leader`
    pub task_group_leader: u32,
    /// `task_struct.start_boottime`
    pub task_start_boottime: u32,
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.pid`
    pub task_pid: u32,
    /// `task_struct.comm`
    pub task_comm: u32,
    /// `task_struct.fs`
    pub task_fs: u32,
    /// `task_struct.files`
    pub task_files: u32,
    /// `task_struct.cred`
    pub task_cred: u32,
    /// `task_struct.cgroups`
    pub task_cgroups: u32,
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `task_struct.stack`
    pub task_stack: u32,
    /// Where a 32-bit system call is marked: `task_struct.thread_info.status` on x86-64, `.flags` on arm64
    pub task_compat: u32,
    /// `cred.uid`
    pub cred_uid: u32,
    /// `css_set.dfl_cgrp`: the cgroup of version 2
    pub css_set_dfl_cgrp: u32,
    /// `cgroup.kn`
    pub cgroup_kn: u32,
    /// `kernfs_node.id`
    pub kernfs_node_id: u32,
    /// `signal_struct.live`
    pub signal_live: u32,
    /// From the bottom of the kernel's stack to the `pt_regs` of the system call.
    pub stack_pt_regs: u32,
    /// The system call's number: `pt_regs.orig_ax` on x86-64, `.syscallno` on arm64
    pub pt_regs_nr: u32,
    /// `fs_struct.root`
    pub fs_root: u32,
    /// `fs_struct.pwd`
    pub fs_pwd: u32,
    /// `files_struct.fdt`
    pub files_fdt: u32,
    /// `fdtable.max_fds`
    pub fdt_max_fds: u32,
    /// `fdtable.fd`
    pub fdt_fd: u32,
    /// `file.f_path`
    pub file_path: u32,
    /// `dentry.d_hash.pprev`: NULL once the dentry is unhashed
    pub dentry_hash_pprev: u32,
    /// `dentry.d_parent`, with `d_name` right behind it
    pub dentry_parent: u32,
    /// `vfsmount.mnt_root`
    pub vfsmount_root: u32,
    /// `mount.mnt`
    pub mount_mnt: u32,
    /// `mount.mnt_parent`
    pub mount_parent: u32,
    /// `mount.mnt_mountpoint`
    pub mount_mountpoint: u32,
    /// `open_flags.open_flag`
    pub open_flags_flag: u32,
    /// `io_kiocb.cmd` (from 5.19), before it the union that has `io_kiocb.open`
    pub req_open: u32,
    /// `io_open.dfd`
    pub io_open_dfd: u32,
    /// `io_open.how`
    pub io_open_how: u32,
    /// `io_kiocb.cqe.res` (from 5.19), before it `io_kiocb.result`
    pub req_result: u32,
    /// `io_kiocb.task` (up to 6.12): whose request it is where a kernel thread does the work
    pub req_task: u32,
}

impl Offsets {
    /// The running kernel has no such member.
    pub const NONE: u32 = u32::MAX;
}
