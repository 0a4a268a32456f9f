//! A load and a tool that watches it: started, made ready, measured, ended.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Plan;
use crate::cmd;

/// The programs that are measured, and that measure.
#[derive(Clone)]
pub struct Programs {
    pub opentop: PathBuf,
    pub load: PathBuf,
    pub stage: PathBuf,
}

impl Programs {
    /// Builds them, for release.
    pub fn build() -> Result<Self> {
        let mut opentop = cmd::cargo();
        opentop.args(["build", "--quiet", "--release", "--package", "opentop", "--bin", "opentop"]);
        cmd::run(opentop.args(["--example", "stage"]))?;
        cmd::run(cmd::cargo().args(["build", "--quiet", "--release", "--package", "xtask", "--bin", "load"]))?;
        let release = cmd::target_dir().join("release");
        Ok(Self { opentop: release.join("opentop"), load: release.join("load"), stage: release.join("examples/stage") })
    }
}

/// What everything is measured with.
pub struct Bench {
    pub programs: Programs,
    /// A folder for what is written meanwhile.
    pub work: PathBuf,
    pub plan: Plan,
}

/// What a load said of itself.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Done {
    pub opens: u64,
    pub seconds: f64,
    pub ns_per_open: f64,
}

/// A load that warms up until it is told to begin.
pub struct Load {
    child: Child,
    go: Option<ChildStdin>,
    report: PathBuf,
}

impl Load {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The counted opens begin.
    pub fn go(&mut self) {
        self.go = None;
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end.
    pub fn done(mut self) -> Result<Done> {
        self.go();
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the load ended with {status}");
        let report = fs::read_to_string(&self.report)?;
        serde_json::from_str(&report).with_context(|| format!("the load said {report}"))
    }
}

impl Bench {
    /// The file that is opened.
    pub fn path(&self) -> PathBuf {
        self.work.join("opened")
    }

    /// A load's command; `words` as in the shell.
    pub fn load_command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.programs.load);
        command.args(words.split_whitespace()).arg("--path").arg(self.path());
        command.arg("--report").arg(self.work.join("report"));
        command
    }

    /// Starts a load that waits for [`Load::go`] (with `--warm` among its words) or for its stdin to end.
    pub fn load(&self, words: &str) -> Result<Load> {
        self.start_load(self.load_command(words))
    }

    /// The same, of a command that becomes or holds a load.
    pub fn start_load(&self, mut command: Command) -> Result<Load> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start `{}`", cmd::shown(&command)))?;
        Ok(Load { go: child.stdin.take(), child, report: self.work.join("report") })
    }

    /// The words of one pinned loop.
    pub fn loop_words(&self, missing: bool) -> String {
        let missing = if missing { " --missing" } else { "" };
        let gently = if self.plan.gently { " --gently" } else { "" };
        format!("open --cpu 0 --warm{gently} --seconds {}{missing}", self.plan.seconds)
    }
}

/// A tool that watches.
pub struct Tool {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    started: Instant,
}

/// What a tool used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Seconds of processor, from when it was ready to when it was ended.
    pub cpu: f64,
    /// Most memory it had, MiB.
    pub memory: f64,
}

impl Tool {
    /// Starts it, its lines going to `out`, or by itself to a file of that name.
    pub fn start(mut command: Command, work: &Path, to_stdout: bool) -> Result<Self> {
        let (out, err) = (work.join("lines"), work.join("said"));
        let lines = File::create(&out)?;
        if to_stdout {
            command.stdout(lines);
        } else {
            command.stdout(Stdio::null());
        }
        command.stdin(Stdio::null()).stderr(File::create(&err)?);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start `{}`", cmd::shown(&command)))?;
        Ok(Self { child, out, err, started })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has written of an open: how long that took from its start, ms.
    pub fn ready(&mut self) -> Result<f64> {
        let limit = Duration::from_secs(60);
        while self.started.elapsed() < limit {
            if fs::metadata(&self.out).is_ok_and(|file| file.len() > 1000) {
                return Ok(self.started.elapsed().as_secs_f64() * 1000.0);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", fs::read_to_string(&self.err).unwrap_or_default().trim());
            }
            thread::sleep(Duration::from_micros(500));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        bail!("it wrote nothing in {} s", limit.as_secs())
    }

    /// Ends it as Ctrl-C does. What it used by then is told: taking its programs out of the kernel is not part of it.
    pub fn end(self, cpu_before: f64) -> Result<Used> {
        end(self.child.id(), cpu_before)
    }

    /// Lines of it that speak of `name`.
    pub fn lines(work: &Path, name: &str) -> Result<u64> {
        let file = BufReader::new(File::open(work.join("lines"))?);
        let mut count = 0;
        for line in file.split(b'\n') {
            let line = line?;
            let text = String::from_utf8_lossy(&line);
            let found = text.find(name).map(|at| &text[at + name.len()..]);
            count += u64::from(found.is_some_and(|rest| !rest.starts_with(".warm")));
        }
        Ok(count)
    }

    /// What it said on stderr.
    pub fn said(work: &Path) -> String {
        fs::read_to_string(work.join("said")).unwrap_or_default()
    }
}

/// Ends a child as Ctrl-C does: what it used by then, since it had used `cpu_before`.
pub fn end(pid: u32, cpu_before: f64) -> Result<Used> {
    let used = Used { cpu: cpu(pid) - cpu_before, memory: peak(pid).unwrap_or(f64::NAN) };
    let pid_of = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
    nix::sys::signal::kill(pid_of, nix::sys::signal::Signal::SIGINT)?;
    wait(pid)?;
    Ok(used)
}

/// Waits for a child.
pub fn wait(pid: u32) -> Result<()> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
    nix::sys::wait::waitpid(pid, None).context("cannot wait for the tool")?;
    Ok(())
}

/// Seconds of processor that a process used so far, by the process's own clock: to the ns, threads that have ended among
/// them, its children not. 0 of a process that is gone.
pub fn cpu(pid: u32) -> f64 {
    let clock = i32::try_from(pid).map(nix::unistd::Pid::from_raw).map(nix::time::clock_getcpuclockid);
    let Ok(Ok(time)) = clock.map(|clock| clock.and_then(nix::time::clock_gettime)) else { return 0.0 };
    time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
}

/// A line of /proc/PID/status that is in KiB, in MiB.
fn status(pid: u32, name: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// The most memory that a process had so far, MiB: its own, while getrusage counts the children's and what it was before
/// it became this program.
pub fn peak(pid: u32) -> Option<f64> {
    status(pid, "VmHWM:")
}

/// Resident memory of a process beside the ring, MiB. A ring buffer is mapped twice, one behind the other, and each page
/// of it counted twice.
pub fn beside_ring(pid: u32) -> Option<f64> {
    let all = status(pid, "VmRSS:")?;
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    let (mut ring, mut within) = (0.0, false);
    for line in maps.lines() {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !first.ends_with(':') {
            within = rest.contains("bpf-map");
        } else if first == "Rss:" && within {
            ring += rest.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0;
        }
    }
    Some(all - ring)
}

/// A command within a process group of its own, so that a Ctrl-C on the bench's terminal does not reach it.
pub fn apart(mut command: Command) -> Command {
    command.process_group(0);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_used_is_its_own_and_not_its_childrens() {
        let own = std::process::id();
        assert!(cpu(own) > 0.0);
        let (now, peak) = (beside_ring(own).unwrap(), peak(own).unwrap());
        // Both are kept roughly by the kernel, and other tests run in this process.
        assert!(now > 0.5 && now <= peak + 1.0, "{now} MiB of {peak} MiB");
        // A child that holds 64 MiB and burns time; the clock and the memory of its shell stay small.
        let script = "head -c 67108864 /dev/zero | tail -c 67108864 >/dev/null; sleep 0.2; exec sleep 5";
        let mut shell = Command::new("sh").args(["-c", script]).spawn().unwrap();
        thread::sleep(Duration::from_millis(150));
        assert!(cpu(shell.id()) < 0.1 && super::peak(shell.id()).unwrap() < 32.0);
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(cpu(shell.id()) == 0.0 && beside_ring(shell.id()).is_none(), "gone");
    }
}
