//! The probe with a part of its work and a reader that throws everything away: what `cargo xtask bench` takes the
//! decomposition of the probe's cost from.
//!
//! Says `ready` once it is attached, and ends when its standard input does, with the account and, with `--stats`, how long
//! its programs ran at an open, as a line of JSON.

use std::io::{Read as _, Write as _};

use clap::Parser;
use opentop::{
    probe::{Gauge, Options, Probe, Scope, Stage},
    session::AttachKind,
    source::Batch,
};

/// How much of the probe to run, and for whom.
#[derive(Parser)]
struct Args {
    /// The kind of hook
    #[arg(long, value_enum)]
    attach: AttachKind,
    /// How much of its work the probe does
    #[arg(long, value_enum, default_value = "whole")]
    stage: Stage,
    /// Only this process and its descendants
    #[arg(long)]
    pid: Option<u32>,
    /// Have the kernel measure the programs' time
    #[arg(long)]
    stats: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let scope = args.pid.map_or(Scope::All, |pid| Scope::Pids(vec![pid]));
    let options = Options { attach: Some(args.attach), scope, stage: args.stage, ..Options::default() };
    let failed = |e: opentop::error::Error| e.message;
    let mut probe = Probe::start(&options).map_err(failed)?;
    let gauge = args.stats.then(|| Gauge::start(|| true)).transpose()?;
    let mut meter = probe.meter(gauge);
    if args.stats {
        meter.switch(true);
    }
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    out.flush()?;
    let (over, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        over.send(())
    });
    let mut batch = Batch::default();
    let mut drained = 0;
    loop {
        // As the reader of opentop does: a look every few milliseconds while opens come, a wakeup when none did.
        let n = probe.drain(&mut batch, 4096);
        batch.clear();
        drained += n;
        if n == 0 {
            probe.ask_wakeup().map_err(failed)?;
        }
        if n < 4096 && told.recv_timeout(std::time::Duration::from_millis(5)).is_ok() {
            break;
        }
    }
    let cost = meter.read(0).transpose()?.unwrap_or_default();
    probe.detach();
    loop {
        let n = probe.drain(&mut batch, 4096);
        batch.clear();
        drained += n;
        if n == 0 {
            break;
        }
    }
    let counters = probe.counters().map_err(failed)?;
    writeln!(
        out,
        "{{\"opens\":{},\"drained\":{drained},\"lost\":{},\"ns\":{}}}",
        counters.totals.opens,
        counters.totals.losses.lost(),
        cost.ns as f64 / cost.opens.max(1) as f64
    )?;
    Ok(())
}
