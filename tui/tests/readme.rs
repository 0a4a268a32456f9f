//! README.md holds what it says: its commands parse with the program's own command line, its filters are filters, and
//! its tables are whole.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{ffi::OsString, path::Path};

use common::documents::{invocations, shell_lines, words, workspace_file};
use opentop::{
    cli::{self, Cli, Command},
    filter::Filter,
};

fn parsed(words: &[String]) -> Cli {
    let args: Vec<OsString> = words.iter().map(OsString::from).collect();
    cli::parse(&args).unwrap_or_else(|e| panic!("{} is no command of opentop: {e}", words.join(" ")))
}

fn filter_of(cli: &Cli) -> Option<&str> {
    match &cli.command {
        None => cli.display.filter.as_deref(),
        Some(Command::Trace(args)) => args.display.filter.as_deref(),
        Some(Command::Summary(args)) => args.display.filter.as_deref(),
        Some(_) => None,
    }
}

#[test]
fn every_command_of_the_documents_is_one() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let docs = std::fs::read_dir(top.join("docs")).unwrap().flatten();
    let docs = docs.map(|entry| format!("docs/{}", entry.file_name().display()));
    for document in docs.chain(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned)) {
        if !top.join(&document).exists() {
            continue;
        }
        let invocations = invocations(&shell_lines(&workspace_file(&document)));
        assert!(document != "README.md" || invocations.len() >= 10, "{invocations:?}");
        for words in &invocations {
            if let Some(text) = filter_of(&parsed(words)) {
                Filter::parse(text).unwrap_or_else(|e| panic!("{document}: {text} is no filter: {e}"));
            }
        }
    }
}

#[test]
fn every_example_of_the_help_is_one() {
    let mut tree = <Cli as clap::CommandFactory>::command();
    let helps = std::iter::once(tree.render_long_help())
        .chain(tree.get_subcommands_mut().map(clap::Command::render_long_help).collect::<Vec<_>>());
    let mut seen = 0;
    for help in helps {
        // Two blanks and more stand between a command and what is said of it.
        let examples = help.to_string();
        let lines = examples.lines().filter_map(|line| line.strip_prefix("  "));
        let lines = lines.filter(|line| line.starts_with("sudo opentop") || line.starts_with("opentop "));
        let lines: Vec<String> = lines.map(|line| line.split("  ").next().unwrap().to_owned()).collect();
        for words in invocations(&lines) {
            parsed(&words);
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen} examples were found");
}

#[test]
fn the_two_commands_are_there_and_xtask_has_them() {
    let lines = shell_lines(&workspace_file("README.md"));
    let xtask = workspace_file("xtask/src/main.rs");
    for (line, task) in [("cargo xtask run", "Run("), ("cargo xtask test", "Test(")] {
        assert!(lines.iter().any(|l| l == line), "{line} is not in the README");
        assert!(xtask.contains(task), "xtask has no {task}");
    }
}

#[test]
fn every_key_of_a_json_line_is_explained() {
    let readme = workspace_file("README.md");
    let table = workspace_file("tui/src/headless/json.rs");
    let keys: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .flat_map(|row| row.split('|').next().unwrap().split('`').filter(|word| word.starts_with(char::is_alphabetic)))
        .filter(|word| !["or"].contains(word))
        .collect();
    assert!(keys.len() >= 20, "{keys:?}");
    for key in keys {
        let explained = readme.lines().any(|line| {
            line.strip_prefix('|')
                .and_then(|row| row.split('|').next())
                .is_some_and(|cell| cell.contains(&format!("`{key}`")))
        });
        assert!(explained, "{key} is in no table of the README");
    }
}

#[test]
fn the_setcap_line_is_the_one_that_a_refusal_gives() {
    assert!(workspace_file("README.md").contains(&opentop::privilege::setcap(None)));
}

#[test]
fn the_kernels_are_those_of_the_matrix() {
    let readme = workspace_file("README.md");
    let matrix = workspace_file("xtask/src/kernels.rs");
    let names = matrix.lines().filter_map(|line| line.trim().strip_prefix("Kernel::amd64(\"")?.split('"').next());
    let names: Vec<&str> = names.collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        assert!(readme.contains(name), "kernel {name} is not in the README");
    }
}

#[test]
fn files_that_documents_point_to_are_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let docs = std::fs::read_dir(top.join("docs")).unwrap().flatten();
    let docs = docs.map(|entry| format!("docs/{}", entry.file_name().display()));
    let others = ["README.md", "README.zh-CN.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    for document in docs.chain(others.map(str::to_owned)) {
        let text = workspace_file(&document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let target = target.split('#').next().unwrap();
            let from = top.join(&document);
            assert!(from.parent().unwrap().join(target).exists(), "{document} points to {target}, which is not there");
        }
    }
}

#[test]
fn code_that_documents_name_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut files, mut functions) = (0, 0);
    for document in
        ["README.md", "README.zh-CN.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/hook.md", "docs/attach.md"]
    {
        for code in workspace_file(document).split('`').skip(1).step_by(2) {
            if ["tui/", "xtask/", "probe-ebpf/", "probe-common/", "fuzz/"].iter().any(|dir| code.starts_with(dir)) {
                assert!(top.join(code).exists(), "{document} names {code}, which is not there");
                files += 1;
            }
            // `open::enter`: a function of the kernel side, as the story in README.md names them.
            let Some((module, function)) = code.split_once("::").filter(|_| document.starts_with("README")) else {
                continue;
            };
            let source = workspace_file(&format!("probe-ebpf/src/{module}.rs"));
            assert!(source.contains(&format!("fn {function}")), "{document} names {code}, which is not there");
            functions += 1;
        }
    }
    assert!(files >= 40 && functions >= 8, "{files} files and {functions} functions");
}

#[test]
fn words_are_split_as_by_a_shell() {
    assert_eq!(words("opentop -f 'path:/etc/** flags:w' | jq -r .path"), ["opentop", "-f", "path:/etc/** flags:w"]);
    let lines = ["sudo opentop trace -- make".to_owned(), "make opentop".to_owned()];
    assert_eq!(invocations(&lines), [["opentop", "trace", "--", "make"]]);
}
