//! One case for each way into the kernel, and for the flags and failures that change what a record holds.

use std::fs;
use std::io;
use std::os::fd::IntoRawFd;

use crate::arch;
use crate::report::{Case, Report, c, cwd, join};
use crate::sys::{self, OpenHow};
use crate::uring::{self, Entry, Ring};

const AT_CWD: i32 = libc::AT_FDCWD;

pub fn run(report: &Report) -> io::Result<()> {
    plain(report)?;
    flags(report)?;
    failures(report)?;
    arch::compat(report)?;
    io_uring(report)?;
    handle(report)
}

/// A file called `name` in the working directory; its absolute path.
fn made(name: &str) -> io::Result<Vec<u8>> {
    let path = join(&cwd()?, name.as_bytes());
    sys::make(&path)?;
    Ok(path)
}

/// Opens by openat(2) with an absolute path, and reports.
fn openat(report: &Report, case: &str, path: &[u8], flags: i32, mode: u32) {
    let mut told = Case::new(case, "openat", path, path);
    (told.flags, told.mode) = (Some(flags), mode);
    told.ret = sys::openat(AT_CWD, c(path).as_ptr(), flags, mode);
    sys::close(told.ret);
    report.case(&told);
}

fn plain(report: &Report) -> io::Result<()> {
    let path = made("plain-open")?;
    let told = Case::new("open", "open", &path, &path);
    told_if_there(report, told, arch::open(c(&path).as_ptr(), 0, 0));

    openat(report, "openat", &made("plain-openat")?, libc::O_RDONLY | libc::O_CLOEXEC, 0);

    let path = made("plain-openat2")?;
    let mut told = Case::new("openat2", "openat2", &path, &path);
    let how = OpenHow { flags: libc::O_RDWR as u64, mode: 0, resolve: 0x04 };
    (told.flags, told.resolve) = (Some(libc::O_RDWR), how.resolve);
    told.ret = sys::openat2(AT_CWD, c(&path).as_ptr(), &how);
    sys::close(told.ret);
    report.case(&told);

    let path = join(&cwd()?, b"plain-creat");
    let mut told = Case::new("creat", "creat", &path, &path);
    (told.flags, told.mode) = (Some(libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC), 0o640);
    let ret = arch::creat(c(&path).as_ptr(), 0o640);
    told_if_there(report, told, ret);
    Ok(())
}

/// Reports an open by a call that not every architecture has.
pub fn told_if_there(report: &Report, mut told: Case, ret: Option<i32>) {
    match ret {
        Some(ret) => {
            told.ret = ret;
            sys::close(ret);
            report.case(&told);
        }
        None => report.skip(&told.case, format!("{} has no such system call", std::env::consts::ARCH)),
    }
}

fn flags(report: &Report) -> io::Result<()> {
    let here = cwd()?;
    openat(report, "O_PATH", &made("flag-path")?, libc::O_PATH | libc::O_CLOEXEC, 0);
    fs::create_dir("flag-tmpfile")?;
    openat(report, "O_TMPFILE", &join(&here, b"flag-tmpfile"), libc::O_TMPFILE | libc::O_RDWR, 0o600);
    openat(report, "O_CREAT", &join(&here, b"flag-creat"), libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY, 0o755);
    openat(report, "setuid mode", &join(&here, b"flag-mode"), libc::O_CREAT | libc::O_WRONLY, 0o4711);
    openat(report, "O_APPEND", &made("flag-append")?, libc::O_WRONLY | libc::O_APPEND | libc::O_SYNC, 0);
    openat(report, "O_TRUNC", &made("flag-trunc")?, libc::O_RDWR | libc::O_TRUNC | libc::O_NOATIME, 0);
    fs::create_dir("flag-directory")?;
    let flags = libc::O_DIRECTORY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    openat(report, "O_DIRECTORY", &join(&here, b"flag-directory"), flags, 0);
    Ok(())
}

fn failures(report: &Report) -> io::Result<()> {
    let here = cwd()?;
    openat(report, "ENOENT", &join(&here, b"fail-enoent"), 0, 0);
    made("fail-file")?;
    openat(report, "ENOTDIR", &join(&here, b"fail-file/below"), 0, 0);
    openat(report, "EEXIST", &made("fail-eexist")?, libc::O_CREAT | libc::O_EXCL, 0o600);
    fs::create_dir("fail-eisdir")?;
    openat(report, "EISDIR", &join(&here, b"fail-eisdir"), libc::O_WRONLY, 0);
    std::os::unix::fs::symlink("fail-eloop", "fail-eloop")?;
    openat(report, "ELOOP", &join(&here, b"fail-eloop"), 0, 0);
    openat(report, "ENAMETOOLONG of a component", &join(&here, &[b'n'; 256]), 0, 0);

    // By a child: without a name, its pid is what tells it from others.
    sys::in_child(|| {
        // What an empty name stands for is the working directory, though it is refused.
        let mut told = Case::new("empty name", "openat", b"", &here);
        told.ret = sys::openat(AT_CWD, c"".as_ptr(), 0, 0);
        report.case(&told);
    })?;

    let mut told = Case::new("EBADF", "openat", b"fail-ebadf", b"");
    told.path = None;
    told.ret = sys::openat(9_999, c"fail-ebadf".as_ptr(), 0, 0);
    report.case(&told);

    let path = made("fail-einval")?;
    let mut told = Case::new("EINVAL of openat2", "openat2", &path, &path);
    // O_TMPFILE without O_WRONLY or O_RDWR.
    let how = OpenHow { flags: libc::O_TMPFILE as u64, mode: 0o600, resolve: 0 };
    (told.flags, told.mode) = (Some(libc::O_TMPFILE), 0o600);
    told.ret = sys::openat2(AT_CWD, c(&path).as_ptr(), &how);
    report.case(&told);

    let mut told = Case::new("RESOLVE_BENEATH", "openat2", b"../fail-beneath", b"");
    let above = here.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    told.path = Some(join(&here[..above], b"fail-beneath"));
    told.resolve = 0x08;
    told.ret = sys::openat2(AT_CWD, c"../fail-beneath".as_ptr(), &OpenHow { resolve: 0x08, ..OpenHow::default() });
    report.case(&told);

    // Descriptors run out: the limit is this process's, so it is put back.
    let path = made("fail-emfile")?;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a limit of the right type.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let none = libc::rlimit { rlim_cur: 0, ..limit };
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) };
    openat(report, "EMFILE", &path, 0, 0);
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    Ok(())
}

fn io_uring(report: &Report) -> io::Result<()> {
    let cases = [
        ("io_uring openat", uring::OPENAT, 0),
        ("io_uring openat2", uring::OPENAT2, 0),
        ("io_uring openat of a missing file", uring::OPENAT, uring::ASYNC),
        ("io_uring openat by a worker", uring::OPENAT, uring::ASYNC),
    ];
    let mut ring = match Ring::new() {
        Ok(ring) => ring,
        Err(error) => {
            for (case, ..) in cases {
                report.skip(case, format!("io_uring_setup: {error}"));
            }
            return Ok(());
        }
    };
    for (at, (case, opcode, flags)) in cases.into_iter().enumerate() {
        let name = format!("uring-{at}");
        let missing = case.contains("missing");
        let path = if missing { join(&cwd()?, name.as_bytes()) } else { made(&name)? };
        let mut told = Case::new(case, "io_uring", &path, &path);
        let (pathname, how) = (c(&path), OpenHow { flags: libc::O_RDWR as u64, mode: 0, resolve: 0 });
        let mut entry = Entry { opcode, flags, dirfd: AT_CWD, name: pathname.as_ptr() as u64, ..Entry::default() };
        if opcode == uring::OPENAT2 {
            (entry.how, entry.len) = (&raw const how as u64, size_of::<OpenHow>() as u32);
            told.flags = Some(libc::O_RDWR);
        }
        if flags == uring::ASYNC {
            // By a kernel thread of this process, called iou-wrk-TID.
            told.tid = None;
            told.comm = format!("iou-wrk-{}", sys::gettid()).into_bytes();
        }
        told.ret = ring.submit(entry)?;
        sys::close(told.ret);
        report.case(&told);
    }
    Ok(())
}

fn handle(report: &Report) -> io::Result<()> {
    const CASE: &str = "open_by_handle_at";
    /// `struct file_handle` with room for every file system's.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        handle: [u8; 128],
    }
    let path = made("by-handle")?;
    let mut handle = Handle { bytes: 128, kind: 0, handle: [0; 128] };
    let mut mount = 0_i32;
    let name = c(&path);
    // SAFETY: name_to_handle_at writes at most `bytes` bytes of handle, and one mount id.
    let known = unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, AT_CWD, name.as_ptr(), &raw mut handle, &raw mut mount, 0)
    };
    if known != 0 {
        report.skip(CASE, format!("name_to_handle_at: {}", io::Error::last_os_error()));
        return Ok(());
    }
    let dir = fs::File::open(".")?.into_raw_fd();
    // The name is a handle: what can be shown is the file's path, and no other name.
    let mut told = Case::new(CASE, "handle", &path, &path);
    // SAFETY: reads the handle that the kernel just wrote.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, dir, &raw const handle, libc::O_RDONLY) };
    if fd < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM) {
        report.skip(CASE, "not permitted (CAP_DAC_READ_SEARCH)");
    } else {
        told.ret = if fd < 0 { -io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { fd as i32 };
        report.case(&told);
    }
    sys::close(told.ret);
    sys::close(dir);
    Ok(())
}
