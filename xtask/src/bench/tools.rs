//! opentop beside other tools: each watches the same loop, and writes a line per open to a file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::figures::Figures;
use super::harness::{Bench, Done, Tool, Used, apart, cpu, peak};
use super::screen;
use crate::{cmd, install};

/// What watches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Nobody,
    Trace,
    Json,
    Summary,
    Dashboard,
    Opensnoop,
    Bpftrace,
    Fatrace,
    Strace,
    StraceSeccomp,
}

impl Who {
    pub fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Trace => "opentop trace",
            Self::Json => "opentop trace --format json",
            Self::Summary => "opentop summary",
            Self::Dashboard => "opentop",
            Self::Opensnoop => "libbpf-tools opensnoop",
            Self::Bpftrace => "bpftrace opensnoop.bt",
            Self::Fatrace => "fatrace",
            Self::Strace => "strace -f -e trace=%file",
            Self::StraceSeccomp => "strace --seccomp-bpf",
        }
    }

    /// The tool's command: of one process, or of all.
    pub fn command(self, bench: &Bench, pid: Option<u32>, attach: Option<&str>) -> Result<Command> {
        let opentop = |subcommand: &[&str]| {
            let mut command = Command::new(&bench.programs.opentop);
            command.args(subcommand).args(attach.iter().flat_map(|kind| ["--attach", kind]));
            command.args(pid.iter().flat_map(|pid| ["-p".into(), pid.to_string()]));
            command
        };
        let lines = bench.work.join("lines");
        let lines = lines.to_str().context("the folder's name is no text")?;
        Ok(match self {
            Self::Nobody => Command::new("true"),
            Self::Trace => opentop(&["trace", "-o", lines]),
            Self::Json => opentop(&["trace", "--format", "json", "-o", lines]),
            Self::Summary => opentop(&["summary"]),
            Self::Dashboard => opentop(&[]),
            Self::Opensnoop => {
                let mut command = with_tracefs(cmd::which("opensnoop").context("there is no opensnoop")?);
                command.args(pid.iter().flat_map(|pid| ["-p".into(), pid.to_string()]));
                command
            }
            Self::Bpftrace => {
                let mut command = with_tracefs("bpftrace");
                command.arg(script(&bench.work, pid)?);
                command
            }
            Self::Fatrace => {
                let mut command = Command::new(cmd::which("fatrace").context("there is no fatrace")?);
                command.args(["--current-mount", "--filter", "O"]);
                command
            }
            Self::Strace => Command::new("strace"),
            Self::StraceSeccomp => {
                let mut command = Command::new("strace");
                command.arg("--seccomp-bpf");
                command
            }
        })
    }
}

/// A command that sees tracefs, also where it is not mounted: in a mount namespace of its own.
fn with_tracefs(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("unshare");
    let mount = "[ -e /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing; exec \"$@\"";
    command.args(["--mount", "sh", "-c", mount, "sh"]).arg(program);
    command
}

/// bpftrace's opensnoop.bt, with a predicate for one process: it has no option for that.
fn script(work: &Path, pid: Option<u32>) -> Result<std::path::PathBuf> {
    let original = cmd::which("opensnoop.bt").context("there is no opensnoop.bt")?;
    let text = fs::read_to_string(original)?;
    let entry = "tracepoint:syscalls:sys_enter_openat\n{";
    ensure!(text.contains(entry), "opensnoop.bt is another one than is known here");
    let predicate = pid.map(|pid| format!("/pid == {pid}/\n")).unwrap_or_default();
    let path = work.join("opensnoop.bt");
    fs::write(&path, text.replace(entry, &format!("tracepoint:syscalls:sys_enter_openat\n{predicate}{{")))?;
    Ok(path)
}

/// What one round gave.
pub struct Round {
    pub done: Done,
    pub used: Used,
    /// Opens of the loop that it did not tell of; where it tells at all.
    pub lost: Option<u64>,
    pub ready_ms: f64,
}

/// Installs what can be installed; who is there.
fn there() -> Vec<Who> {
    let all = [
        Who::Trace,
        Who::Json,
        Who::Summary,
        Who::Dashboard,
        Who::Opensnoop,
        Who::Bpftrace,
        Who::Fatrace,
        Who::Strace,
        Who::StraceSeccomp,
    ];
    if let Err(error) = install::packages(&["libbpf-tools", "bpftrace", "fatrace", "strace"]) {
        eprintln!("xtask: {error:#}");
    }
    let program = |who: &Who| match who {
        Who::Opensnoop => "opensnoop",
        Who::Bpftrace => "opensnoop.bt",
        Who::Fatrace => "fatrace",
        Who::Strace | Who::StraceSeccomp => "strace",
        _ => "true",
    };
    all.into_iter().filter(|who| cmd::have(program(who))).collect()
}

/// Everybody, on the loop that succeeds, the one that does not, and on something like a build.
pub fn compared(bench: &Bench, figures: &mut Figures) -> Result<()> {
    const PART: &str = "watching one process by tracepoint, a line per open to a file";
    let who = there();
    for (missing, what) in [(false, "success"), (true, "ENOENT")] {
        let mut rounds: Vec<(Who, Vec<Round>)> = who.iter().map(|who| (*who, Vec::new())).collect();
        let mut alone = Vec::new();
        for _ in 0..bench.plan.rounds {
            alone.push(bench.load(&bench.loop_words(missing))?.done()?.ns_per_open);
            rounds.retain_mut(|(who, rounds)| match round(bench, *who, missing) {
                Ok(round) => {
                    rounds.push(round);
                    true
                }
                Err(error) => {
                    figures.missing(who.name(), &format!("{error:#}"));
                    false
                }
            });
        }
        figures.add(PART, Who::Nobody.name(), &format!("an open, {what}"), "ns", &alone);
        for (who, rounds) in &rounds {
            let added = rounds.iter().zip(&alone).map(|(r, alone)| r.done.ns_per_open - alone).collect::<Vec<_>>();
            figures.add(PART, who.name(), &format!("added to an open, {what}"), "ns", &added);
        }
        for (who, rounds) in rounds.iter().filter(|(who, _)| !missing && *who != Who::Nobody) {
            let of = |f: &dyn Fn(&Round) -> Option<f64>| rounds.iter().filter_map(f).collect::<Vec<_>>();
            figures.add(PART, who.name(), "lost", "%", &of(&|r| Some(100.0 * r.lost? as f64 / r.done.opens as f64)));
            let per = |r: &Round| Some(1e6 * r.used.cpu / r.done.opens as f64);
            figures.add(PART, who.name(), "processor for a million opens", "s", &of(&per));
            figures.add(PART, who.name(), "memory", "MiB", &of(&|r| Some(r.used.memory)));
        }
    }
    compile(bench, &who, figures)
}

/// Time of a build, with everybody watching it.
fn compile(bench: &Bench, who: &[Who], figures: &mut Figures) -> Result<()> {
    const PART: &str = "something like a build, watched";
    let words = if bench.plan.quick { "compile --count 20 --jobs 2" } else { "compile --count 200 --jobs 2" };
    let mut alone = Vec::new();
    let mut slower: Vec<(Who, Vec<f64>)> =
        who.iter().filter(|w| !matches!(w, Who::Fatrace | Who::Bpftrace)).map(|who| (*who, Vec::new())).collect();
    for _ in 0..bench.plan.rounds.min(3) {
        let base = bench.load(words)?.done()?.seconds;
        alone.push(base);
        for (who, slower) in &mut slower {
            slower.push(100.0 * (built(bench, *who, words)? / base - 1.0));
        }
    }
    figures.add(PART, Who::Nobody.name(), "time", "s", &alone);
    for who in [Who::Fatrace, Who::Bpftrace] {
        figures.missing(who.name(), "it cannot be told to watch a build alone: it follows no process's children");
    }
    for (who, slower) in &slower {
        figures.add(PART, who.name(), "slower by", "%", slower);
    }
    Ok(())
}

/// Seconds of a build that a tool watches.
fn built(bench: &Bench, who: Who, words: &str) -> Result<f64> {
    if matches!(who, Who::Strace | Who::StraceSeccomp) {
        let mut command = strace(bench, who)?;
        command.arg(&bench.programs.load).args(words.split_whitespace());
        command.arg("--path").arg(bench.path()).arg("--report").arg(bench.work.join("report"));
        return Ok(bench.start_load(command)?.done()?.seconds);
    }
    // A shell that waits, becomes the load, and is what is watched: its children are followed from the first on.
    // opensnoop follows nobody: it watches the whole of what a short while of this machine has, by name.
    let mut command = Command::new("sh");
    command.arg("-c").arg("read _; exec \"$@\"").arg("sh").arg(&bench.programs.load).args(words.split_whitespace());
    command.arg("--path").arg(bench.path()).arg("--report").arg(bench.work.join("report"));
    let mut load = bench.start_load(command)?;
    let screen = (who == Who::Dashboard).then(|| screen::Screen::start(bench, load.pid(), None)).transpose()?;
    let tool = match who {
        Who::Dashboard => None,
        _ => Some(Tool::start(apart(who.command(bench, Some(load.pid()), None)?), &bench.work, who == Who::Opensnoop)?),
    };
    thread::sleep(Duration::from_millis(900));
    load.go();
    let done = load.done()?;
    if let Some(tool) = tool {
        tool.end(0.0)?;
    }
    if let Some(screen) = screen {
        screen.end(0.0)?;
    }
    Ok(done.seconds)
}

fn strace(bench: &Bench, who: Who) -> Result<Command> {
    let mut command = who.command(bench, None, None)?;
    command.args(["-f", "-q", "-e", "trace=%file", "-o"]).arg(bench.work.join("lines"));
    Ok(command)
}

/// One loop, watched by one.
fn round(bench: &Bench, who: Who, missing: bool) -> Result<Round> {
    let words = bench.loop_words(missing);
    match who {
        Who::Strace | Who::StraceSeccomp => {
            let mut command = strace(bench, who)?;
            command.arg(&bench.programs.load).args(words.split_whitespace());
            command.arg("--path").arg(bench.path()).arg("--report").arg(bench.work.join("report"));
            let mut load = bench.start_load(command)?;
            thread::sleep(Duration::from_millis(100));
            // It is strace that is started, and its child that is watched; both end at once.
            let before = cpu(load.pid());
            load.go();
            let mut used = Used::default();
            while !load.ended()? {
                let memory = peak(load.pid()).unwrap_or(used.memory);
                used = Used { cpu: (cpu(load.pid()) - before).max(used.cpu), memory };
                thread::sleep(Duration::from_millis(2));
            }
            let done = load.done()?;
            let lost = Some(done.opens.saturating_sub(Tool::lines(&bench.work, "/opened")?));
            Ok(Round { done, used, lost, ready_ms: 0.0 })
        }
        Who::Dashboard => {
            let mut load = bench.load(&words)?;
            let screen = screen::Screen::start(bench, load.pid(), None)?;
            let ready_ms = screen.ready()?;
            let before = cpu(screen.pid());
            load.go();
            let done = load.done()?;
            thread::sleep(Duration::from_millis(100));
            Ok(Round { done, used: screen.end(before)?, lost: None, ready_ms })
        }
        Who::Fatrace => fatrace(bench, &words),
        _ => watched(bench, who, bench.load(&words)?, None, true),
    }
}

/// One loop, watched by a tool that writes lines.
pub fn watched(
    bench: &Bench,
    who: Who,
    mut load: super::harness::Load,
    attach: Option<&str>,
    scoped: bool,
) -> Result<Round> {
    let pid = scoped.then(|| load.pid());
    let to_stdout = matches!(who, Who::Opensnoop | Who::Bpftrace);
    let mut tool = Tool::start(apart(who.command(bench, pid, attach)?), &bench.work, to_stdout)?;
    let ready_ms = if who == Who::Summary {
        thread::sleep(Duration::from_millis(1000));
        0.0
    } else {
        tool.ready()?
    };
    let before = cpu(tool.pid());
    load.go();
    let done = load.done()?;
    thread::sleep(Duration::from_millis(100));
    let used = tool.end(before)?;
    let lost = match who {
        Who::Summary => None,
        _ => Some(done.opens.saturating_sub(Tool::lines(&bench.work, "/opened")?)),
    };
    Ok(Round { done, used, lost, ready_ms })
}

/// fatrace sees mounts, not processes: the loop gets one of its own, which nothing else is on.
fn fatrace(bench: &Bench, words: &str) -> Result<Round> {
    let dir = bench.work.join("mounted");
    fs::create_dir_all(&dir)?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount -t tmpfs opened \"$1\" && cd \"$1\" && shift && exec \"$@\"", "sh"]);
    command.arg(&dir).arg(&bench.programs.load).args(words.split_whitespace());
    command.arg("--path").arg(dir.join("opened")).arg("--report").arg(bench.work.join("report"));
    let mut load = bench.start_load(command)?;
    thread::sleep(Duration::from_millis(100));
    let inner = Who::Fatrace.command(bench, None, None)?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--mount=/proc/{}/ns/mnt", load.pid())).arg("sh").arg("-c");
    command.arg("cd \"$0\" && exec \"$@\"").arg(&dir).arg(inner.get_program()).args(inner.get_args());
    let mut tool = Tool::start(apart(command), &bench.work, true)?;
    let ready_ms = match tool.ready() {
        Ok(ready) => ready,
        Err(error) => {
            let _ = load.done();
            return Err(error);
        }
    };
    let before = cpu(tool.pid());
    load.go();
    let done = load.done()?;
    thread::sleep(Duration::from_millis(200));
    let used = tool.end(before)?;
    let lost = Some(done.opens.saturating_sub(Tool::lines(&bench.work, "/opened")?));
    Ok(Round { done, used, lost, ready_ms })
}

/// From a tool's start until it has written of an open.
pub fn start(bench: &Bench, figures: &mut Figures) -> Result<()> {
    const PART: &str = "from the start to the first open, by tracepoint";
    install::packages(&["libbpf-tools", "bpftrace"])?;
    let all = [Who::Trace, Who::Dashboard, Who::Opensnoop, Who::Bpftrace];
    let mut times = all.map(|who| (who, Vec::new()));
    for _ in 0..bench.plan.rounds {
        for (who, times) in &mut times {
            times.push(
                round(&Bench { plan: super::Plan { seconds: 0.01, ..bench.plan }, ..copy(bench) }, *who, false)?
                    .ready_ms,
            );
        }
    }
    for (who, times) in &times {
        figures.add(PART, who.name(), "time", "ms", times);
    }
    Ok(())
}

fn copy(bench: &Bench) -> Bench {
    Bench { programs: bench.programs.clone(), work: bench.work.clone(), plan: bench.plan }
}
