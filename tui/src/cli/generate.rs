//! What is made of the clap tree besides parsing: manual pages and completions, to be printed and to be shipped.

use std::io;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// Every subcommand: each has a page of its own.
pub(super) const SUBCOMMANDS: [&str; 6] = ["trace", "summary", "doctor", "config", "completions", "man"];

/// The completions of `shell`.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "opentop", &mut out);
    out
}

/// The manual page of opentop, or of one of its subcommands, in roff.
///
/// # Errors
/// For a subcommand that there is not.
pub fn man(subcommand: Option<&str>) -> io::Result<Vec<u8>> {
    let mut tree = Cli::command();
    tree.build();
    let page = match subcommand {
        None => tree,
        Some(name) => tree
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no subcommand {name}")))?,
    };
    let mut out = Vec::new();
    clap_mangen::Man::new(page).render(&mut out)?;
    Ok(out)
}

/// Everything that ships beside the program, by its place under assets/. A test compares what is there with this, and
/// `cargo xtask assets` writes it.
///
/// # Errors
/// Never in practice: it is written to memory.
pub fn files() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = vec![("man/opentop.1".to_owned(), man(None)?)];
    for name in SUBCOMMANDS {
        files.push((format!("man/opentop-{name}.1"), man(Some(name))?));
    }
    // Each under the name by which its shell looks for it.
    for (name, shell) in [("opentop", Shell::Bash), ("_opentop", Shell::Zsh), ("opentop.fish", Shell::Fish)] {
        files.push((format!("completions/{name}"), completions(shell)));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page() {
        let tree = Cli::command();
        let names: Vec<_> = tree.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, SUBCOMMANDS);
        assert!(man(Some("nonsense")).is_err());
    }

    #[test]
    fn man_pages_and_completions_know_every_option() {
        let page = |name| String::from_utf8(man(name).unwrap()).unwrap();
        let shells = [Shell::Bash, Shell::Zsh, Shell::Fish].map(|shell| String::from_utf8(completions(shell)).unwrap());
        let mut tree = Cli::command();
        tree.build();
        let pages = std::iter::once((page(None), &tree))
            .chain(tree.get_subcommands().map(|sub| (page(Some(sub.get_name())), sub)));
        for (page, command) in pages {
            // roff writes a hyphen that is one as `\-`.
            let page = page.replace('\\', "");
            // What is hidden is for tests.
            let shown = command.get_opts().filter(|option| !option.is_hide_set());
            for option in shown.filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{option}")), "{option} is not in the page of {}", command.get_name());
                assert!(shells.iter().all(|shell| shell.contains(option)), "{option} is not in the completions");
            }
        }
    }
}
