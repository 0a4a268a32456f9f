//! Has the kernel measure its programs for an opentop that has given the right to that up: a process of its own, which
//! does nothing else.
//!
//! The kernel measures for as long as somebody holds what `BPF_ENABLE_STATS` answers, and wants `CAP_SYS_ADMIN` for it. The
//! process keeps that capability and a list of system calls on which nothing else stands that could make use of it. It is
//! told one byte, on or off; it reads nothing else, holds no other descriptor but the answer, and ends when opentop does,
//! however that ends.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, RawFd},
        unix::net::UnixStream,
    },
};

use nix::unistd::{ForkResult, fork};

use super::sys;

/// The wish that the kernel measures; any other byte is the wish that it does not.
const ON: u8 = 1;

/// The way to that process.
#[derive(Debug)]
pub struct Gauge {
    socket: UnixStream,
    /// Wishes that were not answered yet.
    open: u32,
}

impl Gauge {
    /// Starts the process. `confine` gives up, within it, all but what it needs; false ends it. To be called while there
    /// is one thread.
    ///
    /// # Errors
    /// When there can be no process, or no way to it.
    pub fn start(confine: impl FnOnce() -> bool) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        // SAFETY: there is one thread, so the child may do what it likes; it never returns.
        match unsafe { fork() }? {
            ForkResult::Child => serve(theirs.as_raw_fd(), confine),
            ForkResult::Parent { .. } => Ok(Self { socket: ours, open: 0 }),
        }
    }

    /// Has the kernel measure, or no longer: answered by [`Gauge::answer`]. The kernel patches its code for that, on every
    /// processor, which whoever waits for the screen must not wait for.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn wish(&mut self, on: bool) -> io::Result<()> {
        self.socket.write_all(&[u8::from(on)]).map_err(|_| gone())?;
        self.open += 1;
        Ok(())
    }

    /// What came of the last wish, once it is known.
    ///
    /// # Errors
    /// The kernel's, with its number; one without a number when the process is gone.
    pub(super) fn answer(&mut self) -> io::Result<()> {
        while self.open > 0 {
            let mut answer = [0; 4];
            match self.socket.read(&mut answer) {
                Ok(4) => self.open -= 1,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                _ => return Err(gone()),
            }
            let errno = i32::from_le_bytes(answer);
            if self.open == 0 && errno != 0 {
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

/// The whole life of the process.
fn serve(socket: RawFd, confine: impl FnOnce() -> bool) -> ! {
    // SAFETY: system calls on descriptors and memory of this process, which has one thread. What the parent has open (the
    // probe, the terminal) must not stay open for as long as this lives, and what ends a session, a terminal or a service
    // must not end this: the end of the socket does.
    unsafe {
        if libc::dup2(socket, 0) < 0 || libc::syscall(libc::SYS_close_range, 1, u32::MAX, 0) < 0 {
            libc::_exit(1);
        }
        let mut all = std::mem::MaybeUninit::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, c"opentop-gauge".as_ptr());
    }
    if confine() {
        // SAFETY: descriptor 0 is the socket, and nothing else in this process has it.
        let mut socket = File::from(unsafe { std::os::fd::OwnedFd::from_raw_fd(0) });
        let mut measuring = None;
        let mut wish = [0];
        while matches!(socket.read(&mut wish), Ok(1)) {
            // Never two: what was held goes first.
            drop(measuring.take());
            let mut errno = 0;
            if wish == [ON] {
                match sys::enable_stats() {
                    Ok(stats) => measuring = Some(stats),
                    Err(error) => errno = error.raw_os_error().unwrap_or(libc::EIO),
                }
            }
            if socket.write_all(&errno.to_le_bytes()).is_err() {
                break;
            }
        }
    }
    // SAFETY: ends this process alone, without what the parent would want done at its own end.
    unsafe { libc::_exit(0) }
}
