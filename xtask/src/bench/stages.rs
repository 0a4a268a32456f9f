//! The decomposition: what each part of the probe's work adds to an open, with a reader that throws everything away.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::figures::Figures;
use super::harness::{Bench, apart};

/// The stages of `tui/examples/stage.rs`, and what they are called.
const STAGES: [(&str, &str); 10] = [
    ("two", "two empty programs"),
    ("empty", "all programs empty"),
    ("decide", "who opens, and whether that is captured"),
    ("match", "+ entry and return matched"),
    ("clock", "+ the clock at both"),
    ("facts", "+ facts noted: flags, parent, uid, cgroup, comm"),
    ("count", "+ counted"),
    ("path", "+ name and directory"),
    ("ring", "+ record into the ring"),
    ("whole", "+ wakeups: all of it"),
];

/// What the example says at its end.
#[derive(Deserialize)]
struct Said {
    lost: u64,
    /// What its programs took of an open, as the kernel measured it.
    ns: f64,
}

/// On this kernel by tracepoints, of the loop alone unless asked for more.
pub fn here(bench: &Bench, whole_system: bool, figures: &mut Figures) -> Result<()> {
    let scope = if whole_system { "whole system" } else { "one process captured" };
    measure(bench, "tracepoint", whole_system, &format!("cost of an open by tracepoint, {scope}"), figures)
}

/// All stages by one kind of hook.
pub fn measure(bench: &Bench, attach: &str, all: bool, part: &str, figures: &mut Figures) -> Result<()> {
    let mut alone = Vec::new();
    let mut added = [const { Vec::new() }; STAGES.len()];
    for _ in 0..bench.plan.rounds {
        let base = round(bench, attach, None, all, false)?.0;
        alone.push(base);
        for ((stage, _), added) in STAGES.iter().zip(&mut added) {
            added.push(round(bench, attach, Some(stage), all, false)?.0 - base);
        }
    }
    figures.add(part, "no probe", "an open and its close", "ns", &alone);
    for ((_, name), added) in STAGES.iter().zip(&added) {
        figures.add(part, name, "added to an open", "ns", added);
    }
    // In a round of its own: measuring the programs makes them slower.
    let programs = round(bench, attach, Some("whole"), all, true)?.1;
    figures.add(part, "all of it", "run time of its programs as the kernel has it", "ns", &[programs]);
    let median = |name: &str| figures.median(part, name, "added to an open");
    if let (Some(whole), Some(two)) = (median(STAGES[STAGES.len() - 1].1), median(STAGES[0].1)) {
        figures.add(part, "all of it", "against two empty programs", "×", &[whole / two]);
    }
    Ok(())
}

/// One loop, beside one stage: ns of an open, and of the programs within it.
fn round(bench: &Bench, attach: &str, stage: Option<&str>, all: bool, stats: bool) -> Result<(f64, f64)> {
    let mut load = bench.load(&bench.loop_words(false))?;
    // Should it hang, where.
    eprintln!("== {attach}, {}", stage.unwrap_or("no probe"));
    let Some(stage) = stage else { return Ok((load.done()?.ns_per_open, 0.0)) };
    let mut command = Command::new(&bench.programs.stage);
    command.args(["--attach", attach, "--stage", stage]).args(stats.then_some("--stats"));
    if !all {
        command.args(["--pid", &load.pid().to_string()]);
    }
    let mut command = apart(command);
    let mut tool = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start stage")?;
    let (stdin, stdout) = (tool.stdin.take(), tool.stdout.take().context("no stdout")?);
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    ensure!(line.trim() == "ready", "the probe could not be attached by {attach}");
    load.go();
    let done = load.done()?;
    drop(stdin);
    let mut said = String::new();
    stdout.read_to_string(&mut said)?;
    tool.wait()?;
    let said: Said = serde_json::from_str(&said).with_context(|| format!("stage said {said}"))?;
    ensure!(said.lost == 0, "{} opens were lost to a reader that does nothing", said.lost);
    Ok((done.ns_per_open, said.ns))
}
