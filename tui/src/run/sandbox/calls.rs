//! The system calls that are left: what draining, showing, writing and looking things up take. All others answer EPERM.
//!
//! No program can be executed, no process made, no probe loaded, nothing traced, mounted or typed into a terminal.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error as FilterError, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// Calls that are allowed with any argument.
#[rustfmt::skip]
const ANY: &[libc::c_long] = &[
    // Files and pipes: outputs, recordings, their next parts; /proc; time zones; names of users.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_lseek,
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_close, libc::SYS_close_range, libc::SYS_fcntl, libc::SYS_flock,
    libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2, libc::SYS_statx, libc::SYS_fstat, libc::SYS_newfstatat,
    libc::SYS_statfs, libc::SYS_fstatfs, libc::SYS_faccessat, libc::SYS_faccessat2, libc::SYS_readlinkat,
    libc::SYS_getdents64, libc::SYS_getcwd, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fadvise64, libc::SYS_fchmod, libc::SYS_fchmodat,
    libc::SYS_fchown, libc::SYS_renameat2, libc::SYS_unlinkat, libc::SYS_umask, libc::SYS_copy_file_range,
    libc::SYS_inotify_init1, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch,
    // Memory. What may be executed is below.
    libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_msync, libc::SYS_mincore,
    libc::SYS_membarrier,
    // Threads, waiting, time.
    libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_set_robust_list, libc::SYS_get_robust_list, libc::SYS_rseq,
    libc::SYS_set_tid_address, libc::SYS_gettid, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_sched_getparam, libc::SYS_sched_getscheduler, libc::SYS_getcpu,
    libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_clock_gettime, libc::SYS_clock_getres,
    libc::SYS_gettimeofday, libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_restart_syscall,
    // Signals: those that end it, and the one for the command; its end.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigpending, libc::SYS_rt_sigsuspend, libc::SYS_sigaltstack, libc::SYS_kill, libc::SYS_tkill,
    libc::SYS_tgkill, libc::SYS_wait4, libc::SYS_waitid, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal,
    // Who this is, what it used, what it may use.
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
    libc::SYS_getresuid, libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_getpgid, libc::SYS_getsid,
    libc::SYS_capget, libc::SYS_getrusage, libc::SYS_times, libc::SYS_getrandom, libc::SYS_uname,
    libc::SYS_sysinfo,
    // A service that knows the names of users, on this machine (see `socket`).
    libc::SYS_socketpair, libc::SYS_connect, libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_getsockopt,
    libc::SYS_setsockopt, libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg,
    libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_shutdown,
];

/// The same calls in their older forms, which newer machines never had.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER: &[libc::c_long] = &[
    libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink, libc::SYS_getdents,
    libc::SYS_rename, libc::SYS_unlink, libc::SYS_chmod, libc::SYS_dup2, libc::SYS_pipe,
    libc::SYS_poll, libc::SYS_select, libc::SYS_epoll_wait, libc::SYS_epoll_create, libc::SYS_eventfd, libc::SYS_getpgrp,
    libc::SYS_time, libc::SYS_alarm, libc::SYS_renameat, libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_renameat];

/// The commands of bpf(2) that work on what is there: linux/bpf.h. Nothing can be loaded, made or attached.
const BPF: [u64; 11] = [
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    15, // BPF_OBJ_GET_INFO_BY_FD
    21, // BPF_MAP_LOOKUP_AND_DELETE_ELEM
    24, // BPF_MAP_LOOKUP_BATCH
    25, // BPF_MAP_LOOKUP_AND_DELETE_BATCH
    26, // BPF_MAP_UPDATE_BATCH
    27, // BPF_MAP_DELETE_BATCH
    34, // BPF_LINK_DETACH
];

/// The requests of ioctl(2), as most architectures number them: the modes and the size of a terminal, non-blocking, and a hook on or off. Not among them is
/// TIOCSTI, which types.
#[rustfmt::skip]
const IOCTL: [u64; 17] = [
    0x5401, 0x5402, 0x5403, 0x5404, // TCGETS, TCSETS, TCSETSW, TCSETSF
    0x802c_542a, 0x402c_542b, 0x402c_542c, 0x402c_542d, // the same with a 2, which newer C libraries take
    0x540b, // TCFLSH
    0x540f, 0x5410, // TIOCGPGRP, TIOCSPGRP
    0x5413, // TIOCGWINSZ
    0x541b, 0x5421, 0x5451, // FIONREAD, FIONBIO, FIOCLEX
    0x2400, 0x2401, // PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_DISABLE
];

/// `PR_SET_NAME`, `PR_GET_NAME`, `PR_SET_VMA`: names of threads and of memory.
const PRCTL: [u64; 3] = [15, 16, 0x5356_4d41];

/// All that a process does which has the kernel measure programs: see `probe/gauge.rs`. It holds CAP_SYS_ADMIN, and with
/// these there is nothing else to use that for.
const MEASURE: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_madvise,
];

/// `BPF_ENABLE_STATS` of linux/bpf.h.
const BPF_ENABLE_STATS: u64 = 32;

/// Puts the filter up, for this thread and those it will start.
pub(super) fn allow_only() -> Result<(), FilterError> {
    put_up(rules()?)
}

/// Puts a filter up that leaves what measuring takes.
pub(super) fn allow_measuring() -> Result<(), FilterError> {
    put_up(measuring()?)
}

fn measuring() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, FilterError> {
    let mut rules: BTreeMap<_, _> = MEASURE.iter().map(|call| (*call, vec![])).collect();
    rules.insert(libc::SYS_bpf, vec![rule(&[(0, Op::Eq, BPF_ENABLE_STATS)])?]);
    // The standard library's check of a descriptor that it closes, in builds for development.
    rules.insert(libc::SYS_fcntl, vec![rule(&[(1, Op::Eq, libc::F_GETFD as u64)])?]);
    Ok(rules)
}

fn put_up(rules: BTreeMap<libc::c_long, Vec<SeccompRule>>) -> Result<(), FilterError> {
    programs(rules)?.iter().try_for_each(|program| apply_filter(program))
}

/// Of what several filters say the strictest counts. The list comes last: it lets no more filters in.
fn programs(rules: BTreeMap<libc::c_long, Vec<SeccompRule>>) -> Result<[BpfProgram; 2], FilterError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    // Its flags are in memory, where a filter cannot look. ENOSYS makes the C library take clone(2), whose are not.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, vec![])]);
    let no_clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32), arch)?;
    let list = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?;
    Ok([BpfProgram::try_from(no_clone3)?, BpfProgram::try_from(list)?])
}

fn rules() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, FilterError> {
    let mut rules: BTreeMap<_, _> = ANY.iter().chain(OLDER).map(|call| (*call, vec![])).collect();
    let one_of = |argument, values: &[u64]| -> Result<Vec<SeccompRule>, FilterError> {
        values.iter().map(|value| rule(&[(argument, Op::Eq, *value)])).collect()
    };
    rules.insert(libc::SYS_bpf, one_of(0, &BPF)?);
    rules.insert(libc::SYS_ioctl, one_of(1, &IOCTL)?);
    // The calling thread alone: see `probe/undisturbed.rs`.
    rules.insert(libc::SYS_sched_setscheduler, one_of(0, &[0])?);
    rules.insert(libc::SYS_prctl, one_of(0, &PRCTL)?);
    rules.insert(libc::SYS_socket, one_of(0, &[libc::AF_UNIX as u64])?);
    // Threads, not processes.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![rule(&[(0, Op::MaskedEq(thread), thread)])?]);
    // The other filter decides.
    rules.insert(libc::SYS_clone3, vec![]);
    // Limits are read, not set, and one's own.
    rules.insert(libc::SYS_prlimit64, vec![rule(&[(0, Op::Eq, 0), (2, Op::Eq, 0)])?]);
    rules.insert(libc::SYS_getrlimit, vec![]);
    // Memory is written or executed (a library for the names of users), never both, and never becomes executable.
    let (write, execute) = (libc::PROT_WRITE as u64, libc::PROT_EXEC as u64);
    let without = |bit| rule(&[(2, Op::MaskedEq(bit), 0)]);
    rules.insert(libc::SYS_mmap, vec![without(write)?, without(execute)?]);
    rules.insert(libc::SYS_mprotect, vec![without(execute)?]);
    Ok(rules)
}

/// A rule of conditions that must all hold: argument, comparison, value.
fn rule(conditions: &[(u8, Op, u64)]) -> Result<SeccompRule, FilterError> {
    let condition =
        |(argument, op, value): &(u8, Op, u64)| SeccompCondition::new(*argument, Len::Dword, op.clone(), *value);
    let conditions: Result<Vec<_>, _> = conditions.iter().map(condition).collect();
    Ok(SeccompRule::new(conditions?)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    /// What a call answers behind the filter: 0 or more, or −errno. The filter is the thread's own, and ends with it.
    fn behind(call: impl FnOnce() -> libc::c_long + Send + 'static) -> Option<i32> {
        let tried = std::thread::spawn(move || {
            // A kernel without filters has nothing to test.
            allow_only().ok()?;
            Some(if call() < 0 { -Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 })
        });
        tried.join().unwrap()
    }

    #[test]
    fn what_an_intruder_would_want_is_refused() {
        const REFUSED: Option<i32> = Some(-libc::EPERM);
        if behind(|| 0).is_none() {
            return;
        }
        // SAFETY, of all below: system calls that do nothing but fail; where one succeeded the test would, too, go on.
        let call = |number, [a, b, c]: [libc::c_long; 3]| {
            // SAFETY: as said.
            behind(move || unsafe { libc::syscall(number, a, b, c, 0, 0, 0) })
        };
        let path = c"/bin/true".as_ptr() as libc::c_long;
        assert_eq!(call(libc::SYS_execve, [path, 0, 0]), REFUSED, "a program");
        assert_eq!(call(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0]), REFUSED, "a process");
        assert_eq!(call(libc::SYS_clone3, [0, 0, 0]), Some(-libc::ENOSYS), "whatever clone3 makes");
        assert_eq!(call(libc::SYS_ptrace, [0, 0, 0]), REFUSED, "another process's memory");
        assert_eq!(call(libc::SYS_process_vm_readv, [1, 0, 0]), REFUSED, "another process's memory");
        // BPF_PROG_LOAD, BPF_MAP_CREATE, BPF_RAW_TRACEPOINT_OPEN, BPF_PROG_GET_FD_BY_ID.
        for command in [5, 0, 17, 13] {
            assert_eq!(call(libc::SYS_bpf, [command, 0, 0]), REFUSED, "another probe");
        }
        assert_eq!(call(libc::SYS_perf_event_open, [0, 0, 0]), REFUSED, "another hook");
        assert_eq!(call(libc::SYS_sched_setscheduler, [1, 0, 0]), REFUSED, "how another process is scheduled");
        assert_eq!(call(libc::SYS_socket, [libc::AF_INET.into(), 1, 0]), REFUSED, "the network");
        assert_eq!(call(libc::SYS_socket, [libc::AF_NETLINK.into(), 3, 0]), REFUSED, "the kernel's network");
        assert_eq!(call(libc::SYS_ioctl, [0, 0x5412, 0]), REFUSED, "TIOCSTI: typing into the terminal");
        assert_eq!(call(libc::SYS_setuid, [0, 0, 0]), REFUSED, "another user");
        assert_eq!(call(libc::SYS_mount, [0, 0, 0]), REFUSED, "a mount");
        assert_eq!(call(libc::SYS_io_uring_setup, [1, 0, 0]), REFUSED, "a way round this list");
        assert_eq!(call(libc::SYS_mmap, [0, 4096, 7]), REFUSED, "memory to write code into and run it");
        assert_eq!(call(libc::SYS_mprotect, [0, 0, 4]), REFUSED, "memory that becomes code");
        assert_eq!(call(100_000, [0, 0, 0]), REFUSED, "what nobody knows yet");
    }

    #[test]
    fn who_has_the_kernel_measure_can_do_nothing_else() {
        const REFUSED: Option<i32> = Some(-libc::EPERM);
        let programs = programs(measuring().unwrap()).unwrap();
        // In a process of its own: a thread needs more to end in good order.
        let call = |number, first: libc::c_long| {
            // SAFETY: between fork and _exit there are system calls only, which do nothing but fail.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    if programs.iter().any(|program| apply_filter(program).is_err()) {
                        libc::_exit(255);
                    }
                    let refused = libc::syscall(number, first, 0, 0, 0, 0, 0) < 0;
                    libc::_exit(if refused { *libc::__errno_location() } else { 0 });
                }
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                assert!(libc::WIFEXITED(status), "{status}");
                (libc::WEXITSTATUS(status) < 255).then(|| -libc::WEXITSTATUS(status))
            }
        };
        if call(libc::SYS_close, -1).is_none() {
            return;
        }
        let path = c"/etc/passwd".as_ptr() as libc::c_long;
        for other in [libc::SYS_openat, libc::SYS_execve, libc::SYS_clone, libc::SYS_socket, libc::SYS_kill] {
            assert_eq!(call(other, path), REFUSED, "call {other}");
        }
        for command in [0, 1, 5, 13, 28] {
            assert_eq!(call(libc::SYS_bpf, command), REFUSED, "command {command} of bpf(2)");
        }
        for other in [libc::SYS_mount, libc::SYS_ptrace, libc::SYS_mmap, libc::SYS_ioctl, libc::SYS_prctl] {
            assert_eq!(call(other, 0), REFUSED, "call {other}");
        }
    }

    #[test]
    fn what_opentop_goes_on_to_do_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("part");
        let fine = std::thread::spawn(move || {
            if allow_only().is_err() {
                return;
            }
            std::thread::spawn(|| std::fs::read("/proc/self/status").unwrap()).join().unwrap();
            std::fs::write(&file, "x").unwrap();
            std::fs::rename(&file, file.with_extension("whole")).unwrap();
            nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap();
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
            assert_eq!(
                std::process::Command::new("/bin/true").spawn().unwrap_err().kind(),
                ErrorKind::PermissionDenied
            );
        });
        fine.join().unwrap();
    }
}
