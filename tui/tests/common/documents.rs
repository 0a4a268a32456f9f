//! The documents of the repository: what is in them that a test can hold to the program.

use std::{fs, path::Path};

pub fn workspace_file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name)).unwrap()
}

/// The lines of every block that is marked as shell, without comments.
pub fn shell_lines(text: &str) -> Vec<String> {
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
pub fn words(line: &str) -> Vec<String> {
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
pub fn invocations(lines: &[String]) -> Vec<Vec<String>> {
    let commands = lines.iter().map(|line| words(line));
    let bare = commands.map(|words| words.into_iter().skip_while(|word| word == "sudo").collect::<Vec<_>>());
    bare.filter(|words| words.first().is_some_and(|word| word == "opentop")).collect()
}
