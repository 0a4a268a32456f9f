//! That what was made is what it should be: the same bytes from another folder, and a package that runs on a Debian with
//! nothing else on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::{Build, copy_sources, file_name, files};
use crate::{apt, cmd, install};

/// Builds everything a second time, from a copy of the sources in another folder and into another one, and compares. The
/// crates from outside are compiled once: what is made of them does not depend on where this repository lies.
pub fn same_elsewhere(build: &Build, out: &Path, made: &[PathBuf]) -> Result<()> {
    let elsewhere = tempfile::Builder::new().prefix("another place ").tempdir()?;
    let (source, target) = (elsewhere.path().join("sources of opentop"), elsewhere.path().join("target"));
    copy_sources(&build.source, &source)?;
    cmd::run(Command::new("cp").args(["--archive", "--"]).arg(&build.target).arg(&target))?;
    for package in ["opentop", "probe-common"] {
        cmd::run(
            cmd::cargo()
                .current_dir(&source)
                .args(["clean", "--quiet", "--release", "--package", package])
                .env("CARGO_TARGET_DIR", &target),
        )?;
    }
    ensure!(!target.join("release/opentop").exists(), "the first build was not cleared out of {}", target.display());
    let again = Build { source, target, epoch: build.epoch }.make(&elsewhere.path().join("dist"))?;
    ensure!(again.len() == made.len(), "the second build made {} files, the first {}", again.len(), made.len());
    for (first, second) in made.iter().zip(&again) {
        ensure!(
            fs::read(first)? == fs::read(second)?,
            "{} came out otherwise in another folder: see {} and {}",
            file_name(first)?.to_string_lossy(),
            out.display(),
            elsewhere.keep().display()
        );
    }
    println!("xtask: built again in another folder: the same bytes");
    Ok(())
}

/// Installs the package in a root that has nothing but Debian's base, and runs the program there.
pub fn runs_in_a_clean_root(out: &Path) -> Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        println!("SKIPPED the package in a clean root: debootstrap needs root");
        return Ok(());
    }
    install::packages(&["debootstrap"])?;
    let root = Root::new()?;
    let package = out.join(format!("opentop_{}_{}.deb", env!("CARGO_PKG_VERSION"), files::debian_arch()?));
    fs::copy(&package, root.path().join("opentop.deb"))?;
    root.run("dpkg --install /opentop.deb")?;

    let version = root.run("opentop --version")?;
    ensure!(version == format!("opentop {}", env!("CARGO_PKG_VERSION")), "opentop --version says {version}");
    // What the machine's kernel allows is not this check's subject; that there is an answer is.
    let doctor = root.run("opentop doctor; code=$?; test $code = 0 || test $code = 69 || test $code = 77")?;
    ensure!(doctor.contains("kernel"), "opentop doctor says nothing of the kernel: {doctor}");
    root.run("gzip --test /usr/share/man/man1/opentop.1.gz && zcat /usr/share/man/man1/opentop-trace.1.gz | grep --quiet format")?;
    root.run("bash -n /usr/share/bash-completion/completions/opentop")?;
    let completed = root.run(
        ". /usr/share/bash-completion/completions/opentop; COMP_WORDS=(opentop tra); COMP_CWORD=1; _opentop opentop tra opentop; \
         echo ${COMPREPLY[*]}",
    )?;
    ensure!(completed == "trace", "bash completes `opentop tra` to `{completed}`");
    for file in [
        "/usr/share/zsh/vendor-completions/_opentop",
        "/usr/share/fish/vendor_completions.d/opentop.fish",
        "/usr/share/doc/opentop/README.Debian",
        "/usr/share/doc/opentop/copyright",
    ] {
        root.run(&format!("test -s {file}"))?;
    }
    let sample = root.run("ls /usr/share/doc/opentop/examples/sample.* 2>/dev/null || true")?;
    if sample.is_empty() {
        println!("SKIPPED a replay in the clean root: there is no sample under assets/");
    } else {
        let told =
            root.run(&format!("setpriv --reuid 1000 --clear-groups opentop trace -r {sample} 2>&1 | tail -n 1"))?;
        ensure!(told.starts_with("opentop: ") && told.contains(" opens = "), "the replay's account is `{told}`");
    }
    root.run("dpkg --purge opentop")?;
    let left =
        root.run("find / -xdev -name '*opentop*' -not -path '/proc/*' -not -name opentop.deb -not -path '/var/*'")?;
    ensure!(left.is_empty(), "removing the package leaves {left}");
    println!("xtask: installed, run and removed in a clean root");
    Ok(())
}

/// A root with Debian's base, gone when dropped.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("stable");
        let dir = tempfile::tempdir()?;
        // One with the packages as they come, kept: a second run does not fetch them again.
        let kept = apt::cache_dir("debootstrap")?;
        fs::create_dir_all(&kept)?;
        eprintln!("xtask: making a clean root of {suite}");
        let made = Command::new("debootstrap")
            .args(["--variant=minbase", &format!("--cache-dir={}", kept.display()), suite])
            .arg(dir.path())
            .arg(apt::mirror(false)?)
            .output()
            .context("cannot start debootstrap")?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stdout);
            let last: Vec<_> = said.lines().rev().take(5).collect();
            bail!("debootstrap failed: {}", last.into_iter().rev().collect::<Vec<_>>().join("; "));
        }
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a line of bash in it. /proc and /sys are there, in a mount namespace that ends with the line.
    fn run(&self, line: &str) -> Result<String> {
        const INTO: &str = "mount --bind /proc $0/proc && mount --rbind /sys $0/sys && exec chroot $0 bash -c \"$1\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", INTO]).arg(self.path()).arg(line);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8");
        cmd::output(&mut command).with_context(|| format!("in the clean root: {line}"))
    }
}
