//! The kernels of the virtual-machine tests: Debian's cloud images, fetched from the machine's own mirror, checked
//! by apt against Debian's keys, and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cmd;

/// A kernel of the matrix: its version and the suite that has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernel {
    /// The version's beginning, and the name by which it is asked for.
    pub name: &'static str,
    suite: &'static str,
}

/// The oldest that has what the probe needs, what Debian's releases run, and the two newest.
pub const MATRIX: [Kernel; 5] = [
    Kernel { name: "5.10", suite: "bullseye-security" },
    Kernel { name: "6.1", suite: "bookworm" },
    Kernel { name: "6.12", suite: "bookworm-security" },
    Kernel { name: "7.2", suite: "sid" },
    Kernel { name: "7.3", suite: "trixie-backports" },
];

/// The kernel that a command uses when none is asked for.
pub const DEFAULT: &str = "6.1";

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

impl Kernel {
    /// The kernel called `name`.
    pub fn named(name: &str) -> Result<Self> {
        let names = MATRIX.map(|kernel| kernel.name).join(", ");
        MATRIX
            .into_iter()
            .find(|kernel| kernel.name == name)
            .with_context(|| format!("no kernel {name}: there are {names}"))
    }

    /// Where its unpacked package is; fetched when it is not there yet, or when `update` asks for the newest.
    pub fn package(self, update: bool) -> Result<PathBuf> {
        let cache = cache_dir()?.join(self.name);
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
        let work = tempfile::tempdir().context("no temporary folder")?;
        let apt = Apt::for_suite(self.suite, work.path())?;
        eprintln!("xtask: fetching kernel {} ({})", self.name, self.suite);
        cmd::output(apt.command("apt-get").args(["-qq", "update"]))?;
        let pattern = format!(r"^linux-(image|binary)-{}[.+~-].*-cloud-amd64$", self.name.replace('.', r"\."));
        let found = cmd::output(apt.command("apt-cache").args(["search", "--names-only", &pattern]))?;
        let mut names: Vec<&str> = found.lines().filter_map(|line| line.split(' ').next()).collect();
        // Up to 6.12 the image is in linux-image-*, later in linux-binary-*, of which linux-image-* is then a shell.
        if names.iter().any(|name| name.starts_with("linux-binary-")) {
            names.retain(|name| name.starts_with("linux-binary-"));
        }
        let name =
            names.into_iter().max_by_key(|name| numbers(name)).with_context(|| format!("no package {pattern}"))?;

        let download = work.path().join("download");
        fs::create_dir_all(&download)?;
        let mut wanted = vec![name.to_owned()];
        // From 7.x on the modules are a package of their own.
        let modules = name.replace("linux-binary-", "linux-modules-");
        if modules != name
            && !cmd::output(apt.command("apt-cache").args([
                "search",
                "--names-only",
                &format!("^{}$", modules.replace('+', r"\+")),
            ]))?
            .is_empty()
        {
            wanted.push(modules);
        }
        cmd::output(apt.command("apt-get").args(["-qq", "download"]).args(&wanted).current_dir(&download))?;
        fs::create_dir_all(cache)?;
        let staging = tempfile::tempdir_in(cache)?;
        let mut key = None;
        for package in fs::read_dir(&download)?.flatten().map(|entry| entry.path()) {
            cmd::run(Command::new("dpkg").arg("-x").arg(&package).arg(staging.path()))?;
            // The file's name has package and version: a newer one gets a folder of its own.
            if package.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)) {
                key = package.file_stem().map(std::ffi::OsStr::to_owned);
            }
        }
        let key = key.context("apt-get download left no package")?;
        ensure!(find(staging.path(), "vmlinuz").is_some(), "{name} has no vmlinuz");
        for old in fs::read_dir(cache)?.flatten().filter(|entry| entry.path() != staging.path()) {
            fs::remove_dir_all(old.path())?;
        }
        let kept = cache.join(key);
        fs::rename(staging.keep(), &kept)?;
        Ok(kept)
    }
}

/// Kernels stay when the build folder goes: they are 50 MB each and change rarely.
fn cache_dir() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor a home directory")?;
    Ok(base.join("opentop/kernels"))
}

/// apt with lists of its own: the machine's own lists are neither read nor changed, and no root is needed.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn for_suite(suite: &str, work: &Path) -> Result<Self> {
        let mirror = mirror(suite.ends_with("-security"))?;
        let signed = if Path::new(KEYRING).exists() { format!(" signed-by={KEYRING}") } else { String::new() };
        // Beside the folder of the lists, not in it: apt clears that of what it does not know.
        let sources = work.join("sources.list");
        fs::write(&sources, format!("deb [arch=amd64{signed}] {mirror} {suite} main\n"))?;
        for dir in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(work.join(dir))?;
        }
        let work = work.display();
        let mut options = vec![
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".into(),
            "Dir::Etc::preferencesparts=-".into(),
            format!("Dir::State::lists={work}/lists"),
            format!("Dir::Cache={work}/cache"),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
        ];
        if nix::unistd::Uid::effective().is_root() {
            // apt would drop to a user who may not enter the temporary folder.
            options.push("APT::Sandbox::User=root".into());
        }
        Ok(Self { options })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.options.iter().flat_map(|option| ["-o", option]));
        command
    }
}

/// The mirror that this machine uses for Debian, or for Debian's security updates.
fn mirror(security: bool) -> Result<String> {
    let label = if security { "Label: Debian-Security" } else { "Label: Debian" };
    let list = |label| {
        cmd::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
            label,
        ]))
    };
    if !cmd::have("apt-get") {
        bail!("no apt-get here: the kernels are Debian's packages");
    }
    let mut found = list(label)?;
    if found.is_empty() {
        // The labels come with the lists.
        cmd::output(cmd::as_root("apt-get").args(["-qq", "update"]))?;
        found = list(label)?;
    }
    found.lines().next().map(str::to_owned).with_context(|| {
        format!("apt has no source with '{label}': add Debian's to /etc/apt/sources.list.d and run apt-get update")
    })
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
