//! `cargo xtask test`: every test there is. Those of the workspace, a capture on this machine's kernel, and the
//! matrix of kernels and ways to attach in virtual machines.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::captures;
use crate::cmd;
use crate::kernels::{self, Arch, Kernel};
use crate::machine::{self, Echo, Machine, Programs};
use crate::trust;
use crate::truth::{self, Trace, Verdict};
use crate::verifier;
use crate::workloads;

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
    /// Kernels for arm64, too: builds everything for it first
    #[arg(long, conflicts_with_all = ["no_vm", "kernel"])]
    arm64: bool,
    /// Only these ways to attach
    #[arg(long, value_delimiter = ',', default_value = "kprobe,fentry,tracepoint")]
    attach: Vec<String>,
}

/// The time one machine may take for every way to attach.
const MACHINE_TIMEOUT: Duration = Duration::from_secs(600);

/// Machines at a time. Each has two processors, but while one boots they mostly wait.
const MACHINES: usize = 2;

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
    let kernels: Vec<Kernel> = if args.kernel.is_empty() {
        kernels::MATRIX.into_iter().chain(args.arm64.then_some(kernels::ARM64).into_iter().flatten()).collect()
    } else {
        args.kernel.iter().map(|name| Kernel::named(name)).collect::<Result<_>>()?
    };
    let mut tally = Tally::default();
    if !args.vm {
        tally.add(timed("workspace", workspace)?);
        tally.add(timed("live capture", live)?);
    }
    if !args.no_vm {
        tally.add(timed("virtual machines", || matrix(&kernels, &args.attach))?);
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

/// Boots each kernel once and takes the truth in each way to attach.
fn matrix(kernels: &[Kernel], attach: &[String]) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut there = Vec::new();
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let kernels: Vec<_> = kernels.iter().filter(|kernel| kernel.arch == arch).collect();
        if kernels.is_empty() {
            continue;
        }
        if let Err(error) = machine::install(arch) {
            if cmd::ci() {
                return Err(error);
            }
            tally.skip(&format!("virtual machines of {}", arch.debian()), &format!("{error:#}"));
            continue;
        }
        let programs = match arch {
            Arch::X86_64 => Programs::for_tests()?,
            Arch::Aarch64 => Programs::build(arch, true)?,
        };
        // For other architectures there is no C compiler to be counted on.
        let add = match arch {
            Arch::X86_64 => vec![workloads::stacked()?],
            Arch::Aarch64 => Vec::new(),
        };
        for kernel in kernels {
            let machine = Machine {
                programs: programs.clone(),
                add: extra(*kernel).into_iter().chain(add.clone()).collect(),
                keep: Vec::new(),
                update: false,
                memory: 1024,
                attach: None,
            };
            // One after the other, before the first machine: apt has locks.
            match kernel.package(false) {
                Ok(_) => there.push((machine, *kernel)),
                Err(error) => tally.fail(&format!("kernel {}", kernel.name), &format!("{error:#}")),
            }
        }
    }
    let truths: String = attach
        .iter()
        .map(|kind| {
            let expression = captures::expression(&format!("/tmp/{kind}"));
            format!(
                "opentop trace --attach {kind} --format json -o /out/{kind}.events -- truth --truth /out/{kind}.truth \
                 2>/out/{kind}.stderr; echo $? >/out/{kind}.status\n\
                 opentop trace --attach {kind} --format json -o /out/{kind}-c.events -c '{expression}' -- \
                 truth --captures /out/{kind}-c.wanted --dir /tmp/{kind} 2>/out/{kind}-c.stderr\n"
            )
        })
        .collect();
    let common = truths + verifier::SCRIPT + &trust::privileges();
    let scripts = [common.clone(), common + &trust::faults()];
    let (next, told) = (AtomicUsize::new(0), Mutex::new(&mut tally));
    thread::scope(|scope| {
        for _ in 0..MACHINES {
            scope.spawn(|| {
                while let Some((machine, kernel)) = there.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut script = scripts[usize::from(has_faults(*kernel))].clone();
                    if kernel.arch == Arch::X86_64 {
                        script.extend(attach.iter().map(|kind| workloads::script(kind)));
                    }
                    let one = boot(machine, *kernel, &script, attach);
                    told.lock().unwrap_or_else(PoisonError::into_inner).add(one);
                }
            });
        }
    });
    Ok(tally)
}

/// Whether it is the kernel that has the faults of [`trust`]: one is enough, they take a while.
fn has_faults(kernel: Kernel) -> bool {
    kernel.name == kernels::DEFAULT
}

/// What that kernel's machine has in addition.
fn extra(kernel: Kernel) -> Vec<PathBuf> {
    trust::setcap().filter(|_| has_faults(kernel)).into_iter().collect()
}

/// Boots one kernel and takes the truth in each way to attach.
fn boot(machine: &Machine, kernel: Kernel, script: &str, attach: &[String]) -> Tally {
    let mut tally = Tally::default();
    let started = Instant::now();
    let what = format!("kernel {}", kernel.name);
    let work = tempfile::tempdir().context("no temporary folder");
    let booted = work.and_then(|work| {
        let outcome = machine.run(kernel, script, MACHINE_TIMEOUT, Echo::Quiet)?;
        outcome.unpack(work.path())?;
        Ok((work, outcome))
    });
    let (work, outcome) = match booted {
        Ok(booted) => booted,
        Err(error) => {
            tally.fail(&what, &format!("{error:#}"));
            return tally;
        }
    };
    if outcome.status != 0 {
        tally.fail(&what, &format!("the script ended with {}: {}", outcome.status, outcome.stderr));
        return tally;
    }
    // Nothing that the probe does may make the kernel complain.
    match outcome
        .console
        .lines()
        .find(|line| ["BUG:", "WARNING:", "Oops", "Call Trace"].iter().any(|bad| line.contains(bad)))
    {
        None => tally.passed += 1,
        Some(line) => tally.fail(&format!("{what}: the kernel complains"), line),
    }
    for kind in attach {
        let what = format!("{what} {kind}");
        if !kernel.has(kind) {
            match refused(work.path(), kind) {
                Ok(()) => tally.passed += 1,
                Err(error) => tally.fail(&what, &format!("{error:#}")),
            }
            continue;
        }
        match taken(work.path(), kind) {
            Ok(mut verdicts) => {
                if kernel.arch == Arch::X86_64 {
                    verdicts.append(&mut workloads::judge(work.path(), kind));
                }
                tally.add(tell(&what, verdicts));
            }
            Err(error) => tally.fail(&what, &format!("{error:#}")),
        }
    }
    tally.add(tell(
        &format!("{what} privileges"),
        BTreeMap::from([("held once attached".to_owned(), trust::judge_privileges(work.path(), kernel.name))]),
    ));
    if has_faults(kernel) {
        tally.add(tell(&format!("{what} faults"), trust::judge_faults(work.path())));
    }
    // arm64 has fewer programs and a verifier of the same kind.
    if kernels::MATRIX.iter().any(|of| of.name == kernel.name) {
        let said = fs::read_to_string(work.path().join("doctor")).context("the doctor said nothing");
        match said.and_then(|said| verifier::judge(kernel.name, &said)) {
            Ok(None) => tally.skip(&format!("{what}: verifier"), "no figures of it: cargo xtask verifier --update"),
            Ok(Some(complaints)) if complaints.is_empty() => tally.passed += 1,
            Ok(Some(complaints)) => complaints.iter().for_each(|complaint| tally.fail("verifier", complaint)),
            Err(error) => tally.fail(&format!("{what}: verifier"), &format!("{error:#}")),
        }
    }
    println!("{what}: {} s", started.elapsed().as_secs());
    tally
}

/// That a way to attach which the kernel has not was refused as such.
fn refused(dir: &Path, kind: &str) -> Result<()> {
    let read = |what: &str| fs::read_to_string(dir.join(format!("{kind}.{what}")));
    let (status, stderr) = (read("status")?, read("stderr")?);
    anyhow::ensure!(status.trim() == CANNOT[0].to_string(), "opentop ended with {}, not refused", status.trim());
    anyhow::ensure!(stderr.contains(kind), "the refusal names no {kind}: {stderr}");
    Ok(())
}

/// What one way to attach left in /out.
fn taken(dir: &Path, kind: &str) -> Result<BTreeMap<String, Verdict>> {
    let read = |what: &str| {
        fs::read(dir.join(format!("{kind}.{what}"))).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let (status, stderr) = (read("status")?, read("stderr")?);
    anyhow::ensure!(status.trim() == "0", "opentop ended with {}: {}", status.trim(), stderr.trim());
    let (events, truth) = (read("events")?, read("truth")?);
    let mut verdicts = truth::judge(&Trace {
        events: &events,
        truth: &truth,
        stderr: &stderr,
        tracepoint: kind == "tracepoint",
        kprobe: kind == "kprobe",
    })?;
    let read = |what: &str| {
        let name = format!("{kind}-c.{what}");
        fs::read_to_string(dir.join(&name)).with_context(|| format!("opentop -c left no {name}"))
    };
    verdicts.append(&mut captures::judge(&read("events")?, &read("wanted")?, &read("stderr")?)?);
    Ok(verdicts)
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
