//! Many short processes, each of which opens a little.

use std::io;
use std::time::Instant;

use crate::{Args, Done, c_path, opens};

/// `--count` processes, `--jobs` at a time, each of which opens `--path` `--opens` times and ends.
pub(crate) fn run(args: &Args) -> io::Result<Done> {
    if !args.missing {
        std::fs::write(&args.path, b"")?;
    }
    let path = c_path(&args.path)?;
    let started = Instant::now();
    let (mut left, mut running, mut failed) = (args.count, 0, 0);
    while left > 0 || running > 0 {
        if left > 0 && running < args.jobs.max(1) {
            // SAFETY: there is one thread; the child makes system calls and leaves by _exit.
            match unsafe { libc::fork() } {
                0 => {
                    let done = (0..args.opens).all(|_| opens::open(&path, args.missing).is_ok());
                    // SAFETY: ends the child, no destructor of the parent's runs in it.
                    unsafe { libc::_exit(i32::from(!done)) };
                }
                pid if pid < 0 => return Err(io::Error::last_os_error()),
                _ => (left, running) = (left - 1, running + 1),
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
    if failed > 0 {
        return Err(io::Error::other(format!("{failed} processes could not open {}", args.path.display())));
    }
    let streams = args.jobs.max(1) as u64;
    Ok(Done { opens: args.count * args.opens, warm: 0, time: started.elapsed(), streams })
}
