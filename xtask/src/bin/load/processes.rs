//! Many short processes, each of which opens a little.

use std::io;
use std::time::Instant;

use crate::{Args, Done, c_path, children, opens};

/// `--count` processes, `--jobs` at a time, each of which opens `--path` `--opens` times and ends.
pub(crate) fn run(args: &Args) -> io::Result<Done> {
    if !args.missing {
        std::fs::write(&args.path, b"")?;
    }
    let path = c_path(&args.path)?;
    let started = Instant::now();
    let failed = children::run(args.count, args.jobs, |_| {
        (0..args.opens).try_for_each(|_| opens::open(&path, args.missing).map(drop))
    })?;
    if failed > 0 {
        return Err(io::Error::other(format!("{failed} processes could not open {}", args.path.display())));
    }
    let streams = args.jobs.max(1) as u64;
    Ok(Done { opens: args.count * args.opens, warm: 0, time: started.elapsed(), streams })
}
