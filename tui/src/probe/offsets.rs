//! The running kernel's layout, for the probe's globals.

use probe_common::Offsets;

use super::btf::Btf;

/// Looks every offset up. `Err` names what is missing of what the probe cannot do without: then it runs without BTF,
/// and says "relative" of a relative name.
pub(super) fn find(btf: &Btf) -> Result<Offsets, String> {
    let need =
        |of: &str, member: &str| btf.offset(of, member).ok_or_else(|| format!("struct {of} has no member {member}"));
    let may = |of: &str, member: &str| btf.offset(of, member).unwrap_or(Offsets::NONE);
    // One read takes d_parent, the hash and the name: they have been neighbours since d_name became a qstr.
    let parent = need("dentry", "d_parent")?;
    if need("dentry", "d_name")? != parent + 8 || need("qstr", "name")? != 8 {
        return Err("struct dentry has d_parent and d_name apart".into());
    }
    if need("path", "mnt")? != 0 || need("path", "dentry")? != 8 || need("filename", "name")? != 0 {
        return Err("struct path or struct filename is laid out in another way".into());
    }
    Ok(Offsets {
        task_real_parent: need("task_struct", "real_parent")?,
        task_group_leader: need("task_struct", "group_leader")?,
        task_start_boottime: need("task_struct", "start_boottime")?,
        task_tgid: need("task_struct", "tgid")?,
        task_pid: need("task_struct", "pid")?,
        task_comm: need("task_struct", "comm")?,
        task_fs: need("task_struct", "fs")?,
        task_files: need("task_struct", "files")?,
        task_cred: need("task_struct", "cred")?,
        task_cgroups: may("task_struct", "cgroups"),
        task_signal: need("task_struct", "signal")?,
        task_stack: need("task_struct", "stack")?,
        task_compat: may("task_struct", arch::COMPAT),
        cred_uid: need("cred", "uid")?,
        css_set_dfl_cgrp: may("css_set", "dfl_cgrp"),
        cgroup_kn: may("cgroup", "kn"),
        kernfs_node_id: may("kernfs_node", "id"),
        signal_live: need("signal_struct", "live")?,
        stack_pt_regs: stack_pt_regs(btf).ok_or("struct pt_regs is not known")?,
        pt_regs_nr: need("pt_regs", arch::SYSCALL_NUMBER)?,
        fs_root: need("fs_struct", "root")?,
        fs_pwd: need("fs_struct", "pwd")?,
        files_fdt: need("files_struct", "fdt")?,
        fdt_max_fds: need("fdtable", "max_fds")?,
        fdt_fd: need("fdtable", "fd")?,
        file_path: need("file", "f_path")?,
        dentry_hash_pprev: need("dentry", "d_hash.pprev")?,
        dentry_parent: parent,
        vfsmount_root: need("vfsmount", "mnt_root")?,
        mount_mnt: need("mount", "mnt")?,
        mount_parent: need("mount", "mnt_parent")?,
        mount_mountpoint: need("mount", "mnt_mountpoint")?,
        open_flags_flag: need("open_flags", "open_flag")?,
        // io_uring may be configured away: without these its route is blind.
        req_open: first(btf, "io_kiocb", &["cmd", "open"]),
        io_open_dfd: may("io_open", "dfd"),
        io_open_how: may("io_open", "how"),
        req_result: first(btf, "io_kiocb", &["cqe.res", "result"]),
        req_task: may("io_kiocb", "task"),
    })
}

fn first(btf: &Btf, of: &str, members: &[&str]) -> u32 {
    members.iter().find_map(|m| btf.offset(of, m)).unwrap_or(Offsets::NONE)
}

/// Where the system call's registers lie on the kernel's stack: task_pt_regs() of the architecture, for kernels without
/// the helper `bpf_task_pt_regs` (before 5.15; those have no padding for FRED).
fn stack_pt_regs(btf: &Btf) -> Option<u32> {
    arch::thread_size().checked_sub(btf.size("pt_regs")?)
}

/// Members and sizes that differ between the architectures.
#[cfg(not(target_arch = "aarch64"))]
mod arch {
    /// Has `TS_COMPAT`.
    pub(super) const COMPAT: &str = "thread_info.status";
    pub(super) const SYSCALL_NUMBER: &str = "orig_ax";

    /// THREAD_SIZE is 16 KiB on x86-64 (32 KiB only with KASAN, which no distribution ships).
    pub(super) fn thread_size() -> u32 {
        16 << 10
    }
}

/// Members and sizes that differ between the architectures.
#[cfg(target_arch = "aarch64")]
mod arch {
    /// Has `TIF_32BIT`.
    pub(super) const COMPAT: &str = "thread_info.flags";
    pub(super) const SYSCALL_NUMBER: &str = "syscallno";

    /// THREAD_SIZE of arch/arm64/include/asm/memory.h: 16 KiB, and no less than a page.
    pub(super) fn thread_size() -> u32 {
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        page.and_then(|page| u32::try_from(page).ok()).unwrap_or(0).max(16 << 10)
    }
}
