//! Builds that tell nothing of where they were made: cargo runs rustc through us, and we add names for the places where
//! sources lie. By flags of cargo's own these would count among what a build is made of, and would get into its names.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Set for the rustc that cargo runs through us: flags to add, separated by 0x1f.
const WRAPPER: &str = "OPENTOP_XTASK_RUSTC_WRAPPER";

/// Whether we are run by cargo as its rustc wrapper; if so, this becomes rustc and does not return unless that fails.
///
/// Cargo hashes the place of a path dependency outside the workspace and the flags into `-C metadata`, and that goes
/// into the mangled names: the probe's bytes would depend on where the repository lies. Its own two crates get a
/// metadata of their name alone.
pub fn rustc_wrapper() -> Option<anyhow::Error> {
    let remap = std::env::var(WRAPPER).ok()?;
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let crate_name = args.iter().position(|arg| arg == "--crate-name").and_then(|at| args.get(at + 1).cloned());
    if let Some(name @ ("probe_common" | "opentop_probe")) = crate_name.as_deref() {
        for arg in args.iter_mut().filter(|arg| arg.starts_with("metadata=")) {
            *arg = format!("metadata={name}");
        }
    }
    args.extend(remap.split('\x1f').filter(|flag| !flag.is_empty()).map(str::to_owned));
    let mut args = args.into_iter();
    Some(Command::new(args.next()?).args(args).exec().into())
}

/// Flags for the places of this repository (or a copy of it), of a Rust's own sources and of the registry's.
pub fn flags(root: &Path, sysroot: &Path) -> Result<Vec<String>> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .context("no home directory")?;
    let mut places = vec![(root.to_path_buf(), "opentop"), (sysroot.join("lib/rustlib/src/rust"), "rust")];
    for registry in fs::read_dir(home.join("registry/src")).into_iter().flatten() {
        places.push((registry?.path(), "crates"));
    }
    Ok(places.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect())
}

/// Has cargo add the flags.
pub fn apply(cargo: &mut Command, flags: &[String]) -> Result<()> {
    cargo.env("RUSTC_WRAPPER", std::env::current_exe()?).env(WRAPPER, flags.join("\x1f"));
    Ok(())
}
