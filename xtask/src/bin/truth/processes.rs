//! Who opens: children that are gone at once, other users, programs being executed, threads with names of their
//! own, many at a time, and an open that waits.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::thread;

use crate::arch;
use crate::report::{Case, Report, c, cwd, join};
use crate::sys;

const THREADS: usize = 8;
const OPENS: usize = 50;

pub fn run(report: &Report) -> io::Result<()> {
    let here = cwd()?;
    let open = |case: &str, name: &str| {
        let path = join(&here, name.as_bytes());
        let mut told = Case::new(case, "openat", &path, &path);
        told.ret = sys::openat(libc::AT_FDCWD, c(&path).as_ptr(), 0, 0);
        sys::close(told.ret);
        report.case(&told);
    };

    sys::make(b"by-child")?;
    sys::in_child(|| open("short-lived child", "by-child"))?;
    sys::in_child(|| {
        let _ = sys::in_child(|| open("grandchild", "by-grandchild"));
    })?;

    sys::make(b"by-nobody")?;
    fs::set_permissions("by-nobody", fs::Permissions::from_mode(0o600))?;
    fs::set_permissions(".", fs::Permissions::from_mode(0o755))?;
    sys::in_child(|| {
        // SAFETY: takes a number.
        if unsafe { libc::setuid(65_534) } == 0 {
            open("EACCES of another user", "by-nobody");
        } else {
            report.skip("EACCES of another user", io::Error::last_os_error());
        }
    })?;

    exec(report, &here)?;
    fifo(report, &here)?;
    threads(report, &here);
    Ok(())
}

/// execve opens the program, and the interpreter that its first line names.
fn exec(report: &Report, here: &[u8]) -> io::Result<()> {
    for name in ["program", "interpreter"] {
        fs::write(name, tiny_elf())?;
    }
    fs::write("script", [b"#!", &join(here, b"interpreter")[..], b"\n"].concat())?;
    for name in ["program", "interpreter", "script"] {
        fs::set_permissions(name, fs::Permissions::from_mode(0o755))?;
    }
    let exec = |name: &str, told: &[(&str, &str, i32)]| {
        sys::in_child(|| {
            for (case, name, ret) in told {
                let path = join(here, name.as_bytes());
                let mut told = Case::new(case, "exec", &path, &path);
                (told.flags, told.no_fd, told.ret) = (None, true, *ret);
                report.case(&told);
            }
            let path = c(&join(here, name.as_bytes()));
            let args = [path.as_ptr(), std::ptr::null()];
            // SAFETY: a program, arguments and an environment that end with a null.
            unsafe { libc::execve(path.as_ptr(), args.as_ptr(), args[1..].as_ptr()) };
        })
    };
    exec("program", &[("exec", "program", 0)])?;
    exec("script", &[("exec of a script", "script", 0), ("exec of its interpreter", "interpreter", 0)])?;
    exec("no-program", &[("exec of a missing program", "no-program", -libc::ENOENT)])?;
    Ok(())
}

/// The least program: it ends.
fn tiny_elf() -> Vec<u8> {
    let base = 0x40_0000_u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // ET_EXEC, machine, version.
    elf.extend([2, 0, arch::MACHINE, 0, 1, 0, 0, 0]);
    // Entry, program headers, section headers.
    for value in [base + 120, 64, 0] {
        elf.extend(value.to_le_bytes());
    }
    // Flags, sizes and counts of headers.
    elf.extend([0; 4]);
    for value in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(value.to_le_bytes());
    }
    // PT_LOAD, readable and executable, the whole file.
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let size = 120 + arch::EXIT.len() as u64;
    for value in [0, base, base, size, size, 4096] {
        elf.extend(value.to_le_bytes());
    }
    elf.extend(arch::EXIT);
    elf
}

/// Both ends of a FIFO: the one that comes first waits in its open for the other.
fn fifo(report: &Report, here: &[u8]) -> io::Result<()> {
    let path = join(here, b"fifo");
    // SAFETY: mkfifo reads the name.
    if unsafe { libc::mkfifo(c(&path).as_ptr(), 0o600) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // One file under two names, so that each open has its own.
    let open = |case: &str, comm: &[u8], name: &[u8], flags: i32| {
        sys::set_comm(comm);
        let path = join(here, name);
        let mut told = Case::new(case, "openat", &path, &path);
        told.flags = Some(flags);
        told.ret = sys::openat(libc::AT_FDCWD, c(&path).as_ptr(), flags, 0);
        report.case(&told);
        told.ret
    };
    thread::scope(|scope| {
        let reader = scope.spawn(|| open("open that waits", b"fifo-reader", b"fifo", libc::O_RDONLY));
        let writer = scope.spawn(|| open("open that lets it go", b"fifo-writer", b"./fifo", libc::O_WRONLY));
        // Neither is closed before both are open: the other would wait for ever.
        for end in [reader.join(), writer.join()].into_iter().flatten() {
            sys::close(end);
        }
    });
    Ok(())
}

/// Many threads at once, each with a name of its own, each file opened once.
fn threads(report: &Report, here: &[u8]) {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let barrier = &barrier;
            scope.spawn(move || {
                sys::set_comm(format!("worker \x1b[3{thread}m").as_bytes());
                let paths: Vec<_> =
                    (0..OPENS).map(|at| join(here, format!("thread-{thread}-{at}").as_bytes())).collect();
                let mut told: Vec<_> =
                    paths.iter().map(|path| Case::new(&format!("thread {thread}"), "openat", path, path)).collect();
                barrier.wait();
                for (path, told) in paths.iter().zip(&mut told) {
                    // Every other one succeeds, since it is created.
                    let flags = if path.len() % 2 == 0 { libc::O_CREAT | libc::O_RDWR } else { libc::O_RDONLY };
                    (told.flags, told.mode) = (Some(flags), if flags == 0 { 0 } else { 0o600 });
                    told.ret = sys::openat(libc::AT_FDCWD, c(path).as_ptr(), flags, told.mode);
                    sys::close(told.ret);
                }
                for told in &told {
                    report.case(told);
                }
            });
        }
    });
}
