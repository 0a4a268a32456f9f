//! The kernels of the virtual-machine tests: Debian's cloud images, fetched and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::{self, Apt};

/// A kernel of the matrix: its version and the suite that has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    /// The version's beginning, and the name by which it is asked for.
    pub name: &'static str,
    pub arch: Arch,
    suite: &'static str,
    /// The ways to attach that it has not.
    without: &'static [&'static str],
}

impl Kernel {
    const fn amd64(name: &'static str, suite: &'static str) -> Self {
        Self { name, suite, arch: Arch::X86_64, without: &[] }
    }
}

/// The oldest that has what the probe needs, what Debian's releases run, and the two newest.
pub const MATRIX: [Kernel; 5] = [
    Kernel::amd64("5.10", "bullseye-security"),
    Kernel::amd64("6.1", "bookworm"),
    Kernel::amd64("6.12", "bookworm-security"),
    Kernel::amd64("7.2", "sid"),
    Kernel::amd64("7.3", "trixie-backports"),
];

/// arm64's, where fentry came with 6.4 at the earliest. Not in the matrix: what they run is built for them first.
pub const ARM64: [Kernel; 2] = [
    Kernel { name: "6.1-arm64", suite: "bookworm", arch: Arch::Aarch64, without: &["fentry"] },
    Kernel { name: "6.12-arm64", suite: "bookworm-security", arch: Arch::Aarch64, without: &[] },
];

/// The kernel that a command uses when none is asked for.
pub const DEFAULT: &str = "6.1";

impl Kernel {
    /// The kernel called `name`.
    pub fn named(name: &str) -> Result<Self> {
        let all = || MATRIX.into_iter().chain(ARM64);
        let names = all().map(|kernel| kernel.name).collect::<Vec<_>>().join(", ");
        all().find(|kernel| kernel.name == name).with_context(|| format!("no kernel {name}: there are {names}"))
    }

    /// Whether it has a way to attach.
    pub fn has(self, attach: &str) -> bool {
        !self.without.contains(&attach)
    }

    /// Where its unpacked package is; fetched when it is not there yet, or when `update` asks for the newest.
    pub fn package(self, update: bool) -> Result<PathBuf> {
        let cache = apt::cache_dir("kernels")?.join(self.name);
        if !update
            && let Some(kept) = fs::read_dir(&cache)
                .ok()
                .into_iter()
                .flatten()
                .flatten()
                .find(|entry| find(&entry.path(), "vmlinuz").is_some_and(|image| image.exists()))
        {
            return Ok(kept.path());
        }
        self.fetch(&cache).with_context(|| format!("cannot fetch kernel {} from {}", self.name, self.suite))
    }

    /// What it calls itself: 6.1.0-40-cloud-amd64.
    pub fn release(self) -> Result<String> {
        let package = self.package(false)?;
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        let name = name.split('_').next().unwrap_or_default();
        let release = ["linux-image-", "linux-binary-"].iter().find_map(|prefix| name.strip_prefix(prefix));
        release.map(str::to_owned).with_context(|| format!("{name} tells no release"))
    }

    /// The bootable image in an unpacked package.
    pub fn image(package: &Path) -> Result<PathBuf> {
        find(package, "vmlinuz").with_context(|| format!("no vmlinuz in {}", package.display()))
    }

    /// A module of an unpacked package, ready to be loaded; `None` where the package has none of that name.
    pub fn module(package: &Path, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(file) = find(package, &format!("{name}.ko")) else { return Ok(None) };
        if file.extension().is_none_or(|extension| extension != "xz") {
            return fs::read(&file).map(Some).with_context(|| format!("cannot read {}", file.display()));
        }
        let out =
            Command::new("xz").args(["--decompress", "--stdout"]).arg(&file).output().context("cannot start xz")?;
        ensure!(out.status.success(), "xz could not unpack {}", file.display());
        Ok(Some(out.stdout))
    }

    fn fetch(self, cache: &Path) -> Result<PathBuf> {
        eprintln!("xtask: fetching kernel {} ({})", self.name, self.suite);
        let work = tempfile::tempdir().context("no temporary folder")?;
        let apt = Apt::new(&[self.suite], self.arch.debian(), work.path())?;
        let version = self.name.split('-').next().unwrap_or(self.name).replace('.', r"\.");
        let pattern = format!(r"^linux-(image|binary)-{version}[.+~-].*-cloud-{}$", self.arch.debian());
        let mut names = apt.search(&pattern)?;
        // Up to 6.12 the image is in linux-image-*, later in linux-binary-*, of which linux-image-* is then a shell.
        if names.iter().any(|name| name.starts_with("linux-binary-")) {
            names.retain(|name| name.starts_with("linux-binary-"));
        }
        let name =
            names.into_iter().max_by_key(|name| numbers(name)).with_context(|| format!("no package {pattern}"))?;
        let mut wanted = vec![name.clone()];
        // From 7.x on the modules are a package of their own.
        let modules = name.replace("linux-binary-", "linux-modules-");
        if modules != name && !apt.search(&format!("^{}$", modules.replace('+', r"\+")))?.is_empty() {
            wanted.push(modules);
        }
        fs::create_dir_all(cache)?;
        let staging = tempfile::tempdir_in(cache)?;
        let packages = apt.unpack(&wanted, staging.path())?;
        // The file's name has package and version: a newer one gets a folder of its own.
        let own = packages.iter().find(|file| file.file_name().is_some_and(|f| f.to_string_lossy().starts_with(&name)));
        let key = own.and_then(|file| file.file_stem()).context("apt-get download left no package")?;
        ensure!(find(staging.path(), "vmlinuz").is_some(), "{name} has no vmlinuz");
        for old in fs::read_dir(cache)?.flatten().filter(|entry| entry.path() != staging.path()) {
            fs::remove_dir_all(old.path())?;
        }
        let kept = cache.join(key);
        fs::rename(staging.keep(), &kept)?;
        Ok(kept)
    }
}

/// The architecture of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    /// As Debian calls it.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }
}

/// The numbers in a name, to compare versions by: 6.1.0-40 is after 6.1.0-9.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The first file below `dir` whose name starts with `prefix`.
pub fn find(dir: &Path, prefix: &str) -> Option<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(dir).ok()?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    let file = entries.iter().find(|entry| {
        entry.file_name().to_string_lossy().starts_with(prefix) && entry.file_type().is_ok_and(|kind| kind.is_file())
    });
    file.map(fs::DirEntry::path).or_else(|| {
        let dirs = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.into_iter().find_map(|entry| find(&entry.path(), prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_abi_is_the_newer_kernel() {
        let names =
            ["linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-40-cloud-amd64", "linux-image-6.1.0-31-cloud-amd64"];
        assert_eq!(names.into_iter().max_by_key(|name| numbers(name)), Some(names[1]));
    }

    #[test]
    fn an_unknown_kernel_is_told_with_those_there_are() {
        assert!(Kernel::named("4.9").unwrap_err().to_string().contains("5.10, 6.1"));
    }
}
