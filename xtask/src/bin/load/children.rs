//! Processes that do a little and end, some at a time.

use std::io;

/// Forks `count` children, `jobs` at a time; each does `work` with its number. How many of them failed.
pub(crate) fn run(count: u64, jobs: usize, work: impl Fn(u64) -> io::Result<()>) -> io::Result<u64> {
    let (mut next, mut running, mut failed) = (0, 0, 0);
    while next < count || running > 0 {
        if next < count && running < jobs.max(1) {
            // SAFETY: there is one thread, so the child may do anything.
            match unsafe { libc::fork() } {
                0 => {
                    let done = work(next).is_ok();
                    // SAFETY: ends the child, no destructor of the parent's runs in it.
                    unsafe { libc::_exit(i32::from(!done)) };
                }
                pid if pid < 0 => return Err(io::Error::last_os_error()),
                _ => (next, running) = (next + 1, running + 1),
            }
            continue;
        }
        let mut status = 0;
        // SAFETY: one int to write to.
        if unsafe { libc::wait(&raw mut status) } < 0 {
            return Err(io::Error::last_os_error());
        }
        running -= 1;
        failed += u64::from(status != 0);
    }
    Ok(failed)
}
