//! Debian packages, fetched from the machine's own mirror, checked by apt against Debian's keys, and unpacked: neither
//! installed nor in the way of what is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cmd;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where what was fetched is kept, in a folder of that name. It stays when the build folder goes: it is large and changes
/// rarely.
pub fn cache_dir(name: &str) -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor a home directory")?;
    Ok(base.join("opentop").join(name))
}

/// apt with lists of its own: the machine's own lists are neither read nor changed, and no root is needed.
pub struct Apt {
    options: Vec<String>,
    download: PathBuf,
}

impl Apt {
    /// For packages of the architecture `arch` (as Debian calls it) of `suites`. `work` is an empty folder for its files.
    pub fn new(suites: &[&str], arch: &str, work: &Path) -> Result<Self> {
        let signed = if Path::new(KEYRING).exists() { format!(" signed-by={KEYRING}") } else { String::new() };
        // Beside the folder of the lists, not in it: apt clears that of what it does not know.
        let sources = work.join("sources.list");
        let mut lines = String::new();
        for suite in suites {
            let mirror = mirror(suite.ends_with("-security"))?;
            lines.push_str(&format!("deb [arch={arch}{signed}] {mirror} {suite} main\n"));
        }
        fs::write(&sources, lines)?;
        for dir in ["lists/partial", "cache/archives/partial", "download"] {
            fs::create_dir_all(work.join(dir))?;
        }
        // As if nothing were installed: what is may be of another release than what is fetched.
        fs::write(work.join("status"), "")?;
        let download = work.join("download");
        let work = work.display();
        let mut options = vec![
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".into(),
            "Dir::Etc::preferencesparts=-".into(),
            format!("Dir::State::lists={work}/lists"),
            format!("Dir::State::status={work}/status"),
            format!("Dir::Cache={work}/cache"),
            format!("APT::Architecture={arch}"),
            format!("APT::Architectures={arch}"),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
        ];
        if nix::unistd::Uid::effective().is_root() {
            // apt would drop to a user who may not enter the temporary folder.
            options.push("APT::Sandbox::User=root".into());
        }
        let apt = Self { options, download };
        cmd::output(apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    /// The names of packages that match.
    pub fn search(&self, pattern: &str) -> Result<Vec<String>> {
        let found = cmd::output(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// Packages and all they depend on.
    pub fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let mut depends = self.command("apt-cache");
        depends.args(["depends", "--recurse"]);
        for relation in ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"] {
            depends.arg(format!("--no-{relation}"));
        }
        // Relations are indented; a package that is only provided by others stands in angle brackets.
        let listed = cmd::output(depends.args(packages))?;
        let names = listed.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()));
        Ok(names.map(str::to_owned).collect())
    }

    /// Unpacks packages (`name` or `name=version`) into a folder. Their files come back, named after package and version.
    pub fn unpack(&self, packages: &[String], into: &Path) -> Result<Vec<PathBuf>> {
        cmd::output(self.command("apt-get").args(["-qq", "download"]).args(packages).current_dir(&self.download))?;
        let files: Vec<_> = fs::read_dir(&self.download)?.flatten().map(|entry| entry.path()).collect();
        for file in &files {
            cmd::run(Command::new("dpkg").arg("-x").arg(file).arg(into))?;
        }
        Ok(files)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.options.iter().flat_map(|option| ["-o", option]));
        command
    }
}

/// The mirror that this machine uses for Debian, or for Debian's security updates.
pub fn mirror(security: bool) -> Result<String> {
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
        bail!("no apt-get here, and what is to be fetched are Debian's packages");
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
