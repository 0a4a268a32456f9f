//! Memory: ten million opens of a hundred thousand short processes, all watched by trace, summary and dashboard at once.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::figures::Figures;
use super::harness::{Bench, Tool, apart, beside_ring};
use super::screen::Screen;

/// Runs it, and prints the memory over time.
pub fn main(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let (processes, opens) = if bench.plan.quick { (3_000_u64, 30_u64) } else { (100_000, 100) };
    let part = &format!("{} million opens of {processes} processes", (processes * opens) as f64 / 1e6);
    // A shell that waits, becomes the load, and is what is watched: its children are followed from the first on.
    let mut command = Command::new("sh");
    let inner = bench.load_command(&format!("processes --count {processes} --opens {opens}"));
    command.arg("-c").arg("read _; exec \"$@\"").arg("sh").arg(inner.get_program()).args(inner.get_args());
    let mut load = bench.start_load(command)?;
    let pid = load.pid().to_string();
    let opentop = |subcommand: &str, file: &str| {
        let mut command = Command::new(&bench.programs.opentop);
        command.args([subcommand, "-p", &pid, "-o", file]);
        let work = bench.work.join(subcommand);
        fs::create_dir_all(&work)?;
        Tool::start(apart(command), &work, false)
    };
    let trace = opentop("trace", "/dev/null")?;
    let summary = opentop("summary", "/dev/null")?;
    let screen = Screen::start(bench, load.pid(), None)?;
    screen.ready()?;
    thread::sleep(Duration::from_millis(1500));
    let all = [("opentop trace", trace.pid()), ("opentop summary", summary.pid()), ("opentop", screen.pid())];
    let mut sampled = all.map(|_| Vec::new());
    load.go();
    let ended = bench.work.join("report");
    let _ = fs::remove_file(&ended);
    let mut seconds = 0;
    while !ended.exists() {
        for ((_, pid), sampled) in all.iter().zip(&mut sampled) {
            sampled.extend(beside_ring(*pid));
        }
        if seconds % 5 == 0 {
            let now: Vec<String> = sampled.iter().map(|s| format!("{:5.1}", s.last().unwrap_or(&0.0))).collect();
            eprintln!("{seconds:4} s  trace, summary, dashboard, beside the ring: {} MiB", now.join(" "));
        }
        seconds += 1;
        ensure!(seconds < 600, "the processes did not end");
        thread::sleep(Duration::from_secs(1));
    }
    load.done()?;
    thread::sleep(Duration::from_secs(1));
    for (((who, pid), sampled), half) in all.iter().zip(&mut sampled).zip([0.5; 3]) {
        sampled.extend(beside_ring(*pid));
        let at_half = sampled.get((sampled.len() as f64 * half) as usize).copied().unwrap_or(0.0);
        let last = sampled.last().copied().unwrap_or(0.0);
        figures.add(part, who, "memory beside the ring, at the end", "MiB", &[last]);
        figures.add(part, who, "grown in the second half", "MiB", &[last - at_half]);
    }
    trace.end(0.0)?;
    summary.end(0.0)?;
    screen.end(0.0)?;
    for (who, work) in [("opentop trace", bench.work.join("trace")), ("opentop summary", bench.work.join("summary"))] {
        let said = Tool::said(&work);
        let account = said.lines().last().unwrap_or_default();
        eprintln!("{who}: {account}");
        let counted = account.split_whitespace().find_map(|word| word.parse::<u64>().ok()).unwrap_or(0);
        figures.add(part, who, "counted beyond them", "opens", &[counted as f64 - (processes * opens) as f64]);
    }
    Ok(())
}
