//! README.md holds what it says: its commands parse with the program's own command line, its filters are filters, and
//! its tables are whole.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

use std::{ffi::OsString, fs, path::Path};

use opentop::{
    cli::{self, Cli, Command},
    filter::Filter,
};

fn workspace_file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name)).unwrap()
}

/// The lines of every block that is marked as shell, without comments.
fn shell_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.is_empty() && !line.starts_with('#') => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

/// Words as a shell has them: blanks separate, quotes hold together, `|` ends the command.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | '>') => break,
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    assert_eq!(quote, None, "a quote is open: {line}");
    words.retain(|word| !word.is_empty());
    words
}

/// The invocations of opentop among the lines, the program's name first.
fn invocations(lines: &[String]) -> Vec<Vec<String>> {
    let commands = lines.iter().map(|line| words(line));
    let bare = commands.map(|words| words.into_iter().skip_while(|word| word == "sudo").collect::<Vec<_>>());
    bare.filter(|words| words.first().is_some_and(|word| word == "opentop")).collect()
}

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
fn every_command_of_the_readme_is_one() {
    let invocations = invocations(&shell_lines(&workspace_file("README.md")));
    assert!(invocations.len() >= 10, "{invocations:?}");
    for words in &invocations {
        if let Some(text) = filter_of(&parsed(words)) {
            Filter::parse(text).unwrap_or_else(|e| panic!("{text} is no filter: {e}"));
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
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        let text = workspace_file(document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            assert!(top.join(target).exists(), "{document} points to {target}, which is not there");
        }
    }
}

#[test]
fn words_are_split_as_by_a_shell() {
    assert_eq!(words("opentop -f 'path:/etc/** flags:w' | jq -r .path"), ["opentop", "-f", "path:/etc/** flags:w"]);
    let lines = ["sudo opentop trace -- make".to_owned(), "make opentop".to_owned()];
    assert_eq!(invocations(&lines), [["opentop", "trace", "--", "make"]]);
}
