//! The globals that user space fixes at load, read so that the verifier sees constants.

use core::ptr::{addr_of, read_volatile};

use probe_common::{Config, Offsets, config as bits, stage};

/// Overwritten by the loader under this name. Zero means: no BTF, no self.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config {
    pidns_dev: 0,
    pidns_ino: 0,
    self_tgid: 0,
    flags: 0,
    wake_bytes: 0,
    stage: 0,
    offsets: Offsets {
        task_real_parent: 0,
        task_group_leader: 0,
        task_start_boottime: 0,
        task_tgid: 0,
        task_pid: 0,
        task_comm: 0,
        task_fs: 0,
        task_files: 0,
        task_cred: 0,
        task_cgroups: 0,
        task_signal: 0,
        task_stack: 0,
        task_compat: 0,
        cred_uid: 0,
        css_set_dfl_cgrp: 0,
        cgroup_kn: 0,
        kernfs_node_id: 0,
        signal_live: 0,
        stack_pt_regs: 0,
        pt_regs_nr: 0,
        fs_root: 0,
        fs_pwd: 0,
        files_fdt: 0,
        fdt_max_fds: 0,
        fdt_fd: 0,
        file_path: 0,
        dentry_hash_pprev: 0,
        dentry_parent: 0,
        vfsmount_root: 0,
        mount_mnt: 0,
        mount_parent: 0,
        mount_mountpoint: 0,
        open_flags_flag: 0,
        req_open: 0,
        io_open_dfd: 0,
        io_open_how: 0,
        req_result: 0,
        req_task: 0,
    },
};

/// One field of the configuration. Volatile, or the compiler would fold the zeros above into the code.
macro_rules! setting {
    ($($field:ident).+) => {{
        // It may stand within an unsafe block.
        #[allow(unused_unsafe)]
        // SAFETY: a field of a static is valid and aligned, and nothing writes it while the probe runs.
        let value = unsafe { ::core::ptr::read_volatile(::core::ptr::addr_of!($crate::config::CONFIG.$($field).+)) };
        value
    }};
}
pub(crate) use setting;

/// Whether the offsets can be used.
#[inline(always)]
pub fn btf() -> bool {
    flags() & bits::BTF != 0
}

/// Whether the kernel hands out the current task in a way that the verifier knows its type, and the offsets can be used: a
/// member is a plain load then, where it is a call of a helper otherwise.
#[inline(always)]
pub fn typed() -> bool {
    flags() & (bits::BTF | bits::TYPED_TASK) == bits::BTF | bits::TYPED_TASK
}

/// Whether this part of the work, one of [`stage`], is done. The verifier knows the answer, and takes out what is not.
#[inline(always)]
pub fn does(part: u32) -> bool {
    let stage = setting!(stage);
    stage == stage::WHOLE || stage >= part
}

#[inline(always)]
fn flags() -> u32 {
    // SAFETY: as in `setting!`.
    unsafe { read_volatile(addr_of!(CONFIG.flags)) }
}
