//! Within the machine: each tool by itself watches the truth program, and is then stopped while a loop opens files at
//! full speed, to see what becomes of what it cannot take in.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::tools::{Scope, TOOLS, Tool};

/// Opened until the tool tells of it: then it is up, or done with what came before.
const READY: &str = "/tmp/compare-ready";
const DONE: &str = "/tmp/compare-done";
const FLOOD: &str = "/tmp/compare-flood";

/// Opens while a tool is stopped: more than any of them has room for.
const OPENS: u64 = 200_000;
/// The same, where each open waits for the tool.
const HELD_OPENS: u64 = 5_000;

/// What became of the opens while a tool was stopped.
#[derive(Debug, Serialize, Deserialize)]
pub struct Flood {
    pub opens: u64,
    /// Of them told of.
    pub shown: u64,
    /// Whether the program that opened had to wait for the tool.
    pub held: bool,
    /// What else the tool said.
    pub said: String,
}

pub fn main(out: &Path) -> Result<()> {
    for path in [READY, DONE, FLOOD] {
        fs::write(path, "")?;
    }
    // What fatrace takes for the current mount.
    std::env::set_current_dir("/tmp")?;
    for tool in &TOOLS {
        let started = Instant::now();
        let watched = match tool.scope {
            Scope::System => system(tool, out),
            Scope::Command => command(tool, out),
        };
        if let Err(error) = watched {
            fs::write(out.join(format!("{}.error", tool.key)), format!("{error:#}"))?;
            println!("{}: not measured: {error:#}", tool.name);
        } else {
            println!("{}: {} s", tool.name, started.elapsed().as_secs());
        }
    }
    Ok(())
}

fn truth(tool: &Tool, out: &Path) -> [String; 4] {
    let truth = out.join(format!("{}.truth", tool.key));
    ["--truth".into(), truth.to_string_lossy().into(), "--dir".into(), format!("/tmp/{}", tool.key)]
}

fn load(opens: u64) -> Command {
    let mut command = Command::new("/bin/load");
    command.args(["open", "--path", FLOOD, "--report", "/tmp/report", "--count", &opens.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A tool that watches the whole machine.
fn system(tool: &Tool, out: &Path) -> Result<()> {
    let said = out.join(format!("{}.said", tool.key));
    let mut running = Running::start(tool.command(), &said)?;
    running.wait_for(READY, Duration::from_secs(90))?;
    let done = Command::new("/bin/truth").args(truth(tool, out)).status()?;
    ensure!(done.success(), "the truth program ended with {done}");
    running.wait_for(DONE, Duration::from_secs(30))?;
    fs::write(out.join(format!("{}.lines", tool.key)), running.end()?)?;

    let said = PathBuf::from("/tmp/said");
    let mut running = Running::start(tool.command(), &said)?;
    running.wait_for(READY, Duration::from_secs(90))?;
    running.signal(Signal::SIGSTOP)?;
    let mut load = load(OPENS).spawn().context("cannot start the load")?;
    let held = !ended(&mut load, Duration::from_secs(60))?;
    running.signal(Signal::SIGCONT)?;
    ended(&mut load, Duration::from_secs(60))?;
    running.wait_for(DONE, Duration::from_secs(60))?;
    flood(tool, out, OPENS, held, &running.end()?, &said)
}

/// A tool that starts what it watches.
fn command(tool: &Tool, out: &Path) -> Result<()> {
    let mut watching = tool.command();
    watching.arg("-o").arg(out.join(format!("{}.lines", tool.key))).arg("/bin/truth").args(truth(tool, out));
    watching.stderr(File::create(out.join(format!("{}.said", tool.key)))?);
    let done = watching.status()?;
    ensure!(done.success(), "it ended with {done}");

    let (lines, said) = (PathBuf::from("/tmp/lines"), PathBuf::from("/tmp/said"));
    let (mut watching, load) = (tool.command(), load(HELD_OPENS));
    watching.arg("-o").arg(&lines).arg(load.get_program()).args(load.get_args()).arg("--warm");
    watching.stdin(Stdio::piped()).stderr(File::create(&said)?);
    let mut watching = watching.spawn()?;
    thread::sleep(Duration::from_secs(1));
    let pid = Pid::from_raw(i32::try_from(watching.id())?);
    kill(pid, Signal::SIGSTOP)?;
    drop(watching.stdin.take());
    // It is the load that is looked at: its report is not there before it has ended.
    let _ = fs::remove_file("/tmp/report");
    thread::sleep(Duration::from_secs(3));
    let held = !Path::new("/tmp/report").exists();
    kill(pid, Signal::SIGCONT)?;
    ensure!(ended(&mut watching, Duration::from_secs(90))?, "it did not come to an end");
    flood(tool, out, HELD_OPENS, held, &fs::read(lines)?, &said)
}

/// Counts what was told of, and keeps the rest.
fn flood(tool: &Tool, out: &Path, opens: u64, held: bool, lines: &[u8], said: &Path) -> Result<()> {
    let (mut shown, mut rest) = (0, fs::read_to_string(said).unwrap_or_default());
    for line in lines.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        match line.find(FLOOD) {
            Some(at) => shown += u64::from(!line[at..].starts_with("/tmp/compare-flood.warm")),
            None if ["lost", "drop", "overflow"].iter().any(|word| line.to_lowercase().contains(word)) => {
                rest.push_str(&line);
                rest.push('\n');
            }
            None => {}
        }
    }
    let flood = Flood { opens, shown, held, said: rest };
    fs::write(out.join(format!("{}.flood", tool.key)), serde_json::to_string(&flood)?)?;
    Ok(())
}

/// Some tools tell on a processor what they lost there, with what comes next.
fn open_on_each_processor(path: &str) -> Result<()> {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(this)?;
    for cpu in (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap_or(false)) {
        let mut one = CpuSet::new();
        one.set(cpu)?;
        sched_setaffinity(this, &one)?;
        drop(File::open(path)?);
    }
    Ok(sched_setaffinity(this, &all)?)
}

/// Waits for a child's end; whether it came in time.
fn ended(child: &mut Child, limit: Duration) -> Result<bool> {
    let started = Instant::now();
    while started.elapsed() < limit {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}

/// A tool whose lines go to a terminal: into a file many would write them by the block.
struct Running {
    child: Child,
    said: PathBuf,
    lines: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Running {
    fn start(mut command: Command, said: &Path) -> Result<Self> {
        let pty = nix::pty::openpty(None, None).context("there is no pseudo-terminal to be had")?;
        let mut raw = nix::sys::termios::tcgetattr(&pty.slave)?;
        nix::sys::termios::cfmakeraw(&mut raw);
        nix::sys::termios::tcsetattr(&pty.slave, nix::sys::termios::SetArg::TCSANOW, &raw)?;
        let child = command.stdin(Stdio::null()).stdout(pty.slave).stderr(File::create(said)?).spawn()?;
        // It holds the terminal's other end, which the reader waits for the end of.
        drop(command);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (File::from(pty.master), Arc::clone(&lines));
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read) = from.read(&mut buffer) {
                if read == 0 {
                    return;
                }
                to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..read]);
            }
        });
        Ok(Self { child, said: said.to_path_buf(), lines, reader })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Opens `path` until the tool has told of it.
    fn wait_for(&mut self, path: &str, limit: Duration) -> Result<()> {
        let (started, mut from) = (Instant::now(), 0);
        while started.elapsed() < limit {
            open_on_each_processor(path)?;
            thread::sleep(Duration::from_millis(50));
            {
                let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines[from..].windows(path.len()).any(|window| window == path.as_bytes()) {
                    return Ok(());
                }
                from = lines.len().saturating_sub(path.len());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", fs::read_to_string(&self.said).unwrap_or_default().trim());
            }
        }
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let _ = self.child.kill();
        let _ = self.child.wait();
        bail!("it told nothing of an open in {} s: {}", limit.as_secs(), said.trim())
    }

    /// Ends it as Ctrl-C does; what it wrote.
    fn end(mut self) -> Result<Vec<u8>> {
        self.signal(Signal::SIGINT)?;
        if !ended(&mut self.child, Duration::from_secs(20))? {
            self.child.kill()?;
            self.child.wait()?;
        }
        let _ = self.reader.join();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *lines))
    }
}
