//! What a contributor does beyond `cargo build`: `cargo xtask probe`, and more to come.

mod cmd;
mod install;
mod probe;

use std::process::ExitCode;

use clap::Parser;

/// What a contributor does beyond `cargo build`.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Build the kernel side and put its bytes under assets/, where the program embeds them
    Probe(probe::Args),
}

fn main() -> ExitCode {
    if let Some(error) = probe::rustc_wrapper() {
        eprintln!("xtask: cannot start rustc: {error}");
        return ExitCode::FAILURE;
    }
    let done = match Task::parse() {
        Task::Probe(args) => probe::main(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
