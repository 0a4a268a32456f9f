//! What is in a virtual machine: busybox, the programs under test, the libraries they load, and an init.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cross;
use crate::initramfs::Initramfs;
use crate::kernels::{Arch, Kernel};
use crate::machine::{Machine, quoted};

/// The root as an archive; `main` is what init does.
pub fn root(machine: &Machine, kernel: Kernel, package: &Path, main: &str) -> Result<Vec<u8>> {
    let mut root = Initramfs::default();
    match kernel.arch {
        Arch::X86_64 => root.program("/bin/busybox", Path::new(BUSYBOX))?,
        Arch::Aarch64 => {
            root.program("/bin/busybox", &cross::busybox()?)?;
            for (path, file) in cross::libraries()? {
                root.program(&path, &file)?;
            }
        }
    }
    root.link("/bin/sh", "busybox");
    for name in MODULES {
        if let Some(module) = Kernel::module(package, name)? {
            root.file(&format!("/lib/modules/{name}.ko"), 0o644, &module);
        }
    }
    match &machine.attach {
        None => root.program("/bin/opentop", &machine.programs.opentop)?,
        Some(attach) => {
            root.program("/usr/libexec/opentop", &machine.programs.opentop)?;
            root.file("/bin/opentop", 0o755, ATTACHING.replace("KIND", attach).as_bytes());
        }
    }
    root.program("/bin/truth", &machine.programs.truth)?;
    for file in &machine.add {
        let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
        root.program(&format!("/bin/{}", name.to_string_lossy()), file)?;
    }
    for path in &machine.keep {
        root.tree(path)?;
    }
    for (place, file) in &machine.place {
        let content = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        root.file(place, 0o755, &content);
    }
    for dir in [
        "/proc",
        "/sys",
        "/dev",
        "/run",
        "/out",
        "/root",
        "/mnt",
        "/home/user",
        "/var/tmp",
        "/usr/bin",
        "/sbin",
        "/usr/sbin",
    ] {
        root.dir(dir, 0o755);
    }
    root.dir("/tmp", 0o1777);
    root.file("/etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n");
    root.file("/etc/group", 0o644, b"root:x:0:\nuser:x:1000:\n");
    root.file("/etc/hostname", 0o644, b"opentop-vm\n");
    root.file("/etc/profile", 0o644, b"PS1='\\h:\\w# '\n");
    let term = std::env::var("TERM").ok().filter(|term| term != "dumb").unwrap_or_else(|| "xterm-256color".into());
    let mut environment = format!("export HOME=/root PATH=/bin:/sbin:/usr/bin:/usr/sbin TERM={}\n", quoted(&term));
    for name in ["COLORTERM", "NO_COLOR", "LANG", "RUST_BACKTRACE"] {
        if let Ok(value) = std::env::var(name) {
            environment.push_str(&format!("export {name}={}\n", quoted(&value)));
        }
    }
    root.file("/init", 0o755, format!("{INIT}{environment}{main}{POWEROFF}").as_bytes());
    Ok(root.finish())
}

/// This machine's own, linked statically.
pub const BUSYBOX: &str = "/bin/busybox";

const INIT: &str = "#!/bin/sh
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
chmod 1777 /tmp
hostname opentop-vm
ip link set lo up
for module in /lib/modules/*.ko; do insmod $module 2>/dev/null; done
";

/// Modules that the machine loads: what Debian does not compile in and tests need.
const MODULES: [&str; 1] = ["overlay"];

/// opentop with `--attach`, which goes behind a subcommand that knows it.
const ATTACHING: &str = "#!/bin/sh
case $1 in
trace | summary) sub=$1; shift; exec /usr/libexec/opentop $sub --attach KIND \"$@\" ;;
'' | -*) exec /usr/libexec/opentop --attach KIND \"$@\" ;;
*) exec /usr/libexec/opentop \"$@\" ;;
esac
";

const POWEROFF: &str = "sync
poweroff -f
";
