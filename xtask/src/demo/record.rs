//! Takes the sample: a virtual machine in which a project is built by make and a C compiler, a service looks for its
//! configuration in vain, and something opens the same few files all the time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::install;
use crate::kernels::{self, Kernel};
use crate::machine::{self, Echo, Machine, Programs};

/// Most bytes of the sample: it is embedded in the program.
const MOST: usize = 200_000;

/// What tcc needs of this machine, in the places where it looks.
const COMPILER: [&str; 12] = [
    "/usr/lib/x86_64-linux-gnu/tcc",
    "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-gnu/crt1.o",
    "/usr/lib/x86_64-linux-gnu/crti.o",
    "/usr/lib/x86_64-linux-gnu/crtn.o",
    "/usr/lib/x86_64-linux-gnu/libc.so",
    "/usr/lib/x86_64-linux-gnu/libc_nonshared.a",
    "/usr/include/x86_64-linux-gnu/bits",
    "/usr/include/x86_64-linux-gnu/sys",
    "/usr/include/x86_64-linux-gnu/gnu",
    "/usr/include/x86_64-linux-gnu/asm",
    "/usr/include/asm-generic",
];

/// Headers of the C library that the project includes, and what those include.
const HEADERS: [&str; 22] = [
    "alloca.h",
    "assert.h",
    "ctype.h",
    "dirent.h",
    "endian.h",
    "errno.h",
    "fcntl.h",
    "features.h",
    "features-time64.h",
    "inttypes.h",
    "limits.h",
    "linux/errno.h",
    "linux/limits.h",
    "linux/stat.h",
    "linux/types.h",
    "stdc-predef.h",
    "stdint.h",
    "stdio.h",
    "stdlib.h",
    "string.h",
    "strings.h",
    "time.h",
];

/// What happens in the machine.
const STORY: &str = include_str!("story.sh");

/// Boots, lets it happen, and gives the recording.
pub(super) fn sample() -> Result<Vec<u8>> {
    install::packages(&["tcc", "make", "libc6-dev"])?;
    let kernel = Kernel::named(kernels::DEFAULT)?;
    machine::install(kernel.arch)?;
    let headers = HEADERS.iter().chain(&["unistd.h"]).map(|name| Path::new("/usr/include").join(name));
    let machine = Machine {
        add: ["/usr/bin/tcc", "/usr/bin/make"].map(PathBuf::from).to_vec(),
        keep: COMPILER.iter().map(PathBuf::from).chain(headers.filter(|path| path.exists())).collect(),
        ..Machine::new(Programs::build(kernel.arch, false)?)
    };
    let outcome = machine.run(kernel, STORY, Duration::from_secs(300), Echo::Live)?;
    ensure!(outcome.status == 0, "the story ended with {}", outcome.status);
    let work = tempfile::tempdir()?;
    outcome.unpack(work.path())?;
    let bytes = std::fs::read(work.path().join("sample.otop")).context("no recording came out")?;
    ensure!(bytes.len() <= MOST, "the sample has {} bytes, more than {MOST}", bytes.len());
    Ok(bytes)
}
