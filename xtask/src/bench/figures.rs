//! What was measured: kept by name, told as a table, written as JSON and into README.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One figure, from all its rounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// The part of the bench that measured it, as `--only` names it.
    #[serde(default)]
    pub of: String,
    /// What was measured, in words: the head of its table.
    pub part: String,
    /// Whose it is: "opentop trace".
    pub who: String,
    /// What of it: "added, success".
    pub what: String,
    pub unit: String,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub rounds: usize,
}

/// All figures of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    machine: String,
    figures: Vec<Figure>,
    not_measured: Vec<String>,
    /// The part that is being measured.
    #[serde(skip)]
    now: String,
}

/// Where the table stands in README.md.
const BEGIN: &str = "<!-- bench: written by cargo xtask bench --write -->";
const END: &str = "<!-- bench: end -->";

impl Figures {
    /// Adds what the rounds gave; nothing where there was none.
    pub fn add(&mut self, part: &str, who: &str, what: &str, unit: &str, rounds: &[f64]) {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return };
        self.figures.push(Figure {
            of: self.now.clone(),
            part: part.into(),
            who: who.into(),
            what: what.into(),
            unit: unit.into(),
            median: median(&sorted),
            min: *min,
            max: *max,
            rounds: sorted.len(),
        });
    }

    /// What comes from here on is of this part.
    pub fn begin(&mut self, of: &str) {
        of.clone_into(&mut self.now);
    }

    /// Says that something could not be measured.
    pub fn missing(&mut self, what: &str, why: &str) {
        self.not_measured.push(format!("{}: {what}: {why}", self.now));
    }

    /// Takes those of another run in, with `place` behind the name of their part.
    pub fn merge(&mut self, other: Self, place: &str) {
        let now = self.now.clone();
        let placed = |mut figure: Figure| {
            figure.of.clone_from(&now);
            figure.part = format!("{} {place}", figure.part);
            figure
        };
        self.figures.extend(other.figures.into_iter().map(placed));
        self.not_measured.extend(other.not_measured.into_iter().map(|what| format!("{}: {place}{what}", self.now)));
    }

    /// A median, by name.
    pub fn median(&self, part: &str, who: &str, what: &str) -> Option<f64> {
        self.figures.iter().find(|f| f.part == part && f.who == who && f.what == what).map(|f| f.median)
    }

    /// All of it, for a terminal.
    pub fn table(&self) -> String {
        let (mut out, mut part) = (String::new(), "");
        let who = self.figures.iter().map(|f| f.who.chars().count()).max().unwrap_or(0);
        let what = self.figures.iter().map(|f| f.what.chars().count()).max().unwrap_or(0);
        for figure in &self.figures {
            if figure.part != part {
                part = &figure.part;
                let _ = writeln!(out, "\n{part}");
            }
            let Figure { median, min, max, unit, rounds, .. } = figure;
            let spread = match rounds {
                1 => String::new(),
                _ => format!("  ({} – {}, {rounds} rounds)", number(*min), number(*max)),
            };
            let _ =
                writeln!(out, "  {:who$}  {:what$}  {:>10} {unit}{spread}", figure.who, figure.what, number(*median));
        }
        for what in &self.not_measured {
            let _ = writeln!(out, "\nnot measured: {what}");
        }
        out
    }

    /// Writes assets/bench.json and the table of README.md. Parts that were not measured this time stay as they are there.
    pub fn write(mut self, root: &Path, measured: &[&str]) -> Result<()> {
        let path = root.join("assets/bench.json");
        if let Ok(text) = fs::read_to_string(&path) {
            let old: Self = serde_json::from_str(&text).context("assets/bench.json is damaged: remove it")?;
            let stays = |of: &str| !measured.contains(&of);
            self.figures.extend(old.figures.into_iter().filter(|figure| stays(&figure.of)));
            let missing = old.not_measured.into_iter().filter(|what| stays(what.split(':').next().unwrap_or_default()));
            self.not_measured.extend(missing);
        }
        let place = |of: &str| super::PARTS.iter().position(|part| *part == of);
        self.figures.sort_by_key(|figure| place(&figure.of));
        self.machine = machine();
        let json = serde_json::to_string_pretty(&self)?;
        fs::write(&path, format!("{json}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        let path = root.join("README.md");
        let text = fs::read_to_string(&path)?;
        let (before, rest) = text.split_once(BEGIN).context("README.md has no place for the table")?;
        let (_, after) = rest.split_once(END).context("README.md has no end of the table")?;
        fs::write(&path, format!("{before}{BEGIN}\n{}{END}{after}", self.readme()))?;
        Ok(())
    }

    /// The rows of README.md: all figures but the library's, in words.
    fn readme(&self) -> String {
        let mut out = format!("\n{}. Median (least – greatest).\n", self.machine);
        let mut part = "";
        for figure in self.figures.iter().filter(|f| f.part != "library") {
            if figure.part != part {
                part = &figure.part;
                let _ = write!(out, "\n| {part} | what | |\n|---|---|---|\n");
            }
            let Figure { who, what, median, min, max, unit, rounds, .. } = figure;
            let spread = if *rounds > 1 { format!(" ({} – {})", number(*min), number(*max)) } else { String::new() };
            let _ = writeln!(out, "| {who} | {what} | {} {unit}{spread} |", number(*median));
        }
        for what in &self.not_measured {
            let _ = write!(out, "\nNot measured: {what}.\n");
        }
        out.push('\n');
        out
    }
}

/// The median of sorted numbers.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 if middle > 0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted.get(middle).copied().unwrap_or(f64::NAN),
    }
}

/// A number with as many places as say something.
fn number(n: f64) -> String {
    match n.abs() {
        0.0 => "0".into(),
        a if a < 0.1 => format!("{n:.3}"),
        a if a < 10.0 => format!("{n:.2}"),
        a if a < 100.0 => format!("{n:.1}"),
        _ => format!("{n:.0}"),
    }
}

/// What it was measured on.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let release: String = kernel.trim().split('-').next().unwrap_or_default().into();
    let shared = if cpu.contains("hypervisor") { ", a virtual one" } else { "" };
    format!("On {count} × {}{shared}, Linux {release}", model.trim_start_matches([' ', '\t', ':']).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_is_told_with_their_spread() {
        let mut figures = Figures::default();
        figures.add("tools", "opentop trace", "added", "ns", &[300.0, 100.0, 200.0]);
        figures.add("tools", "nobody", "added", "ns", &[]);
        assert_eq!(figures.median("tools", "opentop trace", "added"), Some(200.0));
        assert!(figures.table().contains("200 ns  (100 – 300, 3 rounds)"), "{}", figures.table());
        assert!(figures.readme().contains("| opentop trace | added | 200 ns (100 – 300) |"));
    }

    #[test]
    fn an_even_number_of_rounds_has_its_median_between_two() {
        assert!((median(&[1.0, 2.0, 4.0, 8.0]) - 3.0).abs() < 1e-9);
    }
}
