//! The modes of the terminal (termios): raw for the dashboard, and as they were again, in a handler of signals as well.
//!
//! Not crossterm's: what it keeps of the modes from before is behind a lock, which a thread that crashes may hold.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, IntoRawFd as _, RawFd},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use nix::errno::Errno;

/// A terminal, and its modes before they were changed.
struct Before {
    terminal: RawFd,
    modes: libc::termios,
}

/// Null while the modes are not ours. What it points to stays for good: a handler may be reading it.
static BEFORE: AtomicPtr<Before> = AtomicPtr::new(ptr::null_mut());

/// Makes the terminal raw; keys come as they are pressed, and mean nothing to the kernel. Again, after something else
/// changed the modes, is fine: those of before the first time are what [`back`] brings.
///
/// # Errors
/// When there is no terminal.
pub(super) fn raw() -> io::Result<()> {
    let mut before = BEFORE.load(Ordering::SeqCst);
    if before.is_null() {
        let terminal = terminal()?;
        // SAFETY: all-zero bytes are a valid termios.
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: tcgetattr writes a termios to where it may.
        Errno::result(unsafe { libc::tcgetattr(terminal, &raw mut modes) })?;
        // Some sixty bytes for each time that opentop comes back from Ctrl-Z.
        before = Box::into_raw(Box::new(Before { terminal, modes }));
        BEFORE.store(before, Ordering::SeqCst);
    }
    // SAFETY: what BEFORE has pointed to is never freed nor changed.
    let before = unsafe { &*before };
    let mut raw = before.modes;
    // SAFETY: both take a termios that is valid, and whose memory is this function's.
    Errno::result(unsafe {
        libc::cfmakeraw(&raw mut raw);
        libc::tcsetattr(before.terminal, libc::TCSANOW, &raw const raw)
    })?;
    Ok(())
}

/// Sets the modes back, where they were changed. To be called from a handler of signals too: one system call, no lock.
pub(super) fn back() {
    let before = BEFORE.swap(ptr::null_mut(), Ordering::SeqCst);
    if before.is_null() {
        return;
    }
    // SAFETY: what BEFORE has pointed to is never freed nor changed. A terminal that is gone cannot be given back.
    unsafe { libc::tcsetattr((*before).terminal, libc::TCSANOW, &raw const (*before).modes) };
}

/// Standard input, or where that is none the controlling terminal, which stays open then: the reader of keys does so, too.
fn terminal() -> io::Result<RawFd> {
    static OTHER: std::sync::OnceLock<RawFd> = std::sync::OnceLock::new();
    let stdin = io::stdin();
    if nix::unistd::isatty(&stdin).unwrap_or(false) {
        return Ok(stdin.as_raw_fd());
    }
    if let Some(fd) = OTHER.get() {
        return Ok(*fd);
    }
    let fd = File::options().read(true).write(true).open("/dev/tty")?.into_raw_fd();
    Ok(*OTHER.get_or_init(|| fd))
}
