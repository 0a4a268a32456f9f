//! What lies where in the archive and in the Debian package.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::cmd;

const DOCUMENTS: [&str; 4] = ["README.md", "README.zh-CN.md", "CHANGELOG.md", "SECURITY.md"];

/// The recording that comes with opentop, to try a replay with, where there is one: `sample` under assets/, whatever its ending.
fn sample(source: &Path) -> Result<Option<PathBuf>> {
    Ok(listed(&source.join("assets"))?.into_iter().find(|file| file.file_stem().is_some_and(|stem| stem == "sample")))
}

/// Fills the folder of the archive.
pub fn archive(source: &Path, tree: &Path, program: &Path, licences: &str) -> Result<()> {
    copy(program, &tree.join("opentop"), 0o755)?;
    for name in DOCUMENTS.into_iter().chain(["LICENSE-MIT", "LICENSE-APACHE"]) {
        if source.join(name).exists() {
            copy(&source.join(name), &tree.join(name), 0o644)?;
        }
    }
    write(&tree.join("THIRD-PARTY-LICENSES"), licences.as_bytes())?;
    for dir in ["docs", "assets/man", "assets/completions"] {
        for file in listed(&source.join(dir))? {
            copy(&file, &tree.join(dir.trim_start_matches("assets/")).join(super::file_name(&file)?), 0o644)?;
        }
    }
    let Some(sample) = sample(source)? else { return Ok(()) };
    copy(&sample, &tree.join(super::file_name(&sample)?), 0o644)
}

/// Fills the folder of the Debian package, its control files included.
pub fn debian(source: &Path, tree: &Path, program: &Path, bill: &Path, licences: &str) -> Result<()> {
    copy(program, &tree.join("usr/bin/opentop"), 0o755)?;
    for page in listed(&source.join("assets/man"))? {
        let name = format!("{}.gz", super::file_name(&page)?.to_string_lossy());
        write(&tree.join("usr/share/man/man1").join(name), &gzipped(&fs::read(&page)?)?)?;
    }
    for (name, place) in [
        ("opentop", "usr/share/bash-completion/completions"),
        ("_opentop", "usr/share/zsh/vendor-completions"),
        ("opentop.fish", "usr/share/fish/vendor_completions.d"),
    ] {
        copy(&source.join("assets/completions").join(name), &tree.join(place).join(name), 0o644)?;
    }
    let doc = tree.join("usr/share/doc/opentop");
    write(&doc.join("copyright"), copyright(source)?.as_bytes())?;
    write(&doc.join("README.Debian"), README_DEBIAN.as_bytes())?;
    write(&doc.join("changelog.gz"), &gzipped(&fs::read(source.join("CHANGELOG.md"))?)?)?;
    write(&doc.join("README.md.gz"), &gzipped(&fs::read(source.join("README.md"))?)?)?;
    write(&doc.join("THIRD-PARTY-LICENSES.gz"), &gzipped(licences.as_bytes())?)?;
    write(&doc.join("opentop.cdx.json.gz"), &gzipped(&fs::read(bill)?)?)?;
    for file in listed(&source.join("docs"))? {
        copy(&file, &doc.join("docs").join(super::file_name(&file)?), 0o644)?;
    }
    if let Some(sample) = sample(source)? {
        copy(&sample, &doc.join("examples").join(super::file_name(&sample)?), 0o644)?;
    }

    let (mut size, mut sums) = (0, String::new());
    let mut files = Vec::new();
    below(tree, &mut files)?;
    files.sort();
    for file in files {
        size += fs::metadata(&file)?.len().div_ceil(1024);
        let sum = cmd::output(Command::new("md5sum").stdin(Stdio::null()).arg(&file))?;
        let name = file.strip_prefix(tree)?.display().to_string();
        sums.push_str(&format!("{}  {name}\n", sum.split(' ').next().context("md5sum gave no sum")?));
    }
    write(&tree.join("DEBIAN/md5sums"), sums.as_bytes())?;
    write(&tree.join("DEBIAN/control"), control(size, &dependencies(program)?)?.as_bytes())
}

fn control(size: u64, dependencies: &str) -> Result<String> {
    Ok(format!(
        "Package: opentop\n\
         Version: {}\n\
         Section: admin\n\
         Priority: optional\n\
         Architecture: {}\n\
         Depends: {dependencies}\n\
         Installed-Size: {size}\n\
         Maintainer: The opentop authors <opentop@users.noreply.github.com>\n\
         Homepage: {}\n\
         Description: live view of every file that every process opens\n \
         A probe in the kernel sees each open enter and return. opentop shows who\n \
         opens what, how often, how fast and what fails: in a dashboard, as lines\n \
         (text, JSON, CSV), as an exact table, and from recordings.\n",
        env!("CARGO_PKG_VERSION"),
        debian_arch()?,
        env!("CARGO_PKG_REPOSITORY"),
    ))
}

const README_DEBIAN: &str = "\
opentop for Debian
==================

A capture needs root (`sudo opentop`), or three capabilities on the program's file. The package does not set them, since
whoever may run the program could then see every file name that is opened on the machine. To allow it to everybody:

    setcap cap_bpf,cap_perfmon,cap_dac_read_search=ep /usr/bin/opentop

or to one group only:

    chgrp adm /usr/bin/opentop && chmod 750 /usr/bin/opentop
    setcap cap_bpf,cap_perfmon,cap_dac_read_search=ep /usr/bin/opentop

An upgrade of the package takes them away again. To have the group survive it, use dpkg-statoverride.

`opentop doctor` tells what this kernel and these privileges allow. A replay (`opentop -r FILE`) needs none.
";

/// In the machine-readable form of Debian.
fn copyright(source: &Path) -> Result<String> {
    let mit = fs::read_to_string(source.join("LICENSE-MIT"))?;
    let holder = mit.lines().find(|line| line.starts_with("Copyright")).context("LICENSE-MIT names no holder")?;
    let holder = holder.trim_start_matches("Copyright").trim_start_matches(" (c)").trim();
    let indented = |text: &str| {
        let lines = text.lines().map(|line| if line.trim().is_empty() { " .".to_owned() } else { format!(" {line}") });
        lines.collect::<Vec<_>>().join("\n")
    };
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: opentop\n\
         Source: {}\n\
         Comment: The crates that are linked in have licences of their own: THIRD-PARTY-LICENSES.gz.\n\
         \n\
         Files: *\n\
         Copyright: {holder}\n\
         License: MIT or Apache-2.0\n\
         \n\
         Files: probe-ebpf/*\n\
         Copyright: {holder}\n\
         License: MIT or GPL-2\n\
         Comment: compiled into the program.\n\
         \n\
         License: MIT\n{}\n\
         \n\
         License: Apache-2.0\n On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.\n\
         \n\
         License: GPL-2\n On Debian systems its text is in /usr/share/common-licenses/GPL-2.\n",
        env!("CARGO_PKG_REPOSITORY"),
        indented(&mit)
    ))
}

/// The packages whose libraries the program loads, with the versions that have what it uses.
fn dependencies(program: &Path) -> Result<String> {
    let work = tempfile::tempdir()?;
    // dpkg-shlibdeps wants to be in a source package.
    write(&work.path().join("debian/control"), b"Source: opentop\n\nPackage: opentop\nArchitecture: any\n")?;
    let said = cmd::output(
        Command::new("dpkg-shlibdeps").current_dir(work.path()).args(["-O", "--ignore-missing-info"]).arg(program),
    )?;
    said.lines()
        .find_map(|line| line.strip_prefix("shlibs:Depends="))
        .map(str::to_owned)
        .context("dpkg-shlibdeps found no dependency")
}

/// What Debian calls this machine.
pub fn debian_arch() -> Result<String> {
    cmd::output(Command::new("dpkg").arg("--print-architecture"))
}

/// Makes a folder and all in it look as made by nobody in particular: that time, and folders that everybody may enter.
pub fn settle(tree: &Path, epoch: u64) -> Result<()> {
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch);
    for entry in fs::read_dir(tree)? {
        let path = entry?.path();
        if path.is_dir() { settle(&path, epoch)? } else { File::open(&path)?.set_modified(time)? }
    }
    Ok(File::open(tree)?.set_modified(time)?)
}

/// The files in a folder, in order.
fn listed(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn below(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn gzipped(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut from = tempfile::tempfile()?;
    from.write_all(bytes)?;
    std::io::Seek::rewind(&mut from)?;
    let out = Command::new("gzip").args(["-9n", "--stdout"]).stdin(from).output().context("cannot start gzip")?;
    ensure!(out.status.success(), "gzip failed: {}", String::from_utf8_lossy(&out.stderr));
    Ok(out.stdout)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    write(to, &content)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(mode))?)
}

/// Writes a file that everybody may read, whatever the umask.
fn write(to: &Path, content: &[u8]) -> Result<()> {
    fs::create_dir_all(to.parent().context("no folder above")?)?;
    fs::write(to, content).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o644))?)
}
