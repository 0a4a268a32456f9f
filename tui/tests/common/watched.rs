//! A process that opens files, a dashboard that watches and records it, and how that ends: in time, without spinning, with
//! a recording that can be read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use super::{opentop, pty::Pty, run, wait_until};

/// What a person waits at most.
const LONGEST: Duration = Duration::from_secs(2);

/// Processor time from the wish to the end: detaching costs some, spinning would cost seconds.
const CPU: Duration = Duration::from_millis(900);

/// A process that opens, to be captured by its pid.
pub struct Busy {
    pub child: Child,
    pub dir: tempfile::TempDir,
}

impl Busy {
    pub fn start(pause: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("watched-file"), "").unwrap();
        let script = format!("while :; do : < watched-file; {pause}; done");
        let child = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).spawn().unwrap();
        Self { child, dir }
    }

    pub fn recording(&self) -> PathBuf {
        self.dir.path().join("x.otop")
    }

    /// opentop's command line for it: a dashboard that records.
    pub fn watched(&self) -> Command {
        let mut command = opentop();
        command.args(["-p", &self.child.id().to_string(), "-w"]).arg(self.recording()).arg("--overwrite");
        command
    }

    /// The dashboard, with an open on its screen.
    pub fn dashboard(&self) -> Pty {
        let mut pty = Pty::start(&mut self.watched(), 120, 40);
        pty.wait_for("an open", |screen| screen.contains("watched-file"));
        pty
    }

    /// Asserts that the recording is whole: it replays, and the replay has nothing to complain of.
    pub fn assert_recorded(&self) {
        let said = self.replayed();
        // What the ring lost while nobody read is told as well, and is no fault of the recording.
        let complaints = said.replace("bytes of names missing, of those lost or cut", "");
        for word in ["cut", "damage", "missing", "incomplete", "not closed"] {
            assert!(!complaints.contains(word), "{word:?}: {said}");
        }
    }

    /// Asserts that the recording can be read, and has opens; what the replay says.
    pub fn replayed(&self) -> String {
        let ended = run(["summary", "-r", self.recording().to_str().unwrap()]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let [opens, ..] = ended.account();
        assert!(opens > 0, "{ended:?}");
        ended.stderr
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process uses until it ends.
pub struct Watch {
    pid: u32,
    start: Instant,
    before: Duration,
    used: Duration,
    /// By thread: how long it waited for a processor before, and at the last look.
    waited: BTreeMap<String, (Duration, Duration)>,
}

impl Watch {
    /// From now on.
    pub fn start(pid: u32) -> Self {
        let before = cpu(pid);
        let waited = waits(pid).into_iter().map(|(thread, waited)| (thread, (waited, waited))).collect();
        Self { pid, start: Instant::now(), before, used: before, waited }
    }

    fn look(&mut self) {
        self.used = self.used.max(cpu(self.pid));
        for (thread, waited) in waits(self.pid) {
            self.waited.entry(thread).or_insert((Duration::ZERO, waited)).1 = waited;
        }
    }

    /// Waits until `over`; asserts that it took no longer than a person waits, beside the time for which other programs had
    /// the processors, and that it did not spin on the way. Gives the answer, and how long it took.
    pub fn until<T>(mut self, what: &str, mut over: impl FnMut() -> Option<T>) -> (T, Duration) {
        let answer = wait_until(what, || {
            self.look();
            over()
        });
        let (took, used) = (self.start.elapsed(), self.used.saturating_sub(self.before));
        let kept: Duration = self.waited.values().map(|(before, last)| last.saturating_sub(*before)).sum();
        // What the kernel does for it, taking its programs away, waits for every processor, and takes its time on a busy machine.
        let longest = if machine_is_busy() { 2 * LONGEST } else { LONGEST };
        assert!(took < longest + kept, "{what}: it took {took:?}, {kept:?} of it waiting for a processor");
        assert!(used < CPU, "{what}: it used {used:?} of processor time");
        (answer, took)
    }
}

/// Whether twice as much wants to run as there are processors, over the last minute: the first number of /proc/loadavg.
fn machine_is_busy() -> bool {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    std::thread::available_parallelism().is_ok_and(|processors| load > 2.0 * processors.get() as f64)
}

/// Processor time that a process used so far.
fn cpu(pid: u32) -> Duration {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return Duration::ZERO };
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// How long each thread of a process has been ready to run and did not, as another one ran: the second number of
/// /proc/PID/task/TID/schedstat. Empty where the kernel does not keep it.
fn waits(pid: u32) -> Vec<(String, Duration)> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let waited = |path: &Path| {
        let stat = std::fs::read_to_string(path.join("schedstat")).ok()?;
        Some(Duration::from_nanos(stat.split_whitespace().nth(1)?.parse().ok()?))
    };
    let threads = threads.filter_map(|thread| Some(thread.ok()?.path()));
    threads.filter_map(|path| Some((path.to_string_lossy().into_owned(), waited(&path)?))).collect()
}

/// Does what ends it; asserts that it ends in time and does not spin on the way. How it ended, and after how long.
pub fn ends_after(pty: &mut Pty, what: &str, wish: impl FnOnce(&mut Pty)) -> (ExitStatus, Duration) {
    let watch = Watch::start(pty.child.id());
    wish(pty);
    watch.until(what, || pty.child.try_wait().unwrap())
}

/// The same, with the figure for the table.
pub fn ends(pty: &mut Pty, what: &str, wish: impl FnOnce(&mut Pty)) -> ExitStatus {
    let (status, took) = ends_after(pty, what, wish);
    super::figure("exits", what, &format!("ended after {} ms", took.as_millis()));
    status
}

/// The same for a process that is nobody's child here.
pub fn gone_after(pid: u32, what: &str, wish: impl FnOnce()) {
    let watch = Watch::start(pid);
    wish();
    let ((), took) = watch.until(what, || has_ended(pid).then_some(()));
    super::figure("exits", what, &format!("ended after {} ms", took.as_millis()));
}

/// Whether a process is gone, or a zombie that nobody reaps.
fn has_ended(pid: u32) -> bool {
    state_of(pid).is_none_or(|state| state == 'Z')
}

/// How it is with a process, as /proc/PID/stat has it: 'T' is stopped.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next()
}

/// A shell with job control, in a terminal.
pub fn shell(dir: &Path) -> Pty {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "--noediting", "-i"]).env("PS1", "ready> ").current_dir(dir);
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
    let mut pty = Pty::start(&mut command, 120, 40);
    pty.wait_for("the prompt", |screen| screen.contains("ready>"));
    pty
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// A command as a line for a shell.
pub fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}
