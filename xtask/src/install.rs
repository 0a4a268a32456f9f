//! Installing what a command needs where it may (Debian, as root or through sudo), else saying how.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::cmd;

/// The version of bpf-linker that the probe is linked with.
const BPF_LINKER: &str = "0.13.0";

/// Debian's packages with a Rust that can build for BPF: it has the sources of `core`, rustup's stable has not.
const RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Makes sure that the Debian packages are there. Does nothing for those that are.
pub fn packages(names: &[&str]) -> Result<()> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("install them: apt-get install {}", missing.join(" "));
    if !cmd::have("apt-get") {
        bail!("{} are needed and this is no Debian: {by_hand} (or what your system calls them)", missing.join(", "));
    }
    static UPDATED: AtomicBool = AtomicBool::new(false);
    if !UPDATED.swap(true, Ordering::Relaxed) {
        cmd::run(cmd::as_root("apt-get").args(["-qq", "update"])).with_context(|| by_hand.clone())?;
    }
    eprintln!("xtask: installing {}", missing.join(" "));
    cmd::run(
        cmd::as_root("env")
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "install", "-y"])
            .arg("--no-install-recommends")
            .args(&missing),
    )
    .context(by_hand)
}

fn installed(package: &str) -> bool {
    cmd::output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

/// Makes sure that there is a Rust with the sources of `core`.
pub fn rust_for_bpf() -> Result<()> {
    packages(&RUST).context("or a rustup nightly with sources: rustup toolchain install nightly --component rust-src")
}

/// Makes sure that bpf-linker is there, building it if it is not (about two minutes).
pub fn bpf_linker() -> Result<()> {
    if cmd::have("bpf-linker") {
        return Ok(());
    }
    packages(&["llvm-22-dev", "zlib1g-dev", "libzstd-dev", "gcc", "libc6-dev"])?;
    eprintln!("xtask: building bpf-linker {BPF_LINKER}, about two minutes");
    // Without LLVM_PREFIX it links against whatever llvm-config comes first, and fails to.
    cmd::run(
        Command::new("cargo").env("LLVM_PREFIX", "/usr/lib/llvm-22").args(["install", "--quiet", "bpf-linker"]).args([
            "--version",
            BPF_LINKER,
            "--no-default-features",
            "--features",
            "llvm-22",
        ]),
    )
}

/// Makes sure that a tool from crates.io is there. Only its answer matters: without optimisation it is there in half
/// the time.
pub fn cargo_tool(name: &str, version: &str) -> Result<()> {
    if cmd::have(name) {
        return Ok(());
    }
    eprintln!("xtask: building {name} {version}, about a minute");
    cmd::run(Command::new("cargo").args([
        "install",
        "--quiet",
        "--locked",
        name,
        "--version",
        version,
        "--profile",
        "dev",
    ]))
}
