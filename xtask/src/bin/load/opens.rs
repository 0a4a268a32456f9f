//! Loops of open and close.

use std::ffi::CStr;
use std::io;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Args, Done, c_path, pin};

/// Opens between two looks at the clock.
const BURST: u64 = 256;

/// One loop.
pub(crate) fn one(args: &Args) -> io::Result<Done> {
    let (counted, warm) = files(args)?;
    if let Some(cpu) = args.cpu {
        pin(cpu)?;
    }
    let warm = if args.warm { until_told(&warm, args.gently)? } else { 0 };
    let started = Instant::now();
    let opens = repeat(&counted, args, started)?;
    Ok(Done { opens, warm, time: started.elapsed(), streams: 1 })
}

/// A loop on each processor.
pub(crate) fn each(args: &Args) -> io::Result<Done> {
    let (counted, warm) = files(args)?;
    let cpus = thread::available_parallelism()?.get();
    let warm = if args.warm { until_told(&warm, args.gently)? } else { 0 };
    let together = Barrier::new(cpus);
    let all: Vec<io::Result<(u64, Duration)>> = thread::scope(|scope| {
        let loops: Vec<_> = (0..cpus)
            .map(|cpu| {
                let (counted, together) = (&counted, &together);
                scope.spawn(move || {
                    let pinned = pin(cpu);
                    together.wait();
                    pinned?;
                    let started = Instant::now();
                    Ok((repeat(counted, args, started)?, started.elapsed()))
                })
            })
            .collect();
        let gone = |_| Err(io::Error::other("a loop panicked"));
        loops.into_iter().map(|one| one.join().unwrap_or_else(gone)).collect()
    });
    let mut done = Done { opens: 0, warm, time: Duration::ZERO, streams: cpus as u64 };
    for one in all {
        let (opens, time) = one?;
        done.opens += opens;
        done.time = done.time.max(time);
    }
    Ok(done)
}

/// The file that is counted, and the one before.
fn files(args: &Args) -> io::Result<(std::ffi::CString, std::ffi::CString)> {
    let mut warm = args.path.clone().into_os_string();
    warm.push(".warm");
    if !args.missing {
        std::fs::write(&args.path, b"")?;
    }
    std::fs::write(&warm, b"")?;
    Ok((c_path(&args.path)?, c_path(warm.as_ref())?))
}

fn repeat(path: &CStr, args: &Args, started: Instant) -> io::Result<u64> {
    let mut opens = 0;
    loop {
        let burst = match args.seconds {
            Some(time) if started.elapsed() >= time => return Ok(opens),
            Some(_) => BURST,
            None if opens >= args.count => return Ok(opens),
            None => BURST.min(args.count - opens),
        };
        for _ in 0..burst {
            open(path, args.missing)?;
        }
        opens += burst;
    }
}

/// Opens until standard input says something, or has no more to say.
///
/// `gently`: a few now and then. An emulated processor (QEMU's TCG) that is in a function at the very moment when a hook is
/// put there may go on with the breakpoint that was there meanwhile, for good.
fn until_told(path: &CStr, gently: bool) -> io::Result<u64> {
    let (burst, pause_ms) = if gently { (4, 100) } else { (BURST, 0) };
    let mut opens = 0;
    loop {
        for _ in 0..burst {
            open(path, false)?;
        }
        opens += burst;
        let mut input = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which lives until the call is over.
        if unsafe { libc::poll(&raw mut input, 1, pause_ms) } > 0 {
            return Ok(opens);
        }
    }
}

/// One open, and the close of what it gave.
pub(crate) fn open(path: &CStr, missing: bool) -> io::Result<()> {
    // SAFETY: a NUL-terminated path.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd >= 0 {
        // SAFETY: a descriptor of ours that nothing else knows.
        unsafe { libc::close(fd) };
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if missing && error.raw_os_error() == Some(libc::ENOENT) { Ok(()) } else { Err(error) }
}
