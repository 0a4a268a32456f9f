//! Opens files at full speed and says how long an open took: what the bench puts its tools to.
//!
//! The calls are made directly and pinned to a processor, and nothing is allocated between two of them.
//!
//! `load open|each|processes|compile [--count N] [--seconds S] [--cpu N] [--missing] [--opens N] [--jobs N] [--path FILE]
//! [--warm] [--gently] [--report FILE]`
//!
//! With `--warm` it first opens another file, FILE.warm, until its standard input has a line (or ends): then a tool is
//! up, and the count begins; with `--gently` it opens it only now and then. The report is one line of JSON.

mod children;
mod compile;
mod opens;
mod processes;

use std::ffi::{CString, OsString};
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What is asked for.
struct Args {
    mode: String,
    /// Opens, processes, or units of compilation: whatever the mode repeats.
    count: u64,
    /// Instead of a count.
    seconds: Option<Duration>,
    /// The processor to stay on.
    cpu: Option<usize>,
    /// Open what is not there.
    missing: bool,
    /// Opens of each process.
    opens: u64,
    /// Processes at a time.
    jobs: usize,
    path: PathBuf,
    warm: bool,
    gently: bool,
    report: Option<PathBuf>,
}

const USAGE: &str = "usage: load open|each|processes|compile [--count N] [--seconds S] [--cpu N] [--missing] [--opens N] \
                     [--jobs N] [--path FILE] [--warm] [--gently] [--report FILE]";

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args_os().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = OsString>) -> Option<Args> {
    let mut args = Args {
        mode: words.next()?.into_string().ok()?,
        count: 100_000,
        seconds: None,
        cpu: None,
        missing: false,
        opens: 100,
        jobs: 1,
        path: std::env::temp_dir().join("opentop-load"),
        warm: false,
        gently: false,
        report: None,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next()?.into_string().ok();
        match word.to_str()? {
            "--count" => args.count = value()?.parse().ok()?,
            "--seconds" => args.seconds = Some(Duration::try_from_secs_f64(value()?.parse().ok()?).ok()?),
            "--cpu" => args.cpu = Some(value()?.parse().ok()?),
            "--missing" => args.missing = true,
            "--opens" => args.opens = value()?.parse().ok()?,
            "--jobs" => args.jobs = value()?.parse().ok()?,
            "--path" => args.path = value()?.into(),
            "--warm" => args.warm = true,
            "--gently" => args.gently = true,
            "--report" => args.report = Some(value()?.into()),
            _ => return None,
        }
    }
    Some(args)
}

fn run(args: &Args) -> io::Result<()> {
    let done = match args.mode.as_str() {
        "open" => opens::one(args)?,
        "each" => opens::each(args)?,
        "processes" => processes::run(args)?,
        "compile" => compile::run(args)?,
        _ => return Err(io::Error::other(USAGE)),
    };
    let mut line = String::new();
    let ns = done.time.as_nanos() as f64;
    // A write to a string cannot fail.
    let _ = writeln!(
        line,
        "{{\"opens\":{},\"warm\":{},\"seconds\":{:.6},\"ns_per_open\":{:.1}}}",
        done.opens,
        done.warm,
        done.time.as_secs_f64(),
        if done.opens > 0 { ns * done.streams as f64 / done.opens as f64 } else { 0.0 }
    );
    match &args.report {
        Some(path) => std::fs::write(path, line),
        None => {
            print!("{line}");
            Ok(())
        }
    }
}

/// What was done.
struct Done {
    /// Opens of the counted file.
    opens: u64,
    /// Opens before the count.
    warm: u64,
    time: Duration,
    /// How many did it at a time, each taking all of the time.
    streams: u64,
}

/// A path as the system calls take it.
fn c_path(path: &std::path::Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Stays on a processor.
fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is an empty one; CPU_SET is given one within it.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if cpu < libc::CPU_SETSIZE as usize {
            libc::CPU_SET(cpu, &mut set);
        }
        set
    };
    // SAFETY: 0 is this thread, the set is of the size given.
    match unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
