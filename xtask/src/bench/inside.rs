//! What is measured in a virtual machine: kprobe and fentry, and captures of a whole system. An emulated processor is slow,
//! and kinder to some instructions than to others: ratios within one run hold, the ns are its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::harness::{Bench, Programs};
use super::tools::{self, Who};
use super::{Plan, stages};
use crate::kernels::Kernel;
use crate::machine::{self, Echo, Machine};
use crate::{cmd, install};

/// How long the machine may take: three ways to attach, with a decomposition each, on an emulated processor.
const LIMIT: Duration = Duration::from_secs(900);

/// Boots the machine, and takes its figures.
pub fn boot(kernel: &str, plan: Plan, figures: &mut Figures) -> Result<()> {
    let kernel = Kernel::named(kernel)?;
    machine::install(kernel.arch)?;
    install::packages(&["libbpf-tools"])?;
    let mut add = vec![std::env::current_exe()?];
    add.extend([cmd::target_dir().join("release/load"), cmd::target_dir().join("release/examples/stage")]);
    add.extend(cmd::which("opensnoop"));
    let programs = machine::Programs::build(kernel.arch, false)?;
    let machine = Machine { add, memory: 2048, ..Machine::new(programs) };
    let script = format!(
        "xtask bench --inside /out/bench.json{} 2>/out/said; echo $? >/out/status",
        if plan.quick { " --quick" } else { "" }
    );
    let work = tempfile::tempdir()?;
    let outcome = machine.run(kernel, &script, LIMIT, Echo::Quiet)?;
    outcome.unpack(work.path())?;
    let said = fs::read_to_string(work.path().join("said")).unwrap_or_default();
    let json =
        fs::read_to_string(work.path().join("bench.json")).with_context(|| format!("nothing measured: {said}"))?;
    let measured: Figures = serde_json::from_str(&json)?;
    figures.merge(measured, &format!("in a virtual machine (emulated, Linux {})", kernel.name));
    Ok(())
}

/// Within it.
pub fn main(file: &Path, plan: Plan) -> Result<()> {
    let here = |name: &str| PathBuf::from("/bin").join(name);
    let programs = Programs { opentop: here("opentop"), load: here("load"), stage: here("stage") };
    let plan = Plan { rounds: plan.rounds.min(3), gently: true, ..plan };
    let bench = Bench { programs, work: "/tmp".into(), plan };
    let mut figures = Figures::default();
    for attach in ["kprobe", "fentry", "tracepoint"] {
        let part = format!("cost of an open by {attach}, whole system captured,");
        if let Err(error) = stages::measure(&bench, attach, true, &part, &mut figures) {
            figures.missing(attach, &format!("{error:#}"));
        }
    }
    const PART: &str = "whole system captured, a line per open to a file,";
    let all = [
        ("opentop trace, kprobe", Who::Trace, Some("kprobe")),
        ("opentop trace, fentry", Who::Trace, Some("fentry")),
        ("opentop trace, tracepoint", Who::Trace, Some("tracepoint")),
        (Who::Opensnoop.name(), Who::Opensnoop, None),
    ];
    let mut added = all.map(|_| Vec::new());
    let mut lost = all.map(|_| Vec::new());
    let mut busy = all.map(|_| Vec::new());
    for _ in 0..plan.rounds {
        let alone = bench.load(&bench.loop_words(false))?.done()?.ns_per_open;
        for (n, (name, who, attach)) in all.iter().enumerate() {
            eprintln!("== {name}");
            match tools::watched(&bench, *who, bench.load(&bench.loop_words(false))?, *attach, false) {
                Ok(round) => {
                    added[n].push(round.done.ns_per_open - alone);
                    lost[n].extend(round.lost.map(|lost| 100.0 * lost as f64 / round.done.opens as f64));
                    busy[n].push(1e6 * round.used.cpu / round.done.opens as f64);
                }
                Err(error) => figures.missing(name, &format!("{error:#}")),
            }
        }
    }
    for (n, (name, ..)) in all.iter().enumerate() {
        figures.add(PART, name, "added to an open", "ns", &added[n]);
        figures.add(PART, name, "lost", "%", &lost[n]);
        figures.add(PART, name, "processor for a million opens", "s", &busy[n]);
    }
    let cost = |name: &str| figures.median(PART, name, "added to an open");
    if let (Some(kprobe), Some(fentry)) = (cost(all[0].0), cost(all[1].0)) {
        figures.add(PART, all[1].0, "against kprobe", "×", &[fentry / kprobe]);
    }
    fs::write(file, serde_json::to_string(&figures)?)?;
    ensure!(file.exists(), "nothing was written");
    Ok(())
}
