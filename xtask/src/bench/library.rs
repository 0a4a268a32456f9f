//! The library's own benches: decode, ingest, filter and format by criterion, and the frame.

use std::fs;

use anyhow::{Context, Result};

use super::{Plan, figures::Figures};
use crate::cmd;

/// Runs them, and takes their figures.
pub fn main(plan: Plan, figures: &mut Figures) -> Result<()> {
    let mut core = cmd::cargo();
    core.args(["bench", "--quiet", "--package", "opentop", "--bench", "core", "--", "--noplot"]);
    if plan.quick {
        core.args(["--warm-up-time", "0.2", "--measurement-time", "0.5", "--sample-size", "10"]);
    } else {
        core.args(["--warm-up-time", "0.5", "--measurement-time", "2", "--sample-size", "30"]);
    }
    core.stdout(std::process::Stdio::null());
    cmd::run(&mut core)?;
    let folder = cmd::target_dir().join("criterion");
    let mut names: Vec<_> = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(path.join("new/estimates.json")) else { continue };
        let estimates: serde_json::Value = serde_json::from_str(&text)?;
        let of = |what: &str| estimates["median"][what].as_f64();
        let interval = |what: &str| estimates["median"]["confidence_interval"][what].as_f64();
        if let (Some(median), Some(low), Some(high)) =
            (of("point_estimate"), interval("lower_bound"), interval("upper_bound"))
        {
            // Each iteration does a batch of 1,000 opens.
            figures.add("library", "an open", &name, "ns", &[low / 1e3, median / 1e3, high / 1e3]);
        }
    }
    let mut frame = cmd::cargo();
    frame.args(["bench", "--quiet", "--package", "opentop", "--bench", "frame"]);
    let said = cmd::output(&mut frame)?;
    for line in said.lines() {
        let (name, ms) = line.rsplit_once(' ').with_context(|| format!("the bench of frames said {line}"))?;
        figures.add("library", "200×50, 100,000 processes, 400,000 opens a second", name, "ms", &[ms.parse()?]);
    }
    Ok(())
}
