//! From words to [`Cli`], and what is said where there is nothing to run.

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};

use super::{Cli, Command};
use crate::{error, escape};

/// Parses the command line, the program's name first.
///
/// # Errors
/// When there is nothing to run: the help or version was asked for, or the line is wrong. [`print_stop`] says it.
pub fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let cli = Cli::try_parse_from(args).map_err(|stop| {
        // A refusal is rendered once more without styles: then every escape sequence in it is from outside, and can be
        // escaped rather than stripped (as clap does), which would leave the person to guess.
        let plain = || Cli::command().styles(clap::builder::Styles::plain()).try_get_matches_from(args).err();
        if stop.use_stderr() { plain().unwrap_or(stop) } else { stop }
    })?;
    let cmd = match &cli.command {
        None => Some(&cli.capture.cmd),
        Some(Command::Trace(trace)) => Some(&trace.capture.cmd),
        Some(Command::Summary(summary)) => Some(&summary.capture.cmd),
        Some(Command::Config | Command::Doctor { .. } | Command::Completions { .. } | Command::Man { .. }) => None,
    };
    // clap takes a `--` with nothing behind it for no command at all: the person who typed it wanted one.
    if cmd.is_some_and(Vec::is_empty) && args.last().is_some_and(|last| last == "--") {
        return Err(Cli::command().styles(clap::builder::Styles::plain()).error(
            clap::error::ErrorKind::MissingRequiredArgument,
            "there is no command after `--`: give one, as in `opentop -- ls -l`, or leave the `--` out",
        ));
    }
    Ok(cli)
}

/// Says what [`parse`] stopped at: help and version on stdout, a wrong line on stderr. The exit code of it.
pub fn print_stop(stop: &clap::Error) -> ExitCode {
    if stop.use_stderr() {
        // Arguments come from outside too (a glob over hostile names): nothing of them may reach the terminal raw.
        let mut text = String::new();
        for line in stop.render().ansi().to_string().split_inclusive('\n') {
            let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
            escape::push(&mut text, line.as_bytes());
            text.push_str(end);
        }
        // Where stderr is gone there is nobody to tell.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        return error::Error::new(error::Kind::Usage, "").exit_code();
    }
    let _ = stop.print();
    ExitCode::SUCCESS
}
