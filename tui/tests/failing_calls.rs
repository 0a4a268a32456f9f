//! Calls to the kernel that fail at the start, whichever they are: it goes on without, or ends soon with the cause, and
//! leaves nothing behind. The real binary, under strace where the kernel is to fail it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::{Ended, figure, wait_until, watched::state_of};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// The most processor time that a start may take, with its end, and strace, and the kernel's verifier: some 0.8 s as seen. In
/// processor time, as a busy machine is no fault of it.
const CPU: Duration = Duration::from_secs(5);

/// A run may end well or with a sentence, never in any other way.
fn assert_told(ended: &Ended, what: &str) {
    assert!(ended.code.is_some_and(|code| [0, 1, 69, 77].contains(&code)), "{what}: {ended:?}");
    for never in ["panicked", "fault of opentop itself", "defect of opentop", "os error"] {
        assert!(!ended.stderr.contains(never), "{what}: {ended:?}");
    }
    if ended.code == Some(0) {
        let [opens, shown, filtered, lost] = ended.account();
        assert_eq!(opens, shown + filtered + lost, "{what}: {ended:?}");
    } else {
        assert!(ended.stderr.lines().any(|line| line.starts_with("opentop: ")), "{what}: {ended:?}");
    }
}

/// Asserts that a run which failed says the error of the call, or that it is over.
fn assert_cause(ended: &Ended, error: &str, what: &str) {
    let words: &[&str] = match error {
        "ENOMEM" => &["out of memory", "no memory"],
        "EMFILE" => &["too many open files"],
        "EPERM" => &["operation not permitted"],
        other => panic!("{other} has no words here"),
    };
    let said = words.iter().chain(&["a moment later it takes them"]).any(|words| ended.stderr.contains(words));
    assert!(ended.code == Some(0) || said, "{what}: the cause is not told: {ended:?}");
}

/// The name in the environment by which what a run started is found again.
const MARK: &str = "OPENTOP_TEST_RUN";

/// The processes that have `mark` in their environment.
fn marked(mark: &str) -> Vec<String> {
    let entry = format!("{MARK}={mark}");
    let has = |path: &Path| {
        let environ = std::fs::read(path.join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
    };
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|process| Some(process.ok()?.path()));
    let found = all.filter(|path| has(path)).map(|path| {
        let words = std::fs::read(path.join("cmdline")).unwrap_or_default();
        format!("{}: {}", path.display(), String::from_utf8_lossy(&words).replace('\0', " "))
    });
    found.collect()
}

/// Runs to the end, which must come before patience ends, and soon by the processor's time. No process may be left: those of
/// opentop hold all that it has in the kernel.
fn bounded(mut command: Command, what: &str) -> Ended {
    let mark = format!("{}-{what}", std::process::id());
    // A group of its own, to be ended as a whole.
    command.env(MARK, &mark).process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = child.id();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let text = |pipe: &mut dyn std::io::Read| {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    };
    let stdout = std::thread::spawn(move || text(&mut stdout));
    let stderr = std::thread::spawn(move || text(&mut stderr));
    let start = Instant::now();
    while state_of(pid).is_some_and(|state| state != 'Z') {
        if start.elapsed() > common::PATIENCE {
            let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            let _ = child.wait();
            panic!("{what}: it hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let used = cpu_with_children(pid);
    let code = child.wait().unwrap().code();
    let ended = Ended { code, stdout: stdout.join().unwrap().unwrap(), stderr: stderr.join().unwrap().unwrap() };
    assert!(used < CPU, "{what}: it took {used:?} of processor time: {ended:?}");
    wait_until(&format!("{what}: nothing is left"), || marked(&mark).is_empty().then_some(()));
    ended
}

/// The processor time of a process that has ended, and of the children that it waited for: fields 14 to 17 of /proc/PID/stat.
fn cpu_with_children(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(4);
    let ticks: u64 = fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn what_is_left_of_a_run_is_found_by_its_mark() {
    let mut sleeper = Command::new("sleep").arg("60").env(MARK, "a sleeper").spawn().unwrap();
    wait_until("it is found", || (marked("a sleeper").len() == 1).then_some(()));
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(marked("a sleeper"), [""; 0]);
}

#[test]
fn too_few_descriptors_are_a_sentence() {
    require_live!();
    let mut ended_well = 0;
    for limit in [5, 8, 12, 16, 24, 32, 40, 48, 64, 128] {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_opentop"), "trace", "-f", "nothing", "--", "true"]);
        command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
        let what = format!("{limit} descriptors");
        let ended = bounded(command, &what);
        assert_told(&ended, &what);
        assert_cause(&ended, "EMFILE", &what);
        ended_well += u32::from(ended.code == Some(0));
    }
    assert!(ended_well > 0, "128 descriptors are not enough");
    figure(
        "failing_calls",
        "EMFILE: 5 to 128 descriptors",
        &format!("{ended_well} of 10 runs captured, the others said why"),
    );
}

/// Runs opentop with the `nth` call of `call` failing, of each thread, as strace counts.
fn injected(call: &str, error: &str, nth: u32) -> Ended {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
    command.arg(format!("inject={call}:error={error}:when={nth}")).arg("--").arg(env!("CARGO_BIN_EXE_opentop"));
    command.args(["trace", "-f", "nothing", "--", "true"]);
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
    bounded(command, &format!("{call} number {nth}: {error}"))
}

fn assert_each_is_told(call: &str, error: &str, numbers: &[u32]) {
    assert!(Path::new("/usr/bin/strace").exists(), "strace is to be installed (.ci/run does)");
    let mut well = 0;
    for nth in numbers {
        let what = format!("{call} number {nth}: {error}");
        let ended = injected(call, error, *nth);
        assert_told(&ended, &what);
        // An interruption is none to be told.
        if error != "EINTR" {
            assert_cause(&ended, error, &what);
        }
        well += usize::from(ended.code == Some(0));
    }
    let all = numbers.len();
    figure(
        "failing_calls",
        &format!("{call} fails with {error}, {all} places"),
        &format!("{well} went on, {} said why", all - well),
    );
}

/// The first calls are those by which aya finds out what the kernel can do: without what the first and the third ask for, the
/// verifier would take half a minute to find the probe too large.
#[test]
fn bpf_that_fails_is_told_whichever_call_it_is() {
    require_live!();
    let numbers: Vec<u32> = (1..=4).chain((9..60).step_by(6)).collect();
    assert_each_is_told("bpf", "ENOMEM", &numbers);
    assert_each_is_told("bpf", "EPERM", &numbers);
    // Of the first alone it is known which call it is, on any kernel.
    for (error, code) in [("ENOMEM", 1), ("EMFILE", 1), ("EPERM", 77)] {
        let ended = injected("bpf", error, 1);
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains("bpf(2), BPF_BTF_LOAD"), "{ended:?}");
        assert_cause(&ended, error, "bpf number 1");
    }
}

#[test]
fn another_call_that_fails_is_told_whichever_it_is() {
    require_live!();
    assert_each_is_told("perf_event_open", "EMFILE", &[1, 2, 5, 9]);
    assert_each_is_told("mmap", "ENOMEM", &(45..120).step_by(11).collect::<Vec<_>>());
    assert_each_is_told("epoll_create1", "EMFILE", &[1, 2]);
    assert_each_is_told("epoll_ctl", "ENOMEM", &[1, 2, 3, 4]);
    // Any other error of it the runtime takes for a defect of its own, and aborts.
    assert_each_is_told("epoll_wait", "EINTR", &[1, 2]);
}
