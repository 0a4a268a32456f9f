//! The matrix: each kernel booted once in a virtual machine, in which everything is done by each way to attach; what was
//! left in /out is judged here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{CANNOT, Tally, tell};
use crate::kernels::{self, Arch, Kernel};
use crate::machine::{self, Echo, Machine, Programs};
use crate::truth::{self, Trace, Verdict};
use crate::{captures, cmd, trust, verifier, workloads};

/// The time one machine may take for every way to attach.
const MACHINE_TIMEOUT: Duration = Duration::from_secs(600);

/// Machines at a time. Each has two processors, but while one boots they mostly wait.
const MACHINES: usize = 2;

/// Boots each kernel once and takes the truth in each way to attach.
pub(super) fn run(kernels: &[Kernel], attach: &[String]) -> Result<Tally> {
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
                add: extra(*kernel).into_iter().chain(add.clone()).collect(),
                ..Machine::new(programs.clone())
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
