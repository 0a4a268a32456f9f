//! `cargo xtask run`: builds opentop for release and starts it with the privileges it needs.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::cmd;

/// Build opentop and start it, with sudo where needed.
#[derive(clap::Args)]
pub struct Args {
    /// What opentop is told
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<std::ffi::OsString>,
}

/// Variables that sudo drops and opentop heeds.
const KEEP: &str = "--preserve-env=TERM,COLORTERM,NO_COLOR,LANG,LC_ALL,XDG_CONFIG_HOME";

pub fn main(args: &Args) -> Result<ExitCode> {
    cmd::run(cmd::cargo().args(["build", "--release", "--package", "opentop"]))?;
    let opentop = cmd::target_dir().join("release/opentop");
    let mut command = if nix::unistd::Uid::effective().is_root() || !needs_privileges(&args.args) {
        Command::new(opentop)
    } else {
        ensure!(cmd::have("sudo"), "tracing needs root and there is no sudo here: run `{}` as root", opentop.display());
        let mut sudo = Command::new("sudo");
        sudo.arg(KEEP).arg("--").arg(opentop);
        sudo
    };
    // Becomes it: signals, job control and the exit status are then its own.
    Err(command.args(&args.args).exec()).context("cannot start opentop")
}

/// A recording, the help and the like are read without any.
fn needs_privileges(args: &[std::ffi::OsString]) -> bool {
    let own = args.iter().take_while(|arg| *arg != "--");
    !own.filter_map(|arg| arg.to_str()).any(|arg| {
        matches!(arg, "-h" | "--help" | "-V" | "--version" | "completions" | "man" | "-r" | "--read")
            || arg.starts_with("--read=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_traces_needs_privileges() {
        let needs = |line: &str| needs_privileges(&line.split_whitespace().map(Into::into).collect::<Vec<_>>());
        assert!(needs("") && needs("trace -x -- man ls") && needs("doctor"));
        assert!(!needs("--help") && !needs("trace -r file") && !needs("man"));
    }
}
