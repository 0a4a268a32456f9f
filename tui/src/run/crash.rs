//! Signals that kill on the spot: a fault of opentop's own or of a library (SIGSEGV and its like), an abort, a system call
//! that a container does not allow. The terminal is given back and one line says what it was; then the signal does what it
//! does without this, a core dump included. A recording ends where it was written to: it can be read up to there.
//!
//! All of it runs in a handler of signals, whatever the thread was at: direct system calls on memory of its own, no lock, no
//! allocation. Signals that ask for an end have one in order: `signals.rs`.

use std::{
    mem::MaybeUninit,
    ptr,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use super::terminal;

/// Those that a program is killed by for what it did, and that can be caught.
const FATAL: [libc::c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGSYS, libc::SIGTRAP];

/// What was done about each before: of SIGSEGV and SIGBUS Rust's runtime makes the overflow of a stack known.
static mut FORMER: [MaybeUninit<libc::sigaction>; FATAL.len()] = [MaybeUninit::zeroed(); FATAL.len()];

/// Has the terminal given back before any of them kills. To be called while there is one thread.
pub(super) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for (at, signal) in FATAL.into_iter().enumerate() {
            // SAFETY: all-zero bytes are a valid sigaction. The handler keeps to what a handler may do. FORMER is written
            // here alone, before the handler that reads it stands.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let former = (&raw mut FORMER[at]).cast::<libc::sigaction>();
                libc::sigaction(signal, ptr::null(), former);
                action.sa_sigaction = crashed as extern "C" fn(_, _, _) as usize;
                // On the stack for handlers that Rust's runtime gives every thread: the thread's own may be full.
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigfillset(&raw mut action.sa_mask);
                libc::sigaction(signal, &raw const action, ptr::null_mut());
            }
        }
    });
}

extern "C" fn crashed(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    static FIRST: AtomicBool = AtomicBool::new(true);
    if !FIRST.swap(false, Ordering::SeqCst) {
        // Another thread is at it, and ends the process. A signal of this thread's own would have killed by now.
        loop {
            // SAFETY: a system call without pointers to anything.
            unsafe { libc::usleep(100_000) };
        }
    }
    terminal::give_back_from_a_handler();
    // SAFETY: the kernel hands a valid siginfo_t to a handler with SA_SIGINFO.
    let (by_a_process, address) = unsafe { ((*info).si_code <= 0, (*info).si_addr() as usize) };
    let mut line = Line::new();
    line.add(b"opentop: ");
    match (by_a_process, signal) {
        (true, libc::SIGABRT) | (false, _) => {
            line.add(b"this is a fault of opentop itself, please report it at ");
            line.add(concat!(env!("CARGO_PKG_REPOSITORY"), "/issues with this line: ").as_bytes());
            line.add(name(signal));
            if !by_a_process {
                line.add(b" at 0x");
                line.hex(address);
            }
            line.add(concat!(" (version ", env!("CARGO_PKG_VERSION"), ")").as_bytes());
        }
        (true, _) => {
            line.add(b"ended by a ");
            line.add(name(signal));
            line.add(b" that a process sent");
        }
    }
    line.add(b"\n");
    terminal::write_if_there_is_room(libc::STDERR_FILENO, line.bytes());
    // SAFETY: FORMER was written before this handler stood; the other two take numbers.
    unsafe {
        match FATAL.into_iter().position(|fatal| fatal == signal) {
            // What failed is done again, and meets what stood before, which may end in an abort.
            Some(at) if !by_a_process && matches!(signal, libc::SIGSEGV | libc::SIGBUS) => {
                libc::signal(libc::SIGABRT, libc::SIG_DFL);
                libc::sigaction(signal, (&raw const FORMER[at]).cast(), ptr::null_mut());
            }
            // It waits until this handler has returned.
            _ => {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
    }
}

fn name(signal: libc::c_int) -> &'static [u8] {
    match signal {
        libc::SIGSEGV => b"SIGSEGV",
        libc::SIGBUS => b"SIGBUS",
        libc::SIGILL => b"SIGILL",
        libc::SIGFPE => b"SIGFPE",
        libc::SIGABRT => b"SIGABRT",
        libc::SIGSYS => b"SIGSYS",
        _ => b"SIGTRAP",
    }
}

/// A line of text without an allocation. What does not fit is left out.
struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; 256], length: 0 }
    }

    fn add(&mut self, text: &[u8]) {
        for byte in text {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
    }

    fn hex(&mut self, number: usize) {
        let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            let digit = (number >> (4 * digit) & 0xf) as u8;
            self.add(&[if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }]);
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_put_together_without_an_allocation_and_is_never_too_long() {
        let mut line = Line::new();
        line.add(b"at 0x");
        line.hex(0);
        line.add(b" ");
        line.hex(0x7ff0_00ad);
        assert_eq!(line.bytes(), b"at 0x0 7ff000ad");
        line.add(&[b'x'; 400]);
        assert_eq!(line.bytes().len(), 256);
    }
}
