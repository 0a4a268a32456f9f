//! `cargo xtask vm`: boots a kernel of the matrix under qemu with the current build, for a look or for a command.
//!
//! Four serial ports: ttyS0 is the console, ttyS1 and ttyS2 carry the command's standard output and error, ttyS3 its
//! exit status and then a tar of what it left in /out. Nothing is mixed and nothing is re-encoded.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::initramfs::Initramfs;
use crate::kernels::{self, Kernel};
use crate::{cmd, install};

/// Boot a kernel of the matrix with the current build.
#[derive(clap::Args)]
pub struct Args {
    /// Which kernel: 5.10, 6.1, 6.12, 7.2 or 7.3
    #[arg(long, default_value = kernels::DEFAULT)]
    kernel: String,
    /// Have opentop in the machine attach this way (puts `--attach` among its arguments)
    #[arg(long, value_parser = ["auto", "kprobe", "fentry", "tracepoint"])]
    attach: Option<String>,
    /// The dev build rather than the release build: quicker to make, slower to run
    #[arg(long)]
    dev: bool,
    /// Fetch the newest package of the kernel even if there is one
    #[arg(long)]
    update: bool,
    /// Put a program or file of this machine into /bin of the virtual one, with the libraries it loads
    #[arg(long, value_name = "FILE")]
    add: Vec<PathBuf>,
    /// Unpack what the command leaves in /out here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Give up after so many seconds (a command only)
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Memory of the machine, MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// What to run; without it, a shell on the serial console (leave it with `exit`, or with Ctrl-A x)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub fn main(args: &Args) -> Result<ExitCode> {
    install_qemu()?;
    let kernel = Kernel::named(&args.kernel)?;
    let machine = Machine {
        programs: Programs::build(args.dev)?,
        add: args.add.clone(),
        update: args.update,
        memory: args.memory,
        attach: args.attach.clone(),
    };
    if args.command.is_empty() {
        return machine.shell(kernel);
    }
    let words: Vec<_> = args.command.iter().map(|word| quoted(word)).collect();
    // One word may be a whole line of shell, as with ssh.
    let script = if let [line] = &args.command[..] { line.clone() } else { words.join(" ") };
    let outcome = machine.run(kernel, &script, Duration::from_secs(args.timeout), Echo::Live)?;
    if let Some(dir) = &args.out {
        outcome.unpack(dir)?;
    }
    Ok(ExitCode::from(outcome.status))
}

/// Makes sure that qemu and busybox are there.
pub fn install_qemu() -> Result<()> {
    if cmd::have("qemu-system-x86_64") && Path::new(BUSYBOX).exists() {
        return Ok(());
    }
    install::packages(&["qemu-system-x86", "busybox-static"])
}

const BUSYBOX: &str = "/bin/busybox";

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
    pub fn build(dev: bool) -> Result<Self> {
        let mut opentop = cmd::cargo();
        opentop.args(["build", "--quiet", "--package", "opentop"]).args((!dev).then_some("--release"));
        cmd::run(&mut opentop)?;
        cmd::run(cmd::cargo().args(["build", "--quiet", "--package", "xtask", "--bin", "truth"]))?;
        Ok(Self::below(if dev { "debug" } else { "release" }))
    }

    /// The same programs as `cargo test --workspace` builds: a build of opentop alone selects other features of what
    /// it depends on, and would be a second one of nearly everything.
    pub fn for_tests() -> Result<Self> {
        cmd::run(cmd::cargo().args(["build", "--quiet", "--workspace", "--all-targets"]))?;
        Ok(Self::below("debug"))
    }

    fn below(profile: &str) -> Self {
        let target = cmd::target_dir();
        Self { opentop: target.join(profile).join("opentop"), truth: target.join("debug/truth") }
    }
}

/// A virtual machine to be booted.
pub struct Machine {
    pub programs: Programs,
    /// More files for /bin.
    pub add: Vec<PathBuf>,
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
    /// Boots, runs `script` in its shell, and powers off.
    pub fn run(&self, kernel: Kernel, script: &str, timeout: Duration, echo: Echo) -> Result<Outcome> {
        let work = tempfile::tempdir()?;
        let main = format!(
            "for port in 1 2 3; do stty -F /dev/ttyS$port raw -echo; done\n\
             (cd /root; exec sh -c {} </dev/null >/dev/ttyS1 2>/dev/ttyS2)\n\
             status=$?\n\
             {{ echo \"exit $status\"; tar -c -f - -C /out .; }} >/dev/ttyS3\n",
            quoted(script)
        );
        let mut qemu = self.qemu(kernel, work.path(), &main)?;
        let console = work.path().join("console");
        qemu.arg("-serial").arg(format!("file:{}", console.display()));
        let mut ports = Vec::new();
        for (name, live) in [("stdout", Some(Stream::Out)), ("stderr", Some(Stream::Err)), ("result", None)] {
            let fifo = work.path().join(name);
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
            qemu.arg("-serial").arg(format!("file:{}", fifo.display()));
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

    /// Boots to a shell on this terminal.
    fn shell(&self, kernel: Kernel) -> Result<ExitCode> {
        let work = tempfile::tempdir()?;
        let (rows, columns) = terminal_size();
        let main = format!(
            "stty rows {rows} cols {columns}\n\
             echo; echo 'opentop and truth are on the PATH; `exit` powers off, Ctrl-A x pulls the plug.'\n\
             cd /root; setsid cttyhack sh -l\n"
        );
        let mut qemu = self.qemu(kernel, work.path(), &main)?;
        qemu.args([
            "-chardev",
            "stdio,id=console,mux=on,signal=off",
            "-serial",
            "chardev:console",
            "-mon",
            "chardev=console",
        ]);
        cmd::run(&mut qemu)?;
        Ok(ExitCode::SUCCESS)
    }

    fn qemu(&self, kernel: Kernel, work: &Path, main: &str) -> Result<Command> {
        let package = kernel.package(self.update)?;
        let initrd = work.join("initrd");
        fs::write(&initrd, self.initramfs(&package, main)?)?;
        let mut qemu = Command::new("qemu-system-x86_64");
        // Never kvm: inside another virtual machine it hangs, and tcg boots in seconds.
        qemu.args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
        ])
        .args(["-display", "none", "-m", &self.memory.to_string()])
        .arg("-kernel")
        .arg(Kernel::image(&package)?)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", "console=ttyS0 panic=-1 quiet 8250.nr_uarts=4"]);
        Ok(qemu)
    }

    fn initramfs(&self, package: &Path, main: &str) -> Result<Vec<u8>> {
        let mut root = Initramfs::default();
        root.program("/bin/busybox", Path::new(BUSYBOX))?;
        root.link("/bin/sh", "busybox");
        for name in MODULES {
            if let Some(module) = Kernel::module(package, name)? {
                root.file(&format!("/lib/modules/{name}.ko"), 0o644, &module);
            }
        }
        match &self.attach {
            None => root.program("/bin/opentop", &self.programs.opentop)?,
            Some(attach) => {
                root.program("/usr/libexec/opentop", &self.programs.opentop)?;
                root.file("/bin/opentop", 0o755, ATTACHING.replace("KIND", attach).as_bytes());
            }
        }
        root.program("/bin/truth", &self.programs.truth)?;
        for file in &self.add {
            let name = file.file_name().with_context(|| format!("{} has no name", file.display()))?;
            root.program(&format!("/bin/{}", name.to_string_lossy()), file)?;
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
}

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

/// Rows and columns of this terminal, or a usual size.
fn terminal_size() -> (u16, u16) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which `size` is.
    let asked = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if asked == 0 && size.ws_row > 0 && io::stdout().is_terminal() { (size.ws_row, size.ws_col) } else { (34, 100) }
}

/// A word as sh takes it.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
