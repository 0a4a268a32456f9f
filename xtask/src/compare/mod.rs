//! `cargo xtask compare`: what opentop and other tools see of the truth program, each by itself, in a virtual machine.
//!
//! The tools are Debian's packages of the release that the kernel is of, each asked for all it can tell. What they wrote
//! is judged here, against what the truth program says it did. What it costs is no part of this: that is `bench`.

mod fetch;
mod inside;
mod judge;
mod read;
mod table;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cmd;
use crate::kernels::{self, Kernel};
use crate::machine::{self, Echo, Machine, Programs};
use table::Table;

/// Compare what opentop sees with what other tools see.
#[derive(clap::Args)]
pub struct Args {
    /// Write assets/compare.json and the tables of README.md and README.zh-CN.md
    #[arg(long)]
    write: bool,
    /// Leave what the tools wrote in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Judge what an earlier run left by --keep, and boot nothing
    #[arg(long, value_name = "DIR", conflicts_with = "keep")]
    of: Option<PathBuf>,
    /// Within the virtual machine: run the tools, and leave what they write in this folder
    #[arg(long, hide = true, value_name = "DIR")]
    inside: Option<PathBuf>,
}

/// The time the machine may take for all tools.
const TIMEOUT: Duration = Duration::from_secs(440);

pub fn main(args: &Args) -> Result<ExitCode> {
    if let Some(out) = &args.inside {
        inside::main(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let work = tempfile::tempdir()?;
    let dir = args.of.as_deref().or(args.keep.as_deref()).unwrap_or(work.path());
    if args.of.is_none() {
        run(dir)?;
    }
    let table = Table::of(dir)?;
    print!("{}", table.markdown(table::Language::English));
    if args.write {
        table.write(&cmd::root())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs every tool, and leaves in `dir` what it wrote.
fn run(dir: &Path) -> Result<()> {
    let kernel = Kernel::named(kernels::DEFAULT)?;
    machine::install(kernel.arch)?;
    let fetched = fetch::tools(kernel)?;
    let programs = Programs::for_tests()?;
    let machine = Machine {
        add: ["xtask", "load"].map(|name| cmd::target_dir().join("debug").join(name)).to_vec(),
        place: fetched.place,
        memory: 3072,
        ..Machine::new(programs)
    };
    let script = "insmod /debian/scap.ko; xtask compare --inside /out";
    let outcome = machine.run(kernel, script, TIMEOUT, Echo::Live)?;
    ensure!(outcome.status == 0, "the machine's script ended with {}: {}", outcome.status, outcome.stderr);
    // Of an earlier run, where the folder is kept.
    for tool in &tools::TOOLS {
        let _ = std::fs::remove_file(dir.join(format!("{}.error", tool.key)));
    }
    outcome.unpack(dir)?;
    std::fs::write(dir.join("versions.json"), serde_json::to_string(&fetched.versions)?)?;
    Ok(())
}
