//! What is lost and what is counted where there is too much of everything: a loop on each processor, a ring that holds next
//! to nothing, a table of processes that holds few.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::figures::Figures;
use super::harness::{Bench, Tool, apart, cpu, wait};

/// All three.
pub fn main(bench: &Bench, figures: &mut Figures) -> Result<()> {
    each(bench, figures)?;
    small_ring(bench, figures)?;
    few_rows(bench, figures)
}

/// A loop on each processor for a minute: what is lost, and what the account says of it.
fn each(bench: &Bench, figures: &mut Figures) -> Result<()> {
    const PART: &str = "a loop on each processor, watched by tracepoint";
    let seconds = if bench.plan.quick { 3 } else { 60 };
    let mut load = bench.load(&format!("each --warm --seconds {seconds}"))?;
    let pid = load.pid();
    let mut command = Command::new(&bench.programs.opentop);
    command.args(["trace", "-p", &pid.to_string(), "-o"]).arg(bench.work.join("lines"));
    let mut tool = Tool::start(apart(command), &bench.work, false)?;
    tool.ready()?;
    let before = cpu(tool.pid());
    load.go();
    let done = load.done()?;
    let used = tool.end(before)?;
    let lost = done.opens.saturating_sub(Tool::lines(&bench.work, "/opened")?);
    figures.add(PART, "opentop trace", &format!("opens in {seconds} s"), "million", &[done.opens as f64 / 1e6]);
    figures.add(PART, "opentop trace", "lost", "opens", &[lost as f64]);
    figures.add(PART, "opentop trace", "processor for a million opens", "s", &[1e6 * used.cpu / done.opens as f64]);
    let account = Tool::said(&bench.work);
    let account = account.lines().last().unwrap_or_default().to_owned();
    eprintln!("{account}");
    let told = account.rsplit("+ ").next().and_then(|lost| lost.split(' ').next()?.parse::<u64>().ok());
    ensure!(told == Some(lost), "{lost} opens are missing from the lines, and the account says: {account}");
    Ok(())
}

/// What a summary says in JSON, as far as it is looked at.
#[derive(Deserialize)]
struct Table {
    totals: Counts,
    losses: Losses,
    processes: Vec<Row>,
    others: Option<Counts>,
}

#[derive(Deserialize)]
struct Counts {
    opens: u64,
    lost: u64,
}

#[derive(Deserialize)]
struct Losses {
    process_table_full: u64,
}

#[derive(Deserialize)]
struct Row {
    comm: String,
    opens: u64,
    lost: u64,
}

impl Table {
    /// Opens and losses of the rows of a program.
    fn of(&self, comm: &str) -> (u64, u64) {
        let rows = self.processes.iter().filter(|row| row.comm == comm);
        rows.fold((0, 0), |(opens, lost), row| (opens + row.opens, lost + row.lost))
    }
}

/// The table of a load's summary, when the account adds up and the table with it.
fn summary(bench: &Bench, options: &[&str], load: &str) -> Result<Table> {
    let load = bench.load_command(load);
    let file = bench.work.join("summary.json");
    let mut command = Command::new(&bench.programs.opentop);
    command.args(["summary", "--format", "json"]).args(options).arg("-o").arg(&file).arg("--");
    command.arg(load.get_program()).args(load.get_args());
    let tool = Tool::start(apart(command), &bench.work, false)?;
    wait(tool.pid())?;
    let said = Tool::said(&bench.work);
    let account = said.lines().last().unwrap_or_default();
    eprintln!("{account}");
    let numbers: Vec<u64> = account.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [opens, shown, filtered, lost] = numbers[..] else { anyhow::bail!("no account: {said}") };
    ensure!(opens == shown + filtered + lost, "the account does not add up: {account}");
    let table = std::fs::read_to_string(&file).context("there is no table")?;
    let table: Table = serde_json::from_str(&table)?;
    let rows: u64 = table.processes.iter().map(|row| row.opens).sum();
    let others = table.others.as_ref().map_or(0, |others| others.opens);
    ensure!(rows + others == table.totals.opens, "{rows} in rows + {others} are not {}", table.totals.opens);
    ensure!(opens == table.totals.opens, "the account has {opens} opens, the table {}", table.totals.opens);
    Ok(table)
}

/// Of the loop's own process, whose start opens a few files more (the loader, libc): those are what it opens without a loop.
fn small_ring(bench: &Bench, figures: &mut Figures) -> Result<()> {
    let count = if bench.plan.quick { 50_000 } else { 500_000 };
    let part = &format!("{count} opens with a ring of 64 KiB");
    let of = |count: u64| summary(bench, &["--ring-size", "64K"], &format!("open --cpu 0 --count {count}"));
    // A loop of one opens everything that a longer one does.
    let (start, _) = of(1)?.of("load");
    let (opens, lost) = of(count)?.of("load");
    let counted = (opens + 1).saturating_sub(start);
    figures.add(part, "opentop summary", "counted", "opens", &[counted as f64]);
    figures.add(part, "opentop summary", "of them not in the stream", "opens", &[lost as f64]);
    ensure!(counted == count, "{count} opens were counted as {counted}");
    Ok(())
}

/// Short processes, a thousandfold more than the kernel's table has rows.
fn few_rows(bench: &Bench, figures: &mut Figures) -> Result<()> {
    const OPENS: u64 = 3;
    let count: u64 = if bench.plan.quick { 3000 } else { 100_000 };
    let part = &format!("{count} processes through a table of 64 rows");
    let of = |count: u64| {
        summary(bench, &["--process-rows", "64"], &format!("processes --jobs 8 --count {count} --opens {OPENS}"))
    };
    let start = of(0)?.totals.opens;
    let table = of(count)?;
    let counted = table.totals.opens.saturating_sub(start);
    figures.add(part, "opentop summary", "counted", "opens", &[counted as f64]);
    let beyond = table.losses.process_table_full;
    figures.add(part, "opentop summary", "of them in the kernel's row of others", "opens", &[beyond as f64]);
    figures.add(part, "opentop summary", "lost", "opens", &[table.totals.lost as f64]);
    ensure!(counted == count * OPENS, "{} opens were counted as {counted}", count * OPENS);
    Ok(())
}
