//! README.zh-CN.md says what README.md says: the same headings, commands and tables in the same order.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use common::documents::workspace_file;

/// A document of both, without the figures that `cargo xtask bench --write` puts into the English one.
fn document(name: &str) -> String {
    let text = workspace_file(name);
    let (before, rest) = text.split_once("<!-- bench: written").expect("the place of the figures begins");
    let (_, after) = rest.split_once("<!-- bench: end -->").expect("the place of the figures ends");
    format!("{before}{after}")
}

/// Every heading of a document: how deep it is.
fn headings(text: &str) -> Vec<usize> {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        inside ^= line.starts_with("```");
        !inside && line.starts_with('#')
    });
    lines.map(|line| line.chars().take_while(|c| *c == '#').count()).collect()
}

/// The lines of every block of code, without comments.
fn code(text: &str) -> Vec<String> {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        inside ^= line.starts_with("```");
        line.starts_with("```") || inside && !line.starts_with('#')
    });
    lines.map(str::to_owned).collect()
}

/// Every row of every table: its cells, of which those that are code must be the same in both languages.
fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.map(|row| {
        let code = row.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (row.split('|').count(), code)
    })
    .collect()
}

#[test]
fn both_languages_of_the_readme_say_the_same() {
    let (english, chinese) = (document("README.md"), document("README.zh-CN.md"));
    assert_eq!(headings(&english), headings(&chinese), "headings");
    for (one, other) in code(&english).iter().zip(&code(&chinese)) {
        assert_eq!(one, other, "a line of code");
    }
    assert_eq!(code(&english).len(), code(&chinese).len(), "lines of code");
    for (one, other) in rows(&english).iter().zip(&rows(&chinese)) {
        assert_eq!(one, other, "a row of a table: how many cells, and what of it is code");
    }
    assert_eq!(rows(&english).len(), rows(&chinese).len(), "rows of tables");
}
