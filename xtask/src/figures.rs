//! `cargo xtask figures`: runs the tests that have figures and writes them into the table of SECURITY.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cmd;

/// The tests of the program that call `common::figure`.
const TESTS: [&str; 6] = ["exits", "crashes", "faults", "failing_calls", "hostile", "fuzz"];

const BEGIN: &str = "<!-- figures: written by `cargo xtask figures` -->\n";
const END: &str = "<!-- end of figures -->";

pub fn main() -> Result<ExitCode> {
    let work = tempfile::tempdir()?;
    let notes = work.path().join("figures");
    let mut tests = cmd::cargo();
    tests.args(["test", "--package", "opentop"]).env("OPENTOP_FIGURES", &notes);
    for test in TESTS {
        tests.args(["--test", test]);
    }
    let status = tests.status().context("cannot start cargo")?;
    anyhow::ensure!(status.success(), "a test failed: its figures are none");
    let path = cmd::root().join("SECURITY.md");
    let document = fs::read_to_string(&path)?;
    fs::write(&path, with_table(&document, &table(&fs::read_to_string(&notes)?))?)?;
    println!("written: {}", path.display());
    Ok(ExitCode::SUCCESS)
}

/// Lines of part, what and what was found, tabs between, as a table; the last figure of a name counts.
fn table(notes: &str) -> String {
    let rows = notes.lines().filter_map(|line| {
        let mut words = line.splitn(3, '\t');
        Some(((words.next()?, words.next()?), words.next()?))
    });
    let mut text = "| tests | what | what came of it |\n|---|---|---|\n".to_owned();
    for ((part, what), found) in rows.collect::<BTreeMap<_, _>>() {
        let _ = writeln!(text, "| `{part}` | {what} | {found} |");
    }
    text
}

fn with_table(document: &str, table: &str) -> Result<String> {
    let (before, rest) = document.split_once(BEGIN).context("SECURITY.md has no place for figures")?;
    let (_, after) = rest.split_once(END).context("the place for figures in SECURITY.md has no end")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before() {
        let document = format!("a\n{BEGIN}old\n{END}\nz\n");
        let table = table("faults\tb\t2\nexits\ta\t1\nfaults\tb\t3\nnonsense\n");
        assert_eq!(
            with_table(&document, &table).unwrap(),
            format!(
                "a\n{BEGIN}| tests | what | what came of it |\n|---|---|---|\n| `exits` | a | 1 |\n| `faults` | b | 3 |\n{END}\nz\n"
            )
        );
        assert!(with_table("nothing", "").is_err());
    }
}
