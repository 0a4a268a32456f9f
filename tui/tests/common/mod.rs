//! What the tests of the real binary share: starting it, a pseudo-terminal around it, and skipping out loud where
//! this machine cannot capture.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "test code: a panic is the report; each test binary uses its own part of this"
)]

pub mod casts;
pub mod documents;
pub mod pty;
pub mod recorded;
pub mod watched;

use std::{
    ffi::OsStr,
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// The longest anything here may take, on a machine that is busy with other things too.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Has programs start with the signals as a shell at a terminal has them. Who runs the tests under nohup or in the background
/// of a script has some of them ignored, and opentop leaves ignored what is.
pub fn signals_as_usual() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            // SAFETY: no handler is set, but the default.
            unsafe { signal(ignored, SigHandler::SigDfl) }.unwrap();
        }
    });
}

/// The real binary.
pub fn opentop() -> Command {
    signals_as_usual();
    let mut command = Command::new(env!("CARGO_BIN_EXE_opentop"));
    command.stdin(Stdio::null());
    // cargo sets LD_LIBRARY_PATH, which has the dynamic loader of every command look through its directories first.
    for name in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "NO_COLOR", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    // Nobody's own configuration.
    command.env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

/// Runs `opentop ARGS` to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ended {
    Ended::of(opentop().args(args).output().unwrap())
}

/// What a run left behind.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }

    /// The account: opens, shown, filtered, lost.
    pub fn account(&self) -> [u64; 4] {
        let line = self.stderr.lines().last().unwrap_or_else(|| panic!("no account: {self:?}"));
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [opens, shown, filtered, lost] = numbers[..] else { panic!("not an account: {line:?} of {self:?}") };
        assert_eq!(line, format!("opentop: {opens} opens = {shown} shown + {filtered} filtered + {lost} lost"));
        [opens, shown, filtered, lost]
    }
}

/// Why live captures are not possible here; `None` where they are.
pub fn cannot_capture() -> Option<&'static str> {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    WHY.get_or_init(|| {
        let ended = run(["trace", "--", "/bin/true"]);
        (ended.code != Some(0)).then(|| format!("exit code {:?}: {}", ended.code, ended.stderr.trim()))
    })
    .as_deref()
}

/// Ends the test here, out loud, where this machine cannot capture. With `OPENTOP_REQUIRE_LIVE=1` that is a failure.
#[macro_export]
macro_rules! require_live {
    () => {
        if let Some(why) = common::cannot_capture() {
            assert!(
                std::env::var_os("OPENTOP_REQUIRE_LIVE").is_none_or(|v| v.is_empty() || v == "0"),
                "OPENTOP_REQUIRE_LIVE is set, and no live capture is possible: {why}"
            );
            std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("SKIPPED {}: no live capture is possible here: {why}\n", module_path!()).as_bytes(),
            )
            .unwrap();
            return;
        }
    };
}

/// Whether this is root; where it is not the test is skipped, out loud.
pub fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        let thread = std::thread::current();
        let say = format!("SKIPPED {}: only root can do what it takes\n", thread.name().unwrap_or("a test"));
        std::io::Write::write_all(&mut std::io::stderr(), say.as_bytes()).unwrap();
    }
    root
}

/// Waits until `done` says so; `what` is the report when it never does.
pub fn wait_until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Notes a figure for the table of SECURITY.md, where `OPENTOP_FIGURES` names the file to append to; else the table must
/// have a line for it already.
pub fn figure(part: &str, what: &str, found: &str) {
    let Some(path) = std::env::var_os("OPENTOP_FIGURES") else {
        let table = include_str!("../../../SECURITY.md");
        let line = format!("| `{part}` | {what} | ");
        assert!(table.contains(&line), "SECURITY.md has no line {line:?}: cargo xtask figures writes it");
        return;
    };
    let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, format!("{part}\t{what}\t{found}\n").as_bytes()).unwrap();
}
