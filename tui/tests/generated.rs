//! What ships beside the program and is made of its command line is that of this command line: the manual pages, the
//! completions, and what `--help` says. `cargo xtask assets` writes them all anew.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

use std::{collections::BTreeSet, fs, path::Path};

use clap::CommandFactory as _;
use opentop::cli::{self, Cli};

#[test]
fn manual_pages_and_completions_under_assets_are_those_of_the_command_line() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("assets");
    let files = cli::files().unwrap();
    if std::env::var_os("OPENTOP_UPDATE_ASSETS").is_some() {
        for dir in ["man", "completions"] {
            let _ = fs::remove_dir_all(assets.join(dir));
            fs::create_dir_all(assets.join(dir)).unwrap();
        }
        for (name, content) in &files {
            fs::write(assets.join(name), content).unwrap();
        }
    }
    for (name, content) in &files {
        let there = fs::read(assets.join(name)).unwrap_or_default();
        assert!(there == *content, "assets/{name} is stale: run `cargo xtask assets` and commit what it changes");
    }
    let made: BTreeSet<_> = files.into_iter().map(|(name, _)| name).collect();
    for dir in ["man", "completions"] {
        for entry in fs::read_dir(assets.join(dir)).unwrap().flatten() {
            let name = format!("{dir}/{}", entry.file_name().display());
            assert!(made.contains(&name), "assets/{name} is made by nothing: run `cargo xtask assets`");
        }
    }
}

#[test]
fn help_is_grouped_and_ends_with_examples() {
    let mut tree = Cli::command().term_width(100).styles(clap::builder::Styles::plain());
    tree.build();
    insta::assert_snapshot!("opentop", tree.render_long_help());
    for sub in tree.get_subcommands_mut() {
        let name = sub.get_name().to_owned();
        insta::assert_snapshot!(name, sub.render_long_help());
    }
}
