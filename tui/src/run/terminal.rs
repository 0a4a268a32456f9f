//! The terminal: taken over, written to, and given back on every way out.
//!
//! Nothing is ever asked of the terminal: an answer might never come, or come between keys.

use std::io::{self, Write};
use std::os::fd::{AsFd as _, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::modes;

/// Alternate screen, cursor hidden, everything erased.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[0m\x1b[2J";
/// Buttons, drags and the wheel, in SGR coordinates.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1002h\x1b[?1006h";
/// Mouse off, bracketed paste off, focus events off, attributes off, cursor shown, the first screen again.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[?1006l\x1b[?1002l\x1b[?1000l\x1b[?2004l\x1b[?1004l\x1b[0m\x1b[?25h\x1b[?1049l";

/// Standard output without a buffer or a lock: a frame is one write, and the terminal can be given back while another
/// thread hangs in a write that nobody reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            // In this order: whoever gives the terminal back looks at the two in the other.
            // SAFETY: a system call without a pointer.
            WRITER.store(unsafe { libc::gettid() }, Ordering::SeqCst);
            // Given back, or read by nobody: what is drawn now is for no one.
            let given_up = super::signals::output_is_given_up();
            if given_up {
                super::output::drop_it();
            }
            let for_no_one = given_up || !TAKEN.load(Ordering::SeqCst);
            let written = if for_no_one { Ok(bytes.len()) } else { nix::unistd::write(io::stdout(), bytes) };
            WRITER.store(0, Ordering::SeqCst);
            match written {
                Err(Errno::EINTR) => {}
                // Whoever shares the descriptor may have made it non-blocking.
                Err(Errno::EAGAIN) => {
                    let stdout = io::stdout();
                    let _ = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(100u16));
                }
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the terminal is ours now: what whoever gives it back in haste must know.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The thread that writes a frame, 0 for none: what leaves the screen must come after it.
static WRITER: AtomicI32 = AtomicI32::new(0);

/// The thread that takes the terminal, 0 for none: what sets its modes back must come after it.
static TAKER: AtomicI32 = AtomicI32::new(0);

/// Whether a handler of signals gives the terminal back for good: nobody takes it any more.
static CRASHED: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Taken {
    mouse: bool,
}

impl Taken {
    /// Takes the terminal: raw mode, the alternate screen, the mouse if wanted.
    ///
    /// # Errors
    /// When standard input or output is no terminal.
    pub(super) fn new(mouse: bool) -> io::Result<Self> {
        let taken = Self { mouse };
        taken.take()?;
        Ok(taken)
    }

    fn take(&self) -> io::Result<()> {
        // In this order: a handler that gives the terminal back looks at the two in the other.
        // SAFETY: a system call without a pointer.
        TAKER.store(unsafe { libc::gettid() }, Ordering::SeqCst);
        let raw = if CRASHED.load(Ordering::SeqCst) { Err(Errno::EOWNERDEAD.into()) } else { modes::raw() };
        super::fault::point("taking");
        if raw.is_ok() {
            TAKEN.store(true, Ordering::SeqCst);
        }
        TAKER.store(0, Ordering::SeqCst);
        if CRASHED.load(Ordering::SeqCst) {
            // Another thread is about to end the process, and says why.
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        raw?;
        let mut out = Output;
        out.write_all(ENTER)?;
        if self.mouse {
            out.write_all(MOUSE_ON)?;
        }
        Ok(())
    }

    /// Gives the terminal to the shell and stops this process, as Ctrl-Z does elsewhere; returns when it is
    /// continued, with the terminal taken again.
    ///
    /// # Errors
    /// When the terminal cannot be taken again.
    pub(super) fn suspend(&self) -> io::Result<()> {
        give_back();
        // To the whole group: a command that we started stops with us.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(0), nix::sys::signal::Signal::SIGSTOP)?;
        self.take()
    }

    /// Takes the terminal once more after a SIGCONT: whoever sent a SIGSTOP left no time to give it back, and the shell has
    /// made it its own meanwhile.
    ///
    /// # Errors
    /// When the terminal cannot be taken.
    pub(super) fn again(&self) -> io::Result<()> {
        self.take()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Here if it was about to be taken, and no further.
        modes::back();
        give_back();
    }
}

/// Gives the terminal back as it was. Safe to call again, and from a panic.
pub(super) fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // First what never waits. A terminal that is gone cannot be given back: nothing is left to do about an error here.
    modes::back();
    if super::signals::output_is_given_up() {
        leave_without_waiting();
        return;
    }
    wait_for(&WRITER, false);
    let stdout = io::stdout();
    let mut rest = LEAVE;
    while !rest.is_empty() {
        match nix::unistd::write(&stdout, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) if !super::signals::output_is_given_up() => {}
            Err(_) => return,
        }
    }
}

/// The same in a handler of signals: nothing but system calls, and none that waits.
pub(super) fn give_back_from_a_handler() {
    CRASHED.store(true, Ordering::SeqCst);
    // Where this thread itself was taking it the modes may be raw already.
    wait_for(&TAKER, false);
    modes::back();
    if TAKEN.swap(false, Ordering::SeqCst) {
        leave_without_waiting();
    }
}

/// Leaves the screen though nobody may be reading.
fn leave_without_waiting() {
    wait_for(&WRITER, true);
    // What nobody has read is thrown away: the following would have to wait behind it, and a pseudo-terminal drops what is
    // queued when its session ends.
    // SAFETY: a system call without a pointer.
    unsafe { libc::tcflush(libc::STDOUT_FILENO, libc::TCOFLUSH) };
    write_if_there_is_room(libc::STDOUT_FILENO, LEAVE);
}

/// Waits for a moment until another thread is done with what it is at ([`WRITER`], [`TAKER`]), or was broken off in it where
/// `interrupt`: while it hangs in a write the kernel lets nobody else write.
fn wait_for(busy: &AtomicI32, interrupt: bool) {
    for _ in 0..100 {
        let thread = busy.load(Ordering::SeqCst);
        // SAFETY: system calls without pointers. A handler of signals has interrupted its own thread's write already.
        unsafe {
            if thread == 0 || thread == libc::gettid() {
                return;
            }
            if interrupt {
                libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, super::signals::NUDGE as libc::c_int);
            }
            libc::usleep(1000);
        }
    }
}

/// Writes where that needs no waiting; whether it did. For handlers of signals as well.
pub(super) fn write_if_there_is_room(fd: RawFd, bytes: &[u8]) -> bool {
    let mut room = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd and bytes that live for the calls.
    unsafe {
        libc::poll(&raw mut room, 1, 100) == 1
            && room.revents & libc::POLLOUT != 0
            && libc::write(fd, bytes.as_ptr().cast(), bytes.len()) >= 0
    }
}

/// Columns and rows of the terminal.
#[must_use]
pub(super) fn size() -> (u16, u16) {
    crossterm::terminal::window_size().map_or((80, 24), |size| (size.columns, size.rows))
}
