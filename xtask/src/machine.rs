//! A virtual machine: a kernel of the matrix under qemu, with the programs under test in its root.
//!
//! A console and three serial ports: two carry the command's standard output and error, the third its exit status and
//! then a tar of what it left in /out. Nothing is mixed and nothing is re-encoded.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::kernels::{Arch, Kernel};
use crate::{cmd, cross, guest, install};

/// Makes sure that qemu for an architecture is there, a busybox, and xz.
pub fn install(arch: Arch) -> Result<()> {
    let package = match arch {
        Arch::X86_64 => "qemu-system-x86",
        Arch::Aarch64 => "qemu-system-arm",
    };
    // Modules of newer kernels are compressed; a small Debian has no xz.
    if cmd::have(qemu(arch)) && Path::new(guest::BUSYBOX).exists() && cmd::have("xz") {
        return Ok(());
    }
    install::packages(&[package, "busybox-static", "xz-utils"])
}

fn qemu(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86_64",
        Arch::Aarch64 => "qemu-system-aarch64",
    }
}

/// The programs that go into a machine.
#[derive(Clone)]
pub struct Programs {
    /// opentop itself.
    pub opentop: PathBuf,
    /// The program that opens files in every way and says which.
    pub truth: PathBuf,
}

impl Programs {
    /// Builds them: opentop for release unless `dev`.
    pub fn build(arch: Arch, dev: bool) -> Result<Self> {
        let (cargo, target): (fn() -> Result<Command>, _) = match arch {
            Arch::X86_64 => (|| Ok(cmd::cargo()), cmd::target_dir()),
            Arch::Aarch64 => (cross::cargo, cross::target_dir()),
        };
        cmd::run(cargo()?.args(["build", "--quiet", "--package", "opentop"]).args((!dev).then_some("--release")))?;
        cmd::run(cargo()?.args(["build", "--quiet", "--package", "xtask", "--bin", "truth"]))?;
        Ok(Self::below(&target, if dev { "debug" } else { "release" }))
    }

    /// The same programs as `cargo test --workspace` builds: a build of opentop alone selects other features of what
    /// it depends on, and would be a second one of nearly everything.
    pub fn for_tests() -> Result<Self> {
        cmd::run(cmd::cargo().args(["build", "--quiet", "--workspace", "--all-targets"]))?;
        Ok(Self::below(&cmd::target_dir(), "debug"))
    }

    fn below(target: &Path, profile: &str) -> Self {
        Self { opentop: target.join(profile).join("opentop"), truth: target.join("debug/truth") }
    }
}

/// A virtual machine to be booted.
pub struct Machine {
    pub programs: Programs,
    /// More files for /bin.
    pub add: Vec<PathBuf>,
    /// Files and folders of this machine that are there in the same place.
    pub keep: Vec<PathBuf>,
    /// Files that go elsewhere, each with the place; as they are, without what they load.
    pub place: Vec<(String, PathBuf)>,
    /// Whether to look for a newer package of the kernel.
    pub update: bool,
    /// MiB.
    pub memory: u32,
    /// What to put as `--attach` among the arguments of every opentop in the machine.
    pub attach: Option<String>,
}

/// What becomes of the command's output while it runs.
#[derive(Clone, Copy, PartialEq)]
pub enum Echo {
    /// Passed on as it comes.
    Live,
    /// Only kept.
    Quiet,
}

/// How a command in a machine ended.
pub struct Outcome {
    /// Its exit status.
    pub status: u8,
    /// Its standard error.
    pub stderr: String,
    /// What the kernel and init said.
    pub console: String,
    /// A tar of /out.
    tar: Vec<u8>,
}

impl Outcome {
    /// Unpacks what the command left in /out.
    pub fn unpack(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let mut tar = Command::new("tar").args(["-x", "-f", "-", "-C"]).arg(dir).stdin(Stdio::piped()).spawn()?;
        tar.stdin.take().context("tar has no standard input")?.write_all(&self.tar)?;
        ensure!(tar.wait()?.success(), "tar could not unpack /out");
        Ok(())
    }
}

impl Machine {
    /// One with these programs and nothing more.
    pub fn new(programs: Programs) -> Self {
        Self {
            programs,
            add: Vec::new(),
            keep: Vec::new(),
            place: Vec::new(),
            update: false,
            memory: 1024,
            attach: None,
        }
    }

    /// Boots, runs `script` in its shell, and powers off.
    pub fn run(&self, kernel: Kernel, script: &str, timeout: Duration, echo: Echo) -> Result<Outcome> {
        let work = tempfile::tempdir()?;
        // The console is the first of them on x86-64, and one of another kind on arm64.
        let [out, err, result] = match kernel.arch {
            Arch::X86_64 => [1, 2, 3],
            Arch::Aarch64 => [0, 1, 2],
        };
        let main = format!(
            "for port in {out} {err} {result}; do stty -F /dev/ttyS$port raw -echo; done\n\
             (cd /root; exec sh -c {} </dev/null >/dev/ttyS{out} 2>/dev/ttyS{err})\n\
             status=$?\n\
             {{ echo \"exit $status\"; tar -c -f - -C /out .; }} >/dev/ttyS{result}\n",
            quoted(script)
        );
        let mut qemu = self.qemu(kernel, work.path(), &main)?;
        let console = work.path().join("console");
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        let mut ports = Vec::new();
        for (name, live) in [("stdout", Some(Stream::Out)), ("stderr", Some(Stream::Err)), ("result", None)] {
            let fifo = work.path().join(name);
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
            match kernel.arch {
                Arch::X86_64 => qemu.arg("-serial").arg(format!("file:{}", fifo.display())),
                // The board has no more serial ports; its PCI bus has.
                Arch::Aarch64 => qemu
                    .arg("-chardev")
                    .arg(format!("file,id={name},path={}", fifo.display()))
                    .arg("-device")
                    .arg(format!("pci-serial,chardev={name}")),
            };
            ports.push(read_port(fifo, live.filter(|_| echo == Echo::Live)));
        }
        let started = Instant::now();
        let mut child = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start qemu")?;
        let ended = wait(&mut child, timeout)?;
        // A qemu that never opened its ports leaves their readers waiting: open and close them.
        for name in ["stdout", "stderr", "result"] {
            drop(File::options().write(true).custom_flags(libc::O_NONBLOCK).open(work.path().join(name)));
        }
        let mut outputs =
            ports.into_iter().map(|port| port.join().unwrap_or_else(|_| Err(io::Error::other("panicked"))));
        let mut next = || outputs.next().unwrap_or_else(|| Ok(Vec::new()));
        let (_, stderr, result) = (next()?, next()?, next()?);
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let console = String::from_utf8_lossy(&fs::read(console).unwrap_or_default()).into_owned();
        let mut said = String::new();
        if let Some(mut from) = child.stderr.take() {
            from.read_to_string(&mut said)?;
        }
        let tail =
            || console.lines().rev().take(25).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
        if !ended {
            bail!(
                "kernel {}: not done after {} s; the console's end:\n{}",
                kernel.name,
                started.elapsed().as_secs(),
                tail()
            );
        }
        let line = result.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let status =
            String::from_utf8_lossy(&result[..line]).strip_prefix("exit ").and_then(|status| status.parse().ok());
        let status = status.with_context(|| {
            format!("kernel {}: the machine ended without a result {said}; the console's end:\n{}", kernel.name, tail())
        })?;
        Ok(Outcome { status, stderr, console, tar: result[line + 1..].to_vec() })
    }

    /// qemu with the kernel and a root whose init does `main`. Where the console goes is the caller's.
    pub fn qemu(&self, kernel: Kernel, work: &Path, main: &str) -> Result<Command> {
        let package = kernel.package(self.update)?;
        let initrd = work.join("initrd");
        fs::write(&initrd, guest::root(self, kernel, &package, main)?)?;
        let console = match kernel.arch {
            Arch::X86_64 => "ttyS0",
            Arch::Aarch64 => "ttyAMA0",
        };
        let mut qemu = Command::new(qemu(kernel.arch));
        // Whoever kills us means the machine, too.
        // SAFETY: prctl is async-signal-safe, and the only call between fork and exec.
        unsafe {
            qemu.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        // Never kvm: inside another virtual machine it hangs, and tcg boots in seconds.
        qemu.args(["-accel", "tcg,thread=multi", "-smp", "2", "-nodefaults", "-no-user-config", "-no-reboot"])
            .args(match kernel.arch {
                Arch::X86_64 => &["-cpu", "max"][..],
                // Pointers signed as arm64 does it by default would take most of the time there is.
                Arch::Aarch64 => &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
            })
            .args(["-display", "none", "-m", &self.memory.to_string()])
            .arg("-kernel")
            .arg(Kernel::image(&package)?)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", &format!("console={console} panic=-1 quiet 8250.nr_uarts=4")]);
        Ok(qemu)
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Out,
    Err,
}

/// Keeps what comes out of a port, and passes it on.
fn read_port(fifo: PathBuf, live: Option<Stream>) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut from = File::open(fifo)?;
        let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(all);
            }
            all.extend_from_slice(&buffer[..read]);
            // A reader of ours that has gone away is no reason to stop the machine.
            let _ = match live {
                Some(Stream::Out) => io::stdout().write_all(&buffer[..read]).and_then(|()| io::stdout().flush()),
                Some(Stream::Err) => io::stderr().write_all(&buffer[..read]),
                None => Ok(()),
            };
        }
    })
}

/// Waits for qemu's end; kills it after `timeout`. Whether it ended by itself.
fn wait(child: &mut Child, timeout: Duration) -> Result<bool> {
    let started = Instant::now();
    while started.elapsed() < timeout {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}

/// A word as sh takes it.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
