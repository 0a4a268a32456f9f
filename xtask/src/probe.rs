//! `cargo xtask probe`: builds the kernel side and puts its bytes under assets/, where the program embeds them;
//! `--check` says whether the bytes there are those of the sources beside them.
//!
//! The same sources and the same toolchain give the same bytes wherever the repository lies: paths are remapped,
//! debug info is dropped (BTF stays: the kernel reads it).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use object::build::elf::{Builder, SectionData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{cmd, install, remap};

/// What the probe is built from, relative to the repository.
const SOURCES: [&str; 5] =
    ["probe-ebpf/src", "probe-ebpf/Cargo.toml", "probe-ebpf/Cargo.lock", "probe-common/src", "probe-common/Cargo.toml"];
const RECORD: &str = "assets/opentop-probe.json";

/// The architectures of the kernels that there is an object for, as Rust calls them, with its place. BPF is the same on
/// each; where a kprobe finds its arguments and what a system call's number is are not.
const OBJECTS: [(&str, &str); 2] =
    [("x86_64", "assets/opentop-probe.bpf.o"), ("aarch64", "assets/opentop-probe.aarch64.bpf.o")];

/// What rustc is told, beside the paths to remap.
fn flags(arch: &str) -> [String; 3] {
    [
        // aya-ebpf's bindings of pt_regs and our own `arch` are chosen by this.
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // BTF is made from the debug info.
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
    ]
}

/// Build the probe.
#[derive(clap::Args)]
pub struct Args {
    /// Change nothing: fail when the bytes under assets/ are not those of the sources. Rebuilds and compares
    /// where the toolchain that made them is installed.
    #[arg(long)]
    check: bool,
    /// Install nothing and ask no registry.
    #[arg(long)]
    offline: bool,
}

/// What is known about the committed object: `assets/opentop-probe.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    /// SHA-256 over the names and contents of the sources.
    sources: String,
    /// SHA-256 of each object.
    objects: BTreeMap<String, String>,
    toolchain: Versions,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Versions {
    rustc: String,
    bpf_linker: String,
}

pub fn main(args: &Args) -> Result<()> {
    if args.check { check(args.offline) } else { build(args.offline) }
}

fn build(offline: bool) -> Result<()> {
    let toolchain = Toolchain::find_or_install(offline)?;
    let root = cmd::root();
    fs::create_dir_all(root.join("assets"))?;
    let mut objects = BTreeMap::new();
    for ((_, place), object) in OBJECTS.into_iter().zip(toolchain.build_all(offline)?) {
        write_if_changed(&root.join(place), &object)?;
        eprintln!("xtask: {place}: {} bytes, sha256 {}", object.len(), sha256(&object));
        objects.insert(place.to_owned(), sha256(&object));
    }
    let record = Record { sources: hash_sources()?, objects, toolchain: toolchain.versions()? };
    write_if_changed(&root.join(RECORD), format!("{}\n", serde_json::to_string_pretty(&record)?).as_bytes())
}

fn check(offline: bool) -> Result<()> {
    const ADVICE: &str = "run `cargo xtask probe` and commit assets/";
    let root = cmd::root();
    let record = fs::read_to_string(root.join(RECORD)).with_context(|| format!("cannot read {RECORD}: {ADVICE}"))?;
    let record: Record = serde_json::from_str(&record).with_context(|| format!("{RECORD} is damaged: {ADVICE}"))?;
    ensure!(record.sources == hash_sources()?, "the probe is stale, its sources have changed since: {ADVICE}");
    let mut objects = Vec::new();
    for (_, place) in OBJECTS {
        let object = fs::read(root.join(place)).with_context(|| format!("cannot read {place}: {ADVICE}"))?;
        let told = record.objects.get(place);
        ensure!(told == Some(&sha256(&object)), "{place} is not the object that {RECORD} tells of: {ADVICE}");
        objects.push(object);
    }

    // Continuous integration has the toolchain, or gets it: there, a comparison left out would be a check left out.
    let toolchain = if cmd::ci() { Some(Toolchain::find_or_install(offline)?) } else { Toolchain::find() };
    match toolchain {
        None => eprintln!("xtask: the probe matches its sources (not rebuilt: no eBPF toolchain here)"),
        Some(toolchain) => {
            let versions = toolchain.versions()?;
            if versions == record.toolchain {
                let built = toolchain.build_all(offline)?;
                for (((_, place), object), built) in OBJECTS.into_iter().zip(objects).zip(built) {
                    ensure!(built == object, "{place} is not what its sources give: {ADVICE}");
                    eprintln!("xtask: {place} matches its sources; rebuilt, the same {} bytes", object.len());
                }
            } else {
                eprintln!(
                    "xtask: the probe matches its sources (bytes not compared: here {versions:?}, it was made with {:?})",
                    record.toolchain
                );
            }
        }
    }
    Ok(())
}

/// A Rust that can build `core` for BPF.
struct Toolchain {
    /// What comes before `cargo`'s arguments and before `rustc`'s.
    cargo: Vec<String>,
    rustc: Vec<String>,
    /// Whether nightly's options have to be unlocked.
    bootstrap: bool,
}

impl Toolchain {
    fn find() -> Option<Self> {
        if !cmd::have("bpf-linker") {
            return None;
        }
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let debian = Self { cargo: words(&["/usr/bin/cargo"]), rustc: words(&["/usr/bin/rustc"]), bootstrap: true };
        let nightly = Self {
            cargo: words(&["rustup", "run", "nightly", "cargo"]),
            rustc: words(&["rustup", "run", "nightly", "rustc"]),
            bootstrap: false,
        };
        // Debian's has one version for everybody, so it gives the committed bytes; any nightly gives a working probe.
        [debian, nightly].into_iter().find(|toolchain| {
            toolchain
                .sysroot()
                .is_ok_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists())
        })
    }

    fn find_or_install(offline: bool) -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        if offline {
            bail!("no Rust with the sources of core, or no bpf-linker: run this without --offline to install them");
        }
        install::rust_for_bpf()?;
        install::bpf_linker()?;
        Self::find().context("the Rust just installed has no sources of core, or bpf-linker is not on the PATH")
    }

    fn rustc(&self, args: &[&str]) -> Result<String> {
        let mut words = self.rustc.iter();
        cmd::output(Command::new(words.next().context("no rustc")?).args(words).args(args))
    }

    fn sysroot(&self) -> Result<PathBuf> {
        Ok(self.rustc(&["--print", "sysroot"])?.into())
    }

    fn versions(&self) -> Result<Versions> {
        let linker = cmd::which("bpf-linker").context("bpf-linker is gone")?;
        Ok(Versions {
            rustc: self.rustc(&["--version"])?,
            bpf_linker: cmd::output(Command::new(linker).arg("--version"))?,
        })
    }

    /// cargo, in `dir`, with bpf-linker on the PATH.
    fn cargo(&self, dir: &Path) -> Result<Command> {
        let mut words = self.cargo.iter();
        let mut command = Command::new(words.next().context("no cargo")?);
        command.args(words).current_dir(dir);
        // Set by the cargo that runs us (or by a person for it), and would send this one to the wrong compiler.
        for name in ["CARGO", "RUSTC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(name);
        }
        if self.bootstrap {
            command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", self.rustc.first().context("no rustc")?);
        }
        if let Some(linker) = cmd::which("bpf-linker").as_deref().and_then(Path::parent) {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let dirs = std::iter::once(linker.to_path_buf()).chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(dirs)?);
        }
        Ok(command)
    }

    /// Builds the objects of [`OBJECTS`], side by side: most of each is one thread's link.
    fn build_all(&self, offline: bool) -> Result<Vec<Vec<u8>>> {
        if !offline {
            // Before the paths to remap are listed: the registry's folder is named after where it is reached.
            cmd::run(self.cargo(&cmd::root().join("probe-ebpf"))?.args(["fetch", "--quiet", "--locked"]))?;
        }
        thread::scope(|scope| {
            let builds: Vec<_> = OBJECTS.iter().map(|(arch, _)| scope.spawn(|| self.build(arch, offline))).collect();
            let join = |build: thread::ScopedJoinHandle<'_, _>| build.join().unwrap_or_else(|_| bail!("panicked"));
            builds.into_iter().map(join).collect()
        })
    }

    /// Builds the probe for kernels of an architecture and returns the object, without debug info.
    fn build(&self, arch: &str, offline: bool) -> Result<Vec<u8>> {
        let root = cmd::root();
        let crate_dir = root.join("probe-ebpf");
        let remap = remap::flags(&root, &self.sysroot()?)?;
        // Cargo does not know what the wrapper adds: what was built with other flags would pass for fresh.
        let flags = flags(arch);
        let key = sha256(format!("{flags:?} {remap:?}").as_bytes());
        let target = crate_dir.join("target").join(key.get(..12).unwrap_or_default());
        let mut command = self.cargo(&crate_dir)?;
        command
            .args([
                "build",
                "--quiet",
                "--locked",
                "--release",
                "-Z",
                "build-std=core",
                "--target",
                "bpfel-unknown-none",
            ])
            .args(offline.then_some("--offline"))
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        remap::apply(&mut command, &remap)?;
        cmd::run(&mut command)?;
        let built = target.join("bpfel-unknown-none/release/opentop-probe");
        let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
        strip(&bytes).context("cannot strip the probe")
    }
}

/// Drops the debug info, keeps BTF. Done here rather than by llvm-strip: whichever version of that there is would
/// decide the bytes.
fn strip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(bytes)?;
    for section in &mut elf.sections {
        section.delete |= section.name.starts_with(b".debug") || section.name.starts_with(b".rel.debug");
    }
    elf.delete_orphans();
    // LLVM keeps the sections' names among the symbols' names; the writer wants a table of their own.
    if !elf.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = elf.sections.add();
        names.name = b".shstrtab"[..].into();
        names.sh_type = object::elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    elf.write(&mut stripped)?;
    Ok(stripped)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_sources() -> Result<String> {
    let root = cmd::root();
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for (arch, _) in OBJECTS {
        hash.update(flags(arch).join(" "));
    }
    for file in files {
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(&root)?.to_string_lossy().into_owned();
        hash.update(format!("{name}\0{}\0", content.len()));
        hash.update(content);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// Leaves the file's time alone when nothing changed, so that cargo does not rebuild what embeds it.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
