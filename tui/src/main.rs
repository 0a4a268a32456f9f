//! The `opentop` command: parse, choose what to run, exit with its code.

use std::{
    ffi::OsString,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use opentop::{
    cli::{self, Cli, Command, ReportFormat, TraceArgs},
    doctor,
    error::{Error, Kind},
    run,
};

fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let cli = match cli::parse(&typed) {
        Ok(cli) => cli,
        Err(stop) => return cli::print_stop(&stop),
    };
    dispatch(cli, &typed).unwrap_or_else(|error| {
        run::say(&error.message);
        // What keeps any command from running is among what the doctor looks at.
        if matches!(error.kind, Kind::Denied | Kind::Unsupported) && !error.message.contains("opentop doctor") {
            run::say("`opentop doctor` tells what this machine has and allows, and what mends the rest");
        }
        error.exit_code()
    })
}

fn dispatch(cli: Cli, typed: &[OsString]) -> Result<ExitCode, Error> {
    match cli.command {
        None if std::io::stdout().is_terminal() || cli.cast.cast.is_some() => {
            run::dashboard(&cli.look, &cli.display, &cli.cast, &cli.capture, typed)
        }
        None if cli.cast.keys.is_some() => Err(Error::new(
            Kind::Usage,
            "--keys drives the dashboard, which needs a terminal, or --cast FILE to be written to",
        )),
        None => run::trace(&TraceArgs { display: cli.display, capture: cli.capture, ..TraceArgs::default() }, typed),
        Some(Command::Trace(args)) => run::trace(&args, typed),
        Some(Command::Summary(args)) => run::summary(&args, typed),
        Some(Command::Doctor { format }) => {
            let facts = doctor::gather(typed);
            let report = match format {
                ReportFormat::Text => doctor::report::text(&facts),
                ReportFormat::Json => doctor::report::json(&facts),
            };
            print(report.as_bytes())?;
            Ok(doctor::checks::verdict(&facts).map_or_else(|error| error.exit_code(), |_| ExitCode::SUCCESS))
        }
        Some(Command::Config) => print(run::config::text().as_bytes()),
        Some(Command::Completions { shell }) => print(&cli::completions(shell)),
        Some(Command::Man { command }) => {
            print(&cli::man(command.as_deref()).map_err(|e| Error::failed(format!("no manual page: {e}")))?)
        }
    }
}

fn print(text: &[u8]) -> Result<ExitCode, Error> {
    match std::io::stdout().lock().write_all(text) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("cannot write to stdout: {e}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
