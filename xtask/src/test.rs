//! `cargo xtask test`: every test there is. Those of the workspace, a capture on this machine's kernel, and the
//! matrix of kernels and ways to attach in virtual machines.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::captures;
use crate::cmd;
use crate::kernels::{self, Kernel};
use crate::machine::Programs;
use crate::truth::{self, Trace, Verdict};

mod matrix;

/// Run every test.
#[derive(clap::Args)]
pub struct Args {
    /// Only the virtual machines
    #[arg(long)]
    vm: bool,
    /// Everything but the virtual machines
    #[arg(long, conflicts_with = "vm")]
    no_vm: bool,
    /// Only these kernels of the matrix
    #[arg(long, value_delimiter = ',')]
    kernel: Vec<String>,
    /// Kernels for arm64, too: builds everything for it first (in continuous integration this is so without a word)
    #[arg(long, conflicts_with_all = ["no_vm", "kernel"])]
    arm64: bool,
    /// Only these ways to attach
    #[arg(long, value_delimiter = ',', default_value = "kprobe,fentry,tracepoint")]
    attach: Vec<String>,
}

/// Exit codes of opentop that say "not on this machine": the kernel can't, not permitted.
const CANNOT: [i32; 2] = [69, 77];

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    fn skip(&mut self, what: &str, why: &str) {
        println!("SKIPPED {what}: {why}");
        self.skipped += 1;
    }

    fn fail(&mut self, what: &str, why: &str) {
        println!("FAILED {what}: {why}");
        self.failed += 1;
    }
}

pub fn main(args: &Args) -> Result<ExitCode> {
    // In continuous integration nothing is left out that can be had.
    let arm64 = args.arm64 || cmd::ci();
    let all = args.kernel.is_empty();
    let kernels: Vec<Kernel> = if all {
        kernels::MATRIX.into_iter().chain(arm64.then_some(kernels::ARM64).into_iter().flatten()).collect()
    } else {
        args.kernel.iter().map(|name| Kernel::named(name)).collect::<Result<_>>()?
    };
    let mut tally = Tally::default();
    if all && !arm64 && !args.no_vm {
        tally.skip(
            "the kernels for arm64",
            "--arm64 builds everything for them, which takes some minutes, and takes them",
        );
    }
    if !args.vm {
        tally.add(timed("workspace", workspace)?);
        tally.add(timed("live capture", live)?);
    }
    if !args.no_vm {
        tally.add(timed("virtual machines", || matrix::run(&kernels, &args.attach))?);
    }
    let skipped = if tally.skipped > 0 { format!(", {} skipped", tally.skipped) } else { String::new() };
    println!("{} passed, {} failed{skipped}", tally.passed, tally.failed);
    Ok(ExitCode::from(u8::from(tally.failed > 0)))
}

/// Says what is being done and, after it, how long it took.
fn timed(what: &str, tests: impl FnOnce() -> Result<Tally>) -> Result<Tally> {
    let started = Instant::now();
    println!("== {what}");
    let tally = tests()?;
    println!("== {what}: {} s", started.elapsed().as_secs());
    Ok(tally)
}

/// `cargo test` of the whole workspace. Its lines go on as they come; the results among them are added up.
fn workspace() -> Result<Tally> {
    let mut command = cmd::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    if cmd::ci() && can_capture(&Programs::for_tests()?)? {
        // What this machine can do is not skipped.
        command.env("OPENTOP_REQUIRE_LIVE", "1");
    }
    let mut child = command.spawn().context("cannot start cargo")?;
    let said = child.stderr.take().context("no standard error")?;
    let skipped = thread::spawn(move || skips(BufReader::new(said)));
    let mut tally = Tally::default();
    for line in BufReader::new(child.stdout.take().context("no standard output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        tally.add(result_line(&line).unwrap_or_default());
    }
    // A test that skips itself ends like one that passed.
    let skipped = skipped.join().map_err(|_| anyhow::anyhow!("reading cargo's errors failed"))??;
    tally.skipped += skipped;
    tally.passed = tally.passed.saturating_sub(skipped);
    if !child.wait()?.success() && tally.failed == 0 {
        tally.fail("cargo test", "it did not build, or a test ended the process");
    }
    Ok(tally)
}

/// Whether opentop can capture on this machine.
fn can_capture(programs: &Programs) -> Result<bool> {
    let doctor = Command::new(&programs.opentop).arg("doctor").stdin(Stdio::null()).output();
    Ok(doctor.context("cannot start opentop")?.status.success())
}

/// Passes cargo's errors on, and counts the tests among them that say they skip themselves.
fn skips(lines: impl BufRead) -> std::io::Result<u64> {
    let mut skipped = 0;
    for line in lines.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        eprintln!("{line}");
        skipped += u64::from(line.starts_with("SKIPPED"));
    }
    Ok(skipped)
}

/// The counts in `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
fn result_line(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |what: &str| {
        let before = &counts[..counts.find(what)?];
        before.split_whitespace().next_back()?.parse().ok()
    };
    Some(Tally { passed: count(" passed")?, failed: count(" failed")?, skipped: count(" ignored")? })
}

/// The truth on this machine's own kernel, by the way to attach that opentop takes by itself.
fn live() -> Result<Tally> {
    const WHAT: &str = "live capture";
    let programs = Programs::for_tests()?;
    let work = tempfile::tempdir()?;
    let file = |name: &str| work.path().join(name);
    let mut opentop = Command::new(&programs.opentop);
    opentop
        .args(["trace", "--format", "json", "-o"])
        .arg(file("events"))
        .arg("--")
        .arg(&programs.truth)
        .arg("--truth")
        .arg(file("truth"));
    let out = opentop.stdin(Stdio::null()).output().context("cannot start opentop")?;
    let stderr = String::from_utf8_lossy(&out.stderr);
    let mut tally = Tally::default();
    match out.status.code() {
        Some(0) => {}
        Some(code) if CANNOT.contains(&code) => {
            tally.skip(WHAT, stderr.trim());
            return Ok(tally);
        }
        _ => {
            tally.fail(WHAT, &format!("opentop ended with {}: {}", out.status, stderr.trim()));
            return Ok(tally);
        }
    }
    let (events, truth) = (fs::read_to_string(file("events"))?, fs::read_to_string(file("truth"))?);
    let tracepoint = stderr.contains("tracepoint");
    let trace = Trace { events: &events, truth: &truth, stderr: &stderr, tracepoint, kprobe: false };
    tally.add(tell(WHAT, truth::judge(&trace)?));
    let dir = file("opens");
    let mut opentop = Command::new(&programs.opentop);
    opentop
        .args(["trace", "--format", "json", "-c", &captures::expression(&dir.to_string_lossy()), "--"])
        .arg(&programs.truth)
        .arg("--captures")
        .arg(file("wanted"))
        .arg("--dir")
        .arg(&dir);
    let out = opentop.stdin(Stdio::null()).output().context("cannot start opentop")?;
    let (events, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    match fs::read_to_string(file("wanted")) {
        Ok(wanted) if out.status.success() => tally.add(tell(WHAT, captures::judge(&events, &wanted, &stderr)?)),
        _ => tally.fail(WHAT, &format!("opentop -c ended with {}: {}", out.status, stderr.trim())),
    }
    Ok(tally)
}

/// Prints what did not pass, and counts.
fn tell(what: &str, verdicts: BTreeMap<String, Verdict>) -> Tally {
    let mut tally = Tally::default();
    for (case, verdict) in verdicts {
        let case = format!("{what}: {case}");
        match verdict {
            Verdict::Passed => tally.passed += 1,
            Verdict::Skipped(why) => tally.skip(&case, &why),
            Verdict::Failed(lines) => {
                let more = lines.len().saturating_sub(12);
                let mut text: Vec<_> = lines.into_iter().take(12).collect();
                if more > 0 {
                    text.push(format!("and {more} more lines"));
                }
                tally.fail(&case, &format!("\n    {}", text.join("\n    ")));
            }
        }
    }
    println!("{what}: {} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_cargo_test_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        let tally = result_line(line).unwrap();
        assert_eq!((tally.passed, tally.failed, tally.skipped), (12, 3, 1));
        assert!(result_line("test result of something else").is_none());
    }

    #[test]
    fn a_test_that_skips_itself_is_counted_as_skipped() {
        let said =
            "   Compiling x\nSKIPPED live: no live capture is possible here: no root\nwarning: SKIPPED is a word\n";
        assert_eq!(skips(said.as_bytes()).unwrap(), 1);
    }
}
