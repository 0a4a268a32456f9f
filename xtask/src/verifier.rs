//! `cargo xtask verifier`: what each program of the probe costs the verifier of each kernel, held against a table.
//!
//! The verifier of one kernel takes what that of another refuses, and refuses what grew a little too far: a jump is seen
//! here before somebody's kernel sees it. `cargo xtask test` compares, too, with what its machines say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cmd;
use crate::kernels::{self, Kernel};
use crate::machine::{self, Echo, Machine, Programs};

/// Hold the verifier's figures against the table, or write it anew.
#[derive(clap::Args)]
pub struct Args {
    /// Write what the machines say into the table
    #[arg(long)]
    update: bool,
    /// Only these kernels of the matrix
    #[arg(long, value_delimiter = ',')]
    kernel: Vec<String>,
}

/// What a machine is asked; the answer is in /out/doctor.
pub const SCRIPT: &str = "opentop doctor --format json >/out/doctor\n";

/// Growth that is no jump: a fifth, and what is lost in small programs.
fn allowed(before: u64) -> u64 {
    before + before / 5 + 64
}

/// Instructions, and instructions looked at on all paths ("complexity"; none before Linux 5.16).
type Figures = (u64, Option<u64>);

/// Kernel and program.
type Table = BTreeMap<(String, String), Figures>;

pub fn main(args: &Args) -> Result<ExitCode> {
    let kernels = if args.kernel.is_empty() {
        kernels::MATRIX.to_vec()
    } else {
        args.kernel.iter().map(|name| Kernel::named(name)).collect::<Result<_>>()?
    };
    let mut table = read()?;
    let mut complaints = Vec::new();
    for kernel in kernels {
        machine::install(kernel.arch)?;
        let machine = Machine::new(Programs::for_tests()?);
        let work = tempfile::tempdir()?;
        machine.run(kernel, SCRIPT, Duration::from_secs(300), Echo::Quiet)?.unpack(work.path())?;
        let said = fs::read_to_string(work.path().join("doctor")).context("the doctor said nothing")?;
        let now = figures(kernel.name, &said)?;
        print!("{}", shown(&now));
        complaints.extend(jumps(&table, &now, kernel.name));
        table.retain(|(of, _), _| of != kernel.name);
        table.extend(now);
    }
    if args.update {
        fs::write(path(), format!("{HEAD}{}", shown(&table)))?;
        println!("written: {}", path().display());
        return Ok(ExitCode::SUCCESS);
    }
    complaints.iter().for_each(|complaint| println!("FAILED {complaint}"));
    Ok(ExitCode::from(u8::from(!complaints.is_empty())))
}

/// What of a machine's answer is a jump against the table, in words; `None` while the table has nothing of that kernel.
pub fn judge(kernel: &str, said: &str) -> Result<Option<Vec<String>>> {
    let (table, now) = (read()?, figures(kernel, said)?);
    Ok(table.keys().any(|(of, _)| of == kernel).then(|| jumps(&table, &now, kernel)))
}

const HEAD: &str = "\
# What each program of the probe costs the verifier of each kernel: instructions, and instructions that were looked at on
# all paths (not told before 5.16; at 1,000,000 the verifier gives up). Written by `cargo xtask verifier --update`.
";

fn path() -> PathBuf {
    cmd::root().join("xtask/verifier.txt")
}

fn read() -> Result<Table> {
    // None at all is as good as an empty one.
    let text = fs::read_to_string(path()).unwrap_or_default();
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

fn row(line: &str) -> Result<((String, String), Figures)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kernel, program, instructions, verified] = words[..] else { anyhow::bail!("no row of the table: {line}") };
    Ok(((kernel.into(), program.into()), (instructions.parse()?, verified.parse().ok())))
}

fn shown(table: &Table) -> String {
    let mut text = String::new();
    for ((kernel, program), (instructions, verified)) in table {
        let verified = verified.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let _ = writeln!(text, "{kernel:<6} {program:<22} {instructions:>6} {verified:>8}");
    }
    text
}

/// The figures in the doctor's report. A program that several ways share is the same in each.
fn figures(kernel: &str, doctor: &str) -> Result<Table> {
    let report: serde_json::Value = serde_json::from_str(doctor).context("the doctor's report is no JSON")?;
    let trials = report["trials"].as_array().context("the doctor tried nothing")?;
    let programs = trials.iter().filter_map(|trial| trial["programs"].as_array()).flatten();
    let mut table = Table::new();
    for program in programs {
        let name = program["name"].as_str().context("a program without a name")?;
        let instructions = program["instructions"].as_u64().context("a program without instructions")?;
        table.insert((kernel.to_owned(), name.to_owned()), (instructions, program["verified"].as_u64()));
    }
    anyhow::ensure!(!table.is_empty(), "no program was loaded");
    Ok(table)
}

fn jumps(table: &Table, now: &Table, kernel: &str) -> Vec<String> {
    const UPDATE: &str = "where that is meant: cargo xtask verifier --update";
    let mut complaints = Vec::new();
    for (key, (instructions, verified)) in now {
        let program = &key.1;
        let Some((before, verified_before)) = table.get(key) else {
            complaints.push(format!("kernel {kernel}: {program} is not in xtask/verifier.txt; {UPDATE}"));
            continue;
        };
        let mut grown = |what: &str, before: u64, now: u64| {
            if now > allowed(before) {
                complaints.push(format!("kernel {kernel}: {program} jumped from {before} to {now} {what}; {UPDATE}"));
            }
        };
        grown("instructions", *before, *instructions);
        if let (Some(before), Some(now)) = (verified_before, verified) {
            grown("instructions looked at", *before, *now);
        }
    }
    for (of, program) in table.keys() {
        if of == kernel && !now.contains_key(&(of.clone(), program.clone())) {
            complaints.push(format!("kernel {kernel}: {program} was not loaded; {UPDATE}"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(verified: u64) -> String {
        format!(
            r#"{{"trials":[{{"programs":[{{"name":"p","instructions":300,"verified":{verified}}}]}},{{"ok":false}}]}}"#
        )
    }

    #[test]
    fn a_jump_is_told_and_a_little_growth_is_not() {
        let table = figures("6.1", &said(1000)).unwrap();
        let judged = |now: u64| jumps(&table, &figures("6.1", &said(now)).unwrap(), "6.1");
        assert_eq!(judged(1000), [""; 0]);
        assert_eq!(judged(1264), [""; 0]);
        assert!(judged(1265)[0].contains("p jumped from 1000 to 1265 instructions looked at"), "{:?}", judged(1265));
        assert_eq!(judged(10), [""; 0]);
        assert!(jumps(&Table::new(), &table, "6.1")[0].contains("p is not in xtask/verifier.txt"));
        assert!(jumps(&table, &Table::new(), "6.1")[0].contains("p was not loaded"));
    }

    #[test]
    fn the_table_is_read_as_it_is_written() {
        let mut table = figures("6.1", &said(1000)).unwrap();
        table.insert(("5.10".into(), "q".into()), (7, None));
        let again: Table = shown(&table).lines().map(|line| row(line).unwrap()).collect();
        assert_eq!(again, table);
    }
}
