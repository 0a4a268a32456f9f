//! Opens files in every way there is and says which: the truth that the tests hold opentop's trace against.
//!
//! Every case opens something that no other case opens, so that an event belongs to one case. The calls are made
//! directly: no library in between decides which one it becomes.
//!
//! `truth --truth FILE [--dir DIR]`, or `truth --captures FILE --dir DIR` for the opens of `captures`

#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64.rs")]
mod arch;
mod calls;
mod captures;
#[path = "../../../../tui/src/escape.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "opentop's file, of which one function is used here")]
mod escape;
mod names;
mod places;
mod processes;
mod report;
mod sys;
mod uring;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use report::Report;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (mut truth, mut captures, mut dir) = (None, None, None);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--truth") => truth = args.next(),
            Some("--captures") => captures = args.next(),
            Some("--dir") => dir = args.next(),
            _ => {
                eprintln!("usage: truth --truth FILE [--dir DIR], or truth --captures FILE --dir DIR");
                return ExitCode::from(2);
            }
        }
    }
    if let (Some(told), Some(dir)) = (&captures, &dir) {
        return match captures::run(Path::new(told), Path::new(dir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("truth: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(truth) = truth else {
        eprintln!("truth: --truth FILE is missing");
        return ExitCode::from(2);
    };
    let dir = dir.map_or_else(|| std::env::temp_dir().join(format!("truth.{}", std::process::id())), PathBuf::from);
    match run(Path::new(&truth), &dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("truth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(truth: &Path, dir: &Path) -> io::Result<()> {
    // Appending, so that children and threads add whole lines.
    fs::write(truth, b"")?;
    let report = Report::new(fs::File::options().append(true).open(truth)?);
    fs::create_dir_all(dir)?;
    // As the kernel will walk it: without symbolic links.
    let dir = dir.canonicalize()?;
    std::env::set_current_dir(&dir)?;
    sys::set_comm(b"truth");
    // Whatever forks comes before the threads.
    calls::run(&report)?;
    names::run(&report)?;
    places::run(&report)?;
    processes::run(&report)?;
    std::env::set_current_dir("/")?;
    fs::remove_dir_all(&dir)
}
