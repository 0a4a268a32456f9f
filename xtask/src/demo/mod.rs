//! `cargo xtask demo`: the sample recording, the demo cast made from it, and its picture for the README.
//!
//! The sample is taken on a real kernel by `--record`, now and then; cast and picture follow from it byte for byte, which
//! `--check` proves.

mod record;
mod svg;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cmd;
use crate::machine::Programs;

/// Make the demo cast and its picture from the sample recording.
#[derive(clap::Args)]
pub struct Args {
    /// Fail when what lies under assets/ is not what comes out
    #[arg(long)]
    check: bool,
    /// Take the sample recording anew first, in a virtual machine
    #[arg(long, conflicts_with = "check")]
    record: bool,
}

/// Columns and rows of the cast.
const SIZE: (usize, usize) = (110, 30);

/// What is done in the demo. Each step shows one thing.
const KEYS: &str = "wait 3s; mark who cannot find its configuration; key 3; wait 4s; mark what is opened most; key 2; \
                    wait 3s; key 1; wait 2s; mark a build; wait 1500ms; type /; type comm:tcc; key Enter; wait 3s; key Esc; \
                    wait 1s; mark one process; key Enter; wait 4s; key Esc; wait 1s; key $; wait 2s";

pub fn main(args: &Args) -> Result<()> {
    let sample = assets().join("sample.otop");
    if args.record {
        fs::write(&sample, record::sample()?)?;
    }
    let work = tempfile::tempdir()?;
    let cast = work.path().join("demo.cast");
    let (columns, rows) = SIZE;
    let mut opentop = Command::new(Programs::for_tests()?.opentop);
    opentop.arg("-r").arg(&sample).arg("--cast").arg(&cast).args(["--keys", KEYS]);
    opentop.args(["--cast-size", &format!("{columns}x{rows}")]);
    let out = opentop.output().context("cannot start opentop")?;
    ensure!(out.status.success(), "no cast: {}", String::from_utf8_lossy(&out.stderr));
    let cast = fs::read(cast)?;
    let picture = svg::picture(&String::from_utf8(cast.clone())?, SIZE)?;
    for (name, content) in [("demo.cast", cast.as_slice()), ("demo.svg", picture.as_bytes())] {
        put(&assets().join(name), content, args.check)?;
    }
    Ok(())
}

fn assets() -> PathBuf {
    cmd::root().join("assets")
}

fn put(path: &Path, content: &[u8], check: bool) -> Result<()> {
    if !check {
        println!("{}: {} bytes", path.display(), content.len());
        return Ok(fs::write(path, content)?);
    }
    if fs::read(path).ok().as_deref() != Some(content) {
        bail!("{} is stale: run `cargo xtask demo` and commit what it changes", path.display());
    }
    Ok(())
}
