//! Building for arm64 on another machine: Debian's cross compiler and its C library, and a Rust with a standard library
//! for it. Debian's own Rust has one in a package of arm64, which is unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::{self, Apt};
use crate::{cmd, install};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// A C compiler and a C library. The library's files are where programs of arm64 are linked against them.
const PACKAGES: [&str; 2] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];
const LIBRARIES: &str = "/usr/aarch64-linux-gnu/lib";

/// Where [`cargo`] puts what it builds, in folders by profile.
pub fn target_dir() -> PathBuf {
    cmd::target_dir().join("cross").join(TARGET)
}

/// A cargo that builds for arm64. It has a folder of its own: it is another Rust than the one that runs us.
pub fn cargo() -> Result<Command> {
    install::packages(&PACKAGES)?;
    install::rust_for_bpf()?;
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo.current_dir(cmd::root());
    for name in ["CARGO", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    cargo
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO_TARGET_DIR", cmd::target_dir().join("cross"))
        .env("CARGO_BUILD_TARGET", TARGET)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
        .env("CC_aarch64_unknown_linux_gnu", "aarch64-linux-gnu-gcc")
        .env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
            format!("--sysroot={}", unpacked()?.join("usr").display()),
        );
    Ok(cargo)
}

/// A static busybox for arm64.
pub fn busybox() -> Result<PathBuf> {
    Ok(unpacked()?.join("bin/busybox"))
}

/// The libraries that a program of arm64 loads: where it looks for them, and where they are here.
pub fn libraries() -> Result<Vec<(String, PathBuf)>> {
    install::packages(&PACKAGES)?;
    let place = |dir: &str, name: &str| (format!("{dir}/{name}"), Path::new(LIBRARIES).join(name));
    let mut all = vec![place("/lib", "ld-linux-aarch64.so.1")];
    all.extend(["libc.so.6", "libm.so.6", "libgcc_s.so.1"].map(|name| place("/lib/aarch64-linux-gnu", name)));
    Ok(all)
}

/// The unpacked packages of arm64: Rust's standard library, of the same version as the Rust that is installed, and busybox.
fn unpacked() -> Result<PathBuf> {
    let version = cmd::output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", RUSTC]))
        .context("Debian's Rust is not installed")?;
    let cache = apt::cache_dir("arm64")?;
    let kept = cache.join(&version);
    if !kept.exists() {
        eprintln!("xtask: fetching Rust's standard library for arm64, {version}");
        fs::create_dir_all(&cache)?;
        let (work, staging) = (tempfile::tempdir()?, tempfile::tempdir_in(&cache)?);
        let apt = Apt::new(&["bookworm", "bookworm-security"], "arm64", work.path())?;
        apt.unpack(&[format!("libstd-rust-web-dev={version}"), "busybox-static".into()], staging.path())?;
        fs::rename(staging.keep(), &kept)?;
    }
    Ok(kept)
}

const RUSTC: &str = "rustc-web";
