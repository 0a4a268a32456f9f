//! `cargo xtask vm`: boots a kernel of the matrix under qemu with the current build, for a look or for a command.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::cmd;
use crate::kernels::{self, Kernel};
use crate::machine::{self, Echo, Machine, Programs, quoted};

/// Boot a kernel of the matrix with the current build.
#[derive(clap::Args)]
pub struct Args {
    /// Which kernel: 5.10, 6.1, 6.12, 7.2 or 7.3, or 6.1-arm64 or 6.12-arm64, for which the build is made anew
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
    let kernel = Kernel::named(&args.kernel)?;
    machine::install(kernel.arch)?;
    let machine = Machine {
        add: args.add.clone(),
        update: args.update,
        memory: args.memory,
        attach: args.attach.clone(),
        ..Machine::new(Programs::build(kernel.arch, args.dev)?)
    };
    if args.command.is_empty() {
        return shell(&machine, kernel);
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

/// Boots to a shell on this terminal.
fn shell(machine: &Machine, kernel: Kernel) -> Result<ExitCode> {
    let work = tempfile::tempdir()?;
    let (rows, columns) = terminal_size();
    let main = format!(
        "stty rows {rows} cols {columns}\n\
         echo; echo 'opentop and truth are on the PATH; `exit` powers off, Ctrl-A x pulls the plug.'\n\
         cd /root; setsid cttyhack sh -l\n"
    );
    let mut qemu = machine.qemu(kernel, work.path(), &main)?;
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

/// Rows and columns of this terminal, or a usual size.
fn terminal_size() -> (u16, u16) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which `size` is.
    let asked = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if asked == 0 && size.ws_row > 0 && io::stdout().is_terminal() { (size.ws_row, size.ws_col) } else { (34, 100) }
}
