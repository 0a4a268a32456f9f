//! `cargo xtask dist`: what is given away: a Debian package, an archive, the bill of materials and their checksums,
//! under target/dist.
//!
//! The same commit gives the same bytes wherever it is built, with the same Rust and the same libc: places are remapped,
//! times are the commit's, owners are root, lists are sorted. `--check` holds it to that, and to running in a clean root.

mod check;
mod files;
mod licences;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{cmd, install, remap};

/// Make what is given away.
#[derive(clap::Args)]
pub struct Args {
    /// Build it once more in another folder and compare, and install and run the package in a root made by debootstrap
    #[arg(long)]
    check: bool,
}

/// The version of cargo-cyclonedx that the bill of materials is made by.
const CYCLONEDX: &str = "0.5.9";

pub fn main(args: &Args) -> Result<()> {
    let out = cmd::target_dir().join("dist");
    let build = Build { source: cmd::root(), target: cmd::target_dir().join("dist-build"), epoch: epoch()? };
    let made = build.make(&out)?;
    for file in &made {
        println!("{}", file.display());
    }
    if args.check {
        check::same_elsewhere(&build, &out, &made)?;
        check::runs_in_a_clean_root(&out)?;
    }
    Ok(())
}

/// One build of everything.
struct Build {
    /// A copy of the repository.
    source: PathBuf,
    /// Cargo's target folder for it.
    target: PathBuf,
    /// Seconds since 1970: the time of everything in it.
    epoch: u64,
}

impl Build {
    /// Makes every file in `out`, which is emptied first; their paths.
    fn make(&self, out: &Path) -> Result<Vec<PathBuf>> {
        let _ = fs::remove_dir_all(out);
        fs::create_dir_all(out)?;
        let program = self.program()?;
        let (version, triple) = (env!("CARGO_PKG_VERSION"), triple()?);
        let name = format!("opentop-{version}-{triple}");
        let bill = out.join(format!("{name}.cdx.json"));
        fs::write(&bill, self.bill(&triple)?)?;
        let licences = licences::of_crates(&self.source, &triple)?;

        let stage = tempfile::tempdir()?;
        let archive = out.join(format!("{name}.tar.gz"));
        let tree = stage.path().join(&name);
        files::archive(&self.source, &tree, &program, &licences)?;
        files::settle(&tree, self.epoch)?;
        self.pack(&tree, &archive)?;

        let tree = stage.path().join("deb");
        let package = out.join(format!("opentop_{version}_{}.deb", files::debian_arch()?));
        files::debian(&self.source, &tree, &program, &bill, &licences)?;
        files::settle(&tree, self.epoch)?;
        install::packages(&["dpkg-dev"])?;
        cmd::output(
            Command::new("dpkg-deb")
                .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
                .args(["--root-owner-group", "-Zxz", "--build"])
                .args([&tree, &package]),
        )?;

        let mut made = vec![archive, bill, package];
        let mut sums = String::new();
        for file in &made {
            let sum: String = Sha256::digest(fs::read(file)?).iter().map(|byte| format!("{byte:02x}")).collect();
            sums.push_str(&format!("{sum}  {}\n", file_name(file)?.to_string_lossy()));
        }
        let path = out.join("SHA256SUMS");
        fs::write(&path, sums)?;
        made.push(path);
        Ok(made)
    }

    /// The program, built for release.
    fn program(&self) -> Result<PathBuf> {
        let sysroot = cmd::output(Command::new("rustc").current_dir(&self.source).args(["--print", "sysroot"]))?;
        let mut cargo = cmd::cargo();
        cargo
            .current_dir(&self.source)
            .args(["build", "--release", "--quiet", "--locked", "--package", "opentop"])
            .env("CARGO_TARGET_DIR", &self.target)
            .env_remove("RUSTFLAGS");
        remap::apply(&mut cargo, &remap::flags(&self.source, Path::new(&sysroot))?)?;
        cmd::run(&mut cargo)?;
        Ok(self.target.join("release/opentop"))
    }

    /// The bill of materials, CycloneDX. The tool writes beside the manifests, so it gets a copy.
    fn bill(&self, triple: &str) -> Result<String> {
        install::cargo_tool("cargo-cyclonedx", CYCLONEDX)?;
        let copy = tempfile::tempdir()?;
        copy_sources(&self.source, copy.path())?;
        cmd::output(
            Command::new(cmd::which("cargo-cyclonedx").context("cargo-cyclonedx is gone")?)
                .current_dir(copy.path())
                .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
                .args(["cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--describe", "binaries"])
                .args(["--target", triple, "--manifest-path", "tui/Cargo.toml"]),
        )?;
        let bill = fs::read_to_string(copy.path().join("tui/opentop_bin.cdx.json"))?;
        Ok(bill.replace(&copy.path().display().to_string(), "/opentop"))
    }

    /// A tar of a folder, gzipped.
    fn pack(&self, tree: &Path, archive: &Path) -> Result<()> {
        let parent = tree.parent().context("no folder above")?;
        cmd::run(
            Command::new("tar")
                .args(["--create", "--format=ustar", "--sort=name", "--owner=root:0", "--group=root:0"])
                .args([&format!("--mtime=@{}", self.epoch), "--use-compress-program=gzip -9n", "--file"])
                .arg(archive)
                .arg("--directory")
                .arg(parent)
                .arg(file_name(tree)?),
        )
    }
}

/// The time of the commit, or what the environment says.
fn epoch() -> Result<u64> {
    if let Some(set) = std::env::var_os("SOURCE_DATE_EPOCH") {
        return set.to_string_lossy().parse().context("SOURCE_DATE_EPOCH is no number of seconds");
    }
    let said = cmd::output(Command::new("git").current_dir(cmd::root()).args(["log", "-1", "--format=%ct"]));
    said.context("no commit to take the time of: set SOURCE_DATE_EPOCH")?.parse().context("git's time is no number")
}

/// What rustc calls this machine.
fn triple() -> Result<String> {
    let said = cmd::output(Command::new("rustc").current_dir(cmd::root()).arg("-vV"))?;
    said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc names no host")
}

/// Copies what git tracks, as it is in the working tree.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    let listed = cmd::output(Command::new("git").current_dir(cmd::root()).args(["ls-files", "-z"]))?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (from.join(name), to.join(name));
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        // A file that is deleted and not committed is no source any more.
        if from.exists() {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> Result<OsString> {
    path.file_name().map(OsString::from).with_context(|| format!("{} has no name", path.display()))
}
