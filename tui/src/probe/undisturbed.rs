//! Reading the kernel's maps without losing the processor on the way.
//!
//! While bpf(2) is at a map the kernel skips the programs of kprobes on that processor (`bpf_prog_active`; else one of them
//! might wait for the map's lock for ever). On a kernel with preemption another task may get the processor just then, and
//! for as long as it runs nothing that it opens is seen. So the maps are read at the lowest of the real-time priorities:
//! no ordinary task takes the processor from that.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::resource::{Resource, setrlimit};

/// The lowest priority of `SCHED_FIFO`.
const LOWEST: libc::c_int = 1;

/// Whether it is allowed here.
static PERMITTED: AtomicBool = AtomicBool::new(false);

/// Lets this process read like that once it has given its capabilities up, where it has what that takes (`CAP_SYS_RESOURCE`).
pub fn read_undisturbed() {
    let lowest = LOWEST.unsigned_abs().into();
    // Where it may not, maps are read like anything else.
    PERMITTED.store(setrlimit(Resource::RLIMIT_RTPRIO, lowest, lowest).is_ok(), Ordering::Relaxed);
}

/// Reads; as said above where the kernel allows it.
pub(super) fn undisturbed<T>(read: impl FnOnce() -> T) -> T {
    let raised = PERMITTED.load(Ordering::Relaxed) && schedule(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, LOWEST);
    let answer = read();
    if raised {
        schedule(libc::SCHED_OTHER, 0);
    }
    answer
}

/// Sets how the calling thread is scheduled; whether it was allowed.
fn schedule(policy: libc::c_int, priority: libc::c_int) -> bool {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: sched_setscheduler(2) reads the parameters, which live until it returns.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_comes_back_and_the_thread_is_an_ordinary_one_again() {
        // SAFETY: a system call without pointers.
        let policy = || unsafe { libc::sched_getscheduler(0) };
        let ordinary = policy();
        read_undisturbed();
        let (within, answer) = undisturbed(|| (policy() & !libc::SCHED_RESET_ON_FORK, 42));
        assert_eq!(answer, 42);
        assert!(within == libc::SCHED_FIFO || within == ordinary, "{within}");
        assert_eq!(policy(), ordinary);
    }
}
