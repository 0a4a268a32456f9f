//! The tools, from the Debian release that the kernel is of: unpacked and not installed, with the libraries they load,
//! which may be others than this machine's. The kernel module of sysdig is built for the machine's kernel.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::tools::{SCRIPT, TOOLS};
use crate::apt::{self, Apt};
use crate::cmd;
use crate::kernels::Kernel;

/// The release whose kernel [`crate::kernels::DEFAULT`] is.
const SUITE: &str = "bookworm";

/// Where the tools and their libraries are in the machine.
pub const PLACE: &str = "/debian";

/// The source of sysdig's kernel module.
const MODULE: &str = "falcosecurity-scap-dkms";

/// Where libraries are in the unpacked packages.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
const LOADER: &str = "ld-linux-x86-64.so.2";

/// What goes into the machine.
pub struct Fetched {
    /// Files, each with where it goes.
    pub place: Vec<(String, PathBuf)>,
    /// Versions of packages, as Debian has them.
    pub versions: BTreeMap<String, String>,
}

/// Fetches what is not kept yet.
pub fn tools(kernel: Kernel) -> Result<Fetched> {
    let release = kernel.release()?;
    let kept = apt::cache_dir("compare")?.join(&release);
    if !kept.exists() {
        eprintln!("xtask: fetching the tools from {SUITE}");
        let above = apt::cache_dir("compare")?;
        fs::create_dir_all(&above)?;
        let staging = tempfile::tempdir_in(&above)?;
        let versions = unpack(&staging.path().join("root"))?;
        fs::write(staging.path().join("versions.json"), serde_json::to_string(&versions)?)?;
        // Without a compiler, or without headers for this kernel any more, one tool is missing, and not all.
        if let Err(error) = module(kernel, &release, staging.path()) {
            eprintln!("xtask: no kernel module for sysdig: {error:#}");
        }
        fs::rename(staging.keep(), &kept)?;
    }
    let root = kept.join("root");
    let mut place = BTreeMap::new();
    place.insert(format!("{PLACE}/lib/{LOADER}"), root.join(LIBRARIES[0]).join(LOADER));
    for tool in &TOOLS {
        let Some(program) = tool.program else { continue };
        let file = root.join(program);
        for library in libraries(&root, &file)? {
            let name = library.file_name().context("a library without a name")?.to_string_lossy().into_owned();
            place.insert(format!("{PLACE}/lib/{name}"), library);
        }
        let name = file.file_name().context("a tool without a name")?.to_string_lossy().into_owned();
        place.insert(format!("{PLACE}/bin/{name}"), file);
    }
    place.insert(format!("{PLACE}/bin/{SCRIPT}"), root.join("usr/sbin").join(SCRIPT));
    if kept.join("scap.ko").exists() {
        place.insert(format!("{PLACE}/scap.ko"), kept.join("scap.ko"));
    }
    let versions = serde_json::from_str(&fs::read_to_string(kept.join("versions.json"))?)?;
    Ok(Fetched { place: place.into_iter().collect(), versions })
}

/// A tool's command in the machine, with the loader and the libraries of its own.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(format!("{PLACE}/lib/{LOADER}"));
    command.arg("--library-path").arg(format!("{PLACE}/lib")).arg(format!("{PLACE}/bin/{name}"));
    command
}

/// Unpacks the tools' packages and all they depend on; the tools' versions.
fn unpack(root: &Path) -> Result<BTreeMap<String, String>> {
    let work = tempfile::tempdir()?;
    let apt = Apt::new(&[SUITE], "amd64", work.path())?;
    let wanted: Vec<&str> = TOOLS.iter().filter_map(|tool| tool.package).collect();
    let files = apt.unpack(&apt.closure(&wanted)?, root)?;
    // name_version_architecture.deb
    let named = files.iter().filter_map(|file| {
        let name = file.file_name()?.to_str()?;
        let mut parts = name.split('_');
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    });
    Ok(named.filter(|(package, _)| wanted.contains(&package.as_str())).collect())
}

/// Builds sysdig's kernel module into `dir`.
fn module(kernel: Kernel, release: &str, dir: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    let apt = Apt::new(&[SUITE], "amd64", work.path())?;
    let common = format!("linux-headers-{}common", release.trim_end_matches("cloud-amd64"));
    let headers = format!("linux-headers-{release}");
    let wanted = [MODULE.to_owned(), headers.clone(), common.clone(), format!("linux-kbuild-{}", kernel.name)];
    let root = work.path().join("root");
    apt.unpack(&wanted, &root)?;
    let sources = root.join("usr/src");
    // It names the other half of the headers by where they are when they are installed.
    let makefile = sources.join(&headers).join("Makefile");
    let text = fs::read_to_string(&makefile)?;
    fs::write(&makefile, text.replace("/usr/src", &sources.to_string_lossy()))?;
    let source = fs::read_dir(&sources)?.flatten().map(|entry| entry.path());
    let source = source.into_iter().find(|path| path.join("dkms.conf").exists()).context("no source of the module")?;
    let mut make = Command::new("make");
    make.arg("--silent").arg("-C").arg(sources.join(&headers)).arg(format!("M={}", source.display()));
    // The kernel was built by the release's own compiler; another one does for a module that is used for a minute.
    cmd::output(make.args(["CC=gcc", "modules"]))?;
    cmd::run(Command::new("strip").arg("--strip-debug").arg(source.join("scap.ko")))?;
    fs::copy(source.join("scap.ko"), dir.join("scap.ko"))?;
    Ok(())
}

/// The libraries that a program of the unpacked packages loads, as their own loader finds them.
fn libraries(root: &Path, program: &Path) -> Result<Vec<PathBuf>> {
    let dirs = LIBRARIES.map(|dir| root.join(dir).to_string_lossy().into_owned());
    let mut loader = Command::new(root.join(LIBRARIES[0]).join(LOADER));
    let listed = cmd::output(loader.args(["--library-path", &dirs.join(":"), "--list"]).arg(program))?;
    Ok(listed
        .split_whitespace()
        .filter(|word| word.starts_with('/') && word.contains(".so"))
        .map(PathBuf::from)
        .collect())
}
