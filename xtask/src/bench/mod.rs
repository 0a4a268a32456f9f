//! `cargo xtask bench`: what opentop costs, beside what others cost, measured in one run on one machine.
//!
//! Rounds are interleaved: each variant once, then each once more, so that what changes on the machine meanwhile changes
//! all of them. Told are medians with the least and the greatest. What is captured is what the bench starts; captures of
//! a whole system take place in a virtual machine.

mod casts;
mod dashboard;
mod figures;
mod harness;
mod inside;
mod library;
mod losses;
mod memory;
mod screen;
mod stages;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::{cmd, kernels};
use figures::Figures;

/// Measure what opentop costs.
#[derive(clap::Args)]
pub struct Args {
    /// A look while developing: one short round of each
    #[arg(long)]
    quick: bool,
    /// Only these parts: stages, tools, losses, start, idle, dashboard, casts, memory, library, vm
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Write assets/bench.json and the table of README.md; with --only those parts alone are written anew
    #[arg(long, conflicts_with = "quick")]
    write: bool,
    /// In the decomposition here capture the whole system for the seconds it takes, not only the loop
    #[arg(long)]
    system_wide_here: bool,
    /// The kernel of the virtual machine
    #[arg(long, default_value = kernels::DEFAULT)]
    kernel: String,
    /// Within the virtual machine: measure there and leave the figures in this file
    #[arg(long, hide = true, value_name = "FILE")]
    inside: Option<PathBuf>,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Rounds of what is compared.
    pub rounds: usize,
    /// Seconds of one loop.
    pub seconds: f64,
    pub quick: bool,
    /// Whether a loop rests until a tool is up: on an emulated processor.
    pub gently: bool,
}

/// The parts, in the order in which they are measured.
const PARTS: [&str; 10] =
    ["stages", "tools", "losses", "start", "idle", "dashboard", "casts", "memory", "library", "vm"];

pub fn main(args: &Args) -> Result<ExitCode> {
    let plan = Plan {
        rounds: if args.quick { 1 } else { 5 },
        seconds: if args.quick { 0.3 } else { 0.7 },
        quick: args.quick,
        gently: false,
    };
    if let Some(file) = &args.inside {
        inside::main(file, plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    for part in &args.only {
        ensure!(PARTS.contains(&part.as_str()), "there is no part {part}: it is one of {}", PARTS.join(", "));
    }
    // Tools are ended as Ctrl-C ends them: what is started in the background of a script has that ignored, and hands it on.
    // SAFETY: no handler is set, but the default.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }?;
    let programs = harness::Programs::build()?;
    let work = tempfile::tempdir()?;
    let bench = harness::Bench { programs, work: work.path().to_path_buf(), plan };
    let mut figures = Figures::default();
    let (began, mut measured) = (Instant::now(), Vec::new());
    for part in PARTS {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == part) {
            continue;
        }
        let started = Instant::now();
        figures.begin(part);
        measured.push(part);
        eprintln!("== {part}");
        let outcome = match part {
            "stages" => stages::here(&bench, args.system_wide_here, &mut figures),
            "tools" => tools::compared(&bench, &mut figures),
            "losses" => losses::main(&bench, &mut figures),
            "start" => tools::start(&bench, &mut figures),
            "idle" => dashboard::idle(&bench, &mut figures),
            "dashboard" => {
                dashboard::flooded(&bench, &mut figures).and_then(|()| dashboard::changed(&bench, &mut figures))
            }
            "casts" => casts::main(&bench, &mut figures),
            "memory" => memory::main(&bench, &mut figures),
            "library" => library::main(plan, &mut figures),
            _ => inside::boot(&args.kernel, plan, &mut figures),
        };
        // One part that cannot be measured here does not take the others with it.
        if let Err(error) = outcome {
            eprintln!("NOT MEASURED {part}: {error:#}");
            figures.missing("all", &format!("{error:#}"));
        }
        eprintln!("== {part}: {} s", started.elapsed().as_secs());
    }
    print!("{}", figures.table());
    eprintln!("== all: {} s", began.elapsed().as_secs());
    if args.write {
        figures.write(&cmd::root(), &measured)?;
    }
    Ok(ExitCode::SUCCESS)
}
