//! What clears the kernel's list of probes when opentop was killed: a process that does nothing else.
//!
//! Programs, links and maps go with the last descriptor. An event made through tracefs does not: somebody has to delete
//! it. This process waits for the end of a pipe whose other end is opentop's, whatever the end. It holds no capability,
//! heeds no signal, opens nothing and reads nothing but that pipe.

use std::{
    io::{self, PipeWriter, Write as _},
    mem::MaybeUninit,
    os::fd::{AsRawFd as _, BorrowedFd, RawFd},
    ptr,
    sync::Mutex,
};

use nix::unistd::{ForkResult, fork};

/// Room for the lines it is given: more than all kretprobes need.
const ROOM: usize = 1024;

/// How often it tries, and how long it waits in between, ns: an event is busy until the kernel has closed the last
/// descriptor of the process that was killed.
const TRIES: u32 = 300;
const PAUSE_NS: libc::c_long = 10_000_000;

/// The end of the pipe that keeps it waiting.
pub(super) struct Keeper(Mutex<PipeWriter>);

impl Keeper {
    /// Starts it. `events` is `kprobe_events` of tracefs, open for writing.
    ///
    /// # Errors
    /// When there can be no pipe or no process.
    pub(super) fn start(events: BorrowedFd<'_>) -> io::Result<Self> {
        let (wait, tell) = io::pipe()?;
        // SAFETY: the child calls only `keep`, which makes async-signal-safe calls and never returns.
        match unsafe { fork() }? {
            ForkResult::Child => keep(wait.as_raw_fd(), events.as_raw_fd()),
            ForkResult::Parent { .. } => Ok(Self(Mutex::new(tell))),
        }
    }

    /// Has `line` written to the list of events in the end.
    ///
    /// # Errors
    /// When the keeper is gone.
    pub(super) fn at_the_end(&self, line: &str) -> io::Result<()> {
        self.0.lock().map_err(|_| io::Error::other("poisoned"))?.write_all(line.as_bytes())
    }
}

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h, for this process.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// The whole life of the keeper. No allocation, no lock, no return.
fn keep(wait: RawFd, events: RawFd) -> ! {
    // SAFETY: direct system calls with descriptors that were open at the fork and pointers to live memory.
    unsafe {
        // Descriptors are another process's reasons to wait: the command's pipe, the terminal, the probe itself.
        let (wait, events) = (libc::fcntl(wait, libc::F_DUPFD, 64), libc::fcntl(events, libc::F_DUPFD, 64));
        if wait < 0 || events < 0 || libc::dup2(wait, 0) < 0 || libc::dup2(events, 1) < 0 {
            libc::_exit(1);
        }
        if libc::syscall(libc::SYS_close_range, 2, u32::MAX, 0) < 0 {
            for fd in 2..4096 {
                libc::close(fd);
            }
        }
        // What ends a session, a terminal or a service must not end this.
        let mut all = MaybeUninit::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, c"opentop-keeper".as_ptr());
        let header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
        libc::syscall(libc::SYS_capset, &raw const header, [0_u32; 6].as_ptr());
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

        let mut lines = [0_u8; ROOM];
        let mut length = 0;
        loop {
            match libc::read(0, lines.as_mut_ptr().add(length).cast(), ROOM - length) {
                n @ 1.. => length += n.unsigned_abs(),
                -1 if *libc::__errno_location() == libc::EINTR => {}
                _ => break,
            }
        }
        for _ in 0..TRIES {
            let mut busy = false;
            for line in lines.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
                let written = libc::write(1, line.as_ptr().cast(), line.len());
                busy |= written < 0 && *libc::__errno_location() == libc::EBUSY;
            }
            if !busy {
                break;
            }
            libc::nanosleep(&libc::timespec { tv_sec: 0, tv_nsec: PAUSE_NS }, ptr::null_mut());
        }
        libc::_exit(0)
    }
}
