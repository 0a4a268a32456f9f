//! Signals that end a session: blocked in every thread, and waited for by one thread of their own.
//!
//! A thread that waits learns who sent a signal (a key or a process) and can end the program even while
//! the main thread is stuck in a write that nobody reads. Not here: SIGTSTP, SIGCONT, SIGWINCH, SIGCHLD, and those that
//! kill on the spot (`crash.rs`).

use std::{
    io::Write as _,
    os::fd::AsFd as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        pthread::{Pthread, pthread_kill, pthread_self},
        signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction},
    },
};
use tokio::sync::mpsc;

use super::End;
use crate::error::Error;

/// Those that end a session: everything that would end a program of itself, and leaves it the time to do so in order.
const ENDING: [libc::c_int; 13] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGXCPU,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];

/// Those that a key, or the terminal when it goes, sends to the command as well.
const OF_THE_TERMINAL: [libc::c_int; 3] = [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];

/// How long an orderly end may take after a signal before whatever output hangs is given up.
const PATIENCE: Duration = Duration::from_millis(700);

/// How long the rest of it may take then (closing the recording), before the end becomes a quick one.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// The same, where other programs have the processors.
const MOST_PATIENCE: Duration = Duration::from_secs(8);

/// Interrupts a write that hangs. Nobody sends it otherwise, and to whom it comes without a handler it does nothing.
pub(super) const NUDGE: Signal = Signal::SIGURG;

/// Output that hangs is given up: nobody reads it.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// What must be done before a quick end: the dashboard gives the terminal back here.
static LAST_WORDS: Mutex<Option<fn()>> = Mutex::new(None);

/// Has `restore` called if the program must end at once, from the thread that waits for signals.
pub(crate) fn before_a_quick_end(restore: fn()) {
    if let Ok(mut last) = LAST_WORDS.lock() {
        *last = Some(restore);
    }
}

/// Signals held back from every thread.
pub(super) struct Blocked {
    /// Those that are waited for.
    set: SigSet,
    /// The mask as it was: a command to run gets it back.
    pub(super) before: SigSet,
}

/// Holds the signals back. To be called while there is one thread: later ones inherit it.
pub(super) fn block() -> Result<Blocked, Error> {
    // The signals for real time, which nobody has a use for here, end a program as well.
    let ending = ENDING.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX());
    // Whoever started opentop with a signal ignored (nohup, a background job) wants it ignored.
    let set = set_of(ending.filter(|signal| !ignored(*signal)));
    // Nobody waits for SIGXFSZ: a write beyond `ulimit -f` fails with EFBIG then, which is told like a full disk.
    let mut held = set;
    held.add(Signal::SIGXFSZ);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before))
        .map_err(|errno| Error::failed(format!("blocking signals failed: {}", errno.desc())))?;
    Ok(Blocked { set, before })
}

fn set_of(signals: impl Iterator<Item = libc::c_int>) -> SigSet {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset makes the set a valid one, sigaddset takes a valid one.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        SigSet::from_sigset_t_unchecked(set.assume_init())
    }
}

pub(super) fn ignored(signal: libc::c_int) -> bool {
    // SAFETY: all-zero bytes are a valid sigaction; with a null new action sigaction only writes the old one to it.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut old) == 0 && old.sa_sigaction == libc::SIG_IGN
    }
}

/// Starts the thread that waits. The first signal goes to `ends`, the second ends the program at once.
///
/// Without a command the first one also starts a deadline: output that nobody reads is given up, so that the rest can
/// end in order, and if that hangs, too, it is cut short. With one (`patient`) there is none: the command decides how
/// long it takes to end. To be called by the thread that writes.
pub(super) fn watch(blocked: &Blocked, ends: mpsc::Sender<End>, patient: bool) -> Result<(), Error> {
    extern "C" fn nothing(_: libc::c_int) {}
    let interrupt = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, and so nothing that a handler must not.
    unsafe { sigaction(NUDGE, &interrupt) }
        .map_err(|errno| Error::failed(format!("setting a signal's handler failed: {}", errno.desc())))?;
    let set = blocked.set;
    let writer = pthread_self();
    let wait = move || {
        super::fault::point("signals");
        if let Some(first) = next(&set, None) {
            // The channel has room for every end there can be; a closed one means that the end is here already.
            let _ = ends.try_send(End::Signal { signal: first.number, keyboard: first.keyboard });
            let mut second = next(&set, (!patient).then_some(PATIENCE));
            if second.is_none() {
                second = give_up_output(&set, writer);
            }
            quick_end(second.as_ref().map_or(first.number, |second| second.number), second.is_none());
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(|e| {
        Error::failed(format!("starting the thread that waits for signals failed: {}", crate::error::in_words(&e)))
    })?;
    Ok(())
}

/// Whether output that hangs is given up: what writes then drops what it has.
pub(super) fn output_is_given_up() -> bool {
    GIVEN_UP.load(Ordering::SeqCst)
}

/// Has the writes of `writer` end, and gives it time to end the rest; a signal that comes meanwhile.
fn give_up_output(set: &SigSet, writer: Pthread) -> Option<Caught> {
    const STEP: Duration = Duration::from_millis(50);
    GIVEN_UP.store(true, Ordering::SeqCst);
    let (start, before) = (Instant::now(), kept_waiting());
    // What is ready to run and does not get a processor hangs in nothing: it has its time all the same.
    while start.elapsed() < (LAST_PATIENCE + kept_waiting().saturating_sub(before)).min(MOST_PATIENCE) {
        // Again and again: it may have looked just before, and gone into the next write.
        let _ = pthread_kill(writer, NUDGE);
        let second = next(set, Some(STEP));
        if second.is_some() {
            return second;
        }
    }
    None
}

/// How long threads of this process have been ready to run while others ran: the second number of
/// /proc/PID/task/TID/schedstat, of all of them. None where the kernel does not keep it.
fn kept_waiting() -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    stats.filter_map(|stat| stat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)).sum()
}

struct Caught {
    number: i32,
    keyboard: bool,
}

/// The next signal of `set`; `None` when none came in `patience`.
fn next(set: &SigSet, patience: Option<Duration>) -> Option<Caught> {
    loop {
        // SAFETY: all-zero bytes are a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let number = match patience {
            // SAFETY: both pointers are valid for the call.
            None => unsafe { libc::sigwaitinfo(set.as_ref(), &raw mut info) },
            Some(patience) => {
                let timeout = libc::timespec {
                    tv_sec: libc::time_t::try_from(patience.as_secs()).unwrap_or(libc::time_t::MAX),
                    tv_nsec: patience.subsec_nanos().into(),
                };
                // SAFETY: the three pointers are valid for the call.
                unsafe { libc::sigtimedwait(set.as_ref(), &raw mut info, &raw const timeout) }
            }
        };
        if number > 0 {
            // A key makes the terminal driver send it; SI_USER and the like come from a process.
            let keyboard = info.si_code == libc::SI_KERNEL && OF_THE_TERMINAL.contains(&number);
            return Some(Caught { number, keyboard });
        }
        if nix::errno::Errno::last() == nix::errno::Errno::EAGAIN {
            return None;
        }
    }
}

/// Ends the program at once, whatever hangs.
pub(super) fn quick_end(signal: i32, stuck: bool) -> ! {
    GIVEN_UP.store(true, Ordering::SeqCst);
    if let Some(restore) = LAST_WORDS.lock().ok().and_then(|mut last| last.take()) {
        restore();
    }
    let stderr = std::io::stderr();
    let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    // Where there is no room this would wait, too.
    if stuck && poll(&mut room, PollTimeout::ZERO) == Ok(1) {
        let _ = std::io::stderr().write_all(
            b"opentop: nobody reads the output: ended without writing the rest of it, and without an account\n",
        );
    }
    // SAFETY: _exit is always safe to call; it runs nothing of this process, which may be stuck elsewhere.
    unsafe { libc::_exit(128 + signal) }
}
