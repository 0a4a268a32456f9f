//! Every way out: the terminal is given back byte for byte, the recording is closed, it takes no time and
//! no processor. The real binary in a pseudo-terminal, capturing only what the test starts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{
    os::{fd::FromRawFd as _, fd::OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use common::{opentop, pty::Pty, wait_until};
use nix::sys::signal::Signal;

/// The two seconds that a person waits at most; twice as long where the machine has more to do than it can.
fn longest() -> Duration {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Duration::from_secs(if load > 2.0 * processors as f64 { 4 } else { 2 })
}

/// Processor time from the wish to the end: detaching costs some, spinning would cost seconds.
const CPU: Duration = Duration::from_millis(900);

/// A process that opens, to be captured by its pid.
struct Busy {
    child: Child,
    dir: tempfile::TempDir,
}

impl Busy {
    fn start(pause: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("watched-file"), "").unwrap();
        let script = format!("while :; do : < watched-file; {pause}; done");
        let child = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).spawn().unwrap();
        Self { child, dir }
    }

    fn recording(&self) -> PathBuf {
        self.dir.path().join("x.otop")
    }

    /// opentop's command line for it: a dashboard that records.
    fn watched(&self) -> Command {
        let mut command = opentop();
        command.args(["-p", &self.child.id().to_string(), "-w"]).arg(self.recording()).arg("--overwrite");
        command
    }

    /// The dashboard, with an open on its screen.
    fn dashboard(&self) -> Pty {
        let mut pty = Pty::start(&mut self.watched(), 120, 40);
        pty.wait_for("an open", |screen| screen.contains("watched-file"));
        pty
    }

    /// Asserts that the recording is whole: it replays, and the replay has nothing to complain of.
    fn assert_recorded(&self) {
        let ended = common::run(["summary", "-r", self.recording().to_str().unwrap()]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let [opens, ..] = ended.account();
        assert!(opens > 0, "{ended:?}");
        // What the ring lost while nobody read is told as well, and is no fault of the recording.
        let complaints = ended.stderr.replace("bytes of names missing, of those lost or cut", "");
        for word in ["cut", "damage", "missing", "incomplete", "not closed"] {
            assert!(!complaints.contains(word), "{word:?}: {ended:?}");
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that a process used so far.
fn cpu(pid: u32) -> Duration {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return Duration::ZERO };
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Does what ends it; asserts that it ends in time and does not spin on the way.
fn ends(pty: &mut Pty, what: &str, wish: impl FnOnce(&mut Pty)) -> std::process::ExitStatus {
    let pid = pty.child.id();
    let (before, start) = (cpu(pid), Instant::now());
    wish(pty);
    let mut used = before;
    let status = wait_until(what, || {
        used = used.max(cpu(pid));
        pty.child.try_wait().unwrap()
    });
    let (took, used) = (start.elapsed(), used.saturating_sub(before));
    assert!(took < longest(), "{what}: it took {took:?}");
    assert!(used < CPU, "{what}: it used {used:?} of processor time");
    common::figure("exits", what, &format!("ended after {} ms", took.as_millis()));
    status
}

#[test]
fn every_signal_that_ends_it_leaves_the_terminal_and_the_recording_in_order() {
    require_live!();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let busy = Busy::start("sleep 0.02");
        let mut pty = busy.dashboard();
        let status = ends(&mut pty, signal.as_str(), |pty| pty.signal(signal));
        assert_eq!(status.code(), Some(0), "{signal}");
        pty.assert_restored();
        busy.assert_recorded();
    }
}

#[test]
fn a_panic_in_any_thread_ends_it_in_order_and_is_told_in_one_line() {
    require_live!();
    for (place, keys) in [("main", ""), ("reader", ""), ("keyboard", "2"), ("look", "\r"), ("recorder", "")] {
        let busy = Busy::start("sleep 0.02");
        let mut pty = Pty::start(busy.watched().env("OPENTOP_FAULT", place).env("RUST_BACKTRACE", "0"), 120, 40);
        if !keys.is_empty() {
            pty.wait_for("an open", |screen| screen.contains("watched-file"));
            pty.keys(keys);
        }
        assert_eq!(pty.wait().code(), Some(101), "{place}");
        pty.assert_restored();
        let said = wait_until("the line that tells of it", || {
            Some(String::from_utf8_lossy(&pty.bytes()).into_owned()).filter(|text| text.contains("please report it"))
        });
        assert!(said.contains(&format!(r"asked for at \x1b[31m{place}")), "{place}: {said:?}");
        if !keys.is_empty() {
            busy.assert_recorded();
        }
    }
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = busy.dashboard();
    ends(&mut pty, "the terminal is closed", Pty::hang_up);
    busy.assert_recorded();
}

#[test]
fn a_terminal_that_is_closed_ends_it_though_the_hang_up_signal_is_ignored() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_opentop")])
        .args(busy.watched().get_args());
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
    let mut pty = Pty::start(&mut command, 120, 40);
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    ends(&mut pty, "the terminal is closed, SIGHUP ignored", Pty::hang_up);
    busy.assert_recorded();
}

#[test]
fn a_tmux_that_is_killed_ends_it() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let socket = busy.dir.path().join("tmux");
    let tmux = |args: &[&str]| {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&socket).args(args).env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
        let output = command.output().expect("tmux is there");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let watched = busy.watched();
    let words: Vec<&str> =
        std::iter::once(watched.get_program()).chain(watched.get_args()).map(|word| word.to_str().unwrap()).collect();
    tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", &format!("exec {}", words.join(" "))]);
    let pid: u32 = tmux(&["display-message", "-p", "#{pane_pid}"]).trim().parse().unwrap();
    wait_until("an open on the screen", || tmux(&["capture-pane", "-p"]).contains("watched-file").then_some(()));
    let (before, start) = (cpu(pid), Instant::now());
    let server: i32 = tmux(&["display-message", "-p", "#{pid}"]).trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server), Signal::SIGKILL).unwrap();
    let mut used = before;
    wait_until("the end after the server was killed", || {
        used = used.max(cpu(pid));
        has_ended(pid).then_some(())
    });
    let took = start.elapsed();
    assert!(took < longest() && used - before < CPU, "{took:?}, {:?} of processor time", used - before);
    common::figure("exits", "tmux is killed", &format!("ended after {} ms", took.as_millis()));
    busy.assert_recorded();
}

/// Whether a process is gone, or a zombie that nobody reaps.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap_or_default().split_whitespace().next().is_none_or(|state| state == "Z")
}

/// A shell with job control, in a terminal.
fn shell(dir: &Path) -> Pty {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "--noediting", "-i"]).env("PS1", "ready> ").current_dir(dir);
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
    let mut pty = Pty::start(&mut command, 120, 40);
    pty.wait_for("the prompt", |screen| screen.contains("ready>"));
    pty
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = shell(busy.dir.path());
    pty.keys(&format!("{}\r", line_of(&busy.watched())));
    for round in 0..3_usize {
        pty.wait_for("an open", |screen| screen.contains("watched-file") && screen.contains("help"));
        pty.keys("\x1a");
        // This round's line and a prompt under it: the earlier rounds' come back to the screen before the shell does, and
        // what is typed until then is for the dashboard.
        pty.wait_for("the shell", |screen| {
            screen.matches("Stopped").count() == round + 1 && screen.trim_end().lines().last() == Some("ready>")
        });
        pty.keys(&format!("echo back-$(({round}+1))\r"));
        pty.wait_for("the shell's answer", |screen| screen.contains(&format!("back-{}", round + 1)));
        pty.assert_screen_left();
        pty.keys("fg\r");
    }
    pty.wait_for("the dashboard", |screen| screen.contains("watched-file") && screen.contains("help"));
    pty.keys("q");
    pty.wait_for("the account, and the prompt", |screen| {
        screen.contains(" lost") && screen.trim_end().lines().last() == Some("ready>")
    });
    pty.keys("exit\r");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
    busy.assert_recorded();
}

#[test]
fn when_sudo_is_gone_it_ends() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = shell(busy.dir.path());
    // What sudo is to it: a parent in the same process group that waits.
    pty.keys(&format!("sh -c 'echo $$ >parent; {}; true'\r", line_of(&busy.watched())));
    pty.wait_for("an open", |screen| screen.contains("watched-file") && screen.contains("help"));
    let parent: i32 = std::fs::read_to_string(busy.dir.path().join("parent")).unwrap().trim().parse().unwrap();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let pid: u32 = children.split_whitespace().next().unwrap().parse().unwrap();
    let (before, start) = (cpu(pid), Instant::now());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(parent), Signal::SIGKILL).unwrap();
    let mut used = before;
    wait_until("the end after the parent was killed", || {
        used = used.max(cpu(pid));
        has_ended(pid).then_some(())
    });
    let took = start.elapsed();
    assert!(took < longest() && used - before < CPU, "{took:?}, {:?} of processor time", used - before);
    common::figure("exits", "sudo is killed", &format!("ended after {} ms", took.as_millis()));
    pty.assert_screen_left();
    busy.assert_recorded();
    pty.keys("exit\r");
    pty.wait();
}

#[test]
fn a_storm_of_sizes_leaves_it_whole() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = busy.dashboard();
    for round in 0..400_u16 {
        pty.resize(1 + round * 7 % 250, 1 + round * 3 % 80);
        std::thread::sleep(Duration::from_millis(2));
    }
    pty.resize(100, 30);
    pty.wait_for("the footer in the last of 30 rows", |screen| {
        screen.lines().count() == 30 && screen.lines().last().is_some_and(|line| line.contains("help"))
    });
    ends(&mut pty, "q after 400 changes of size", |pty| pty.keys("q"));
    pty.assert_restored();
    busy.assert_recorded();
}

#[test]
fn a_terminal_that_nobody_reads_does_not_keep_it() {
    require_live!();
    let busy = Busy::start(":");
    let mut pty = busy.dashboard();
    pty.stop_reading();
    // Large frames, again and again, until the terminal takes no more.
    for round in 0..60 {
        pty.keys(["1", "2", "3", "4", "5", "?", "\x1b"][round % 7]);
        std::thread::sleep(Duration::from_millis(30));
    }
    let status = ends(&mut pty, "SIGTERM while nobody reads the terminal", |pty| pty.signal(Signal::SIGTERM));
    assert!(status.code().is_some(), "{status}");
    pty.read_on();
    pty.assert_restored();
    busy.assert_recorded();
}

#[test]
fn a_second_ctrl_c_ends_it_whatever_hangs() {
    require_live!();
    // A command that does not end, in the lines' mode: the first is the command's own affair.
    let stubborn = "trap '' INT; echo $$ ready; while :; do sleep 0.1; done";
    let mut pty = Pty::start(opentop().args(["trace", "-f", "nothing", "--", "sh", "-c", stubborn]), 120, 40);
    let screen = pty.wait_for("the command", |screen| screen.contains("ready"));
    let command = screen.lines().find_map(|line| line.strip_suffix(" ready")).unwrap().parse().unwrap();
    pty.keys("\x03");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(pty.child.try_wait().unwrap(), None, "the command decides");
    assert_eq!(ends(&mut pty, "a second Ctrl-C", |pty| pty.keys("\x03")).code(), Some(128 + 2));
    pty.assert_restored();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(command), Signal::SIGKILL).unwrap();

    // A dashboard that is stuck in a write: it looks at no key.
    let busy = Busy::start(":");
    let mut pty = busy.dashboard();
    pty.stop_reading();
    for round in 0..60 {
        pty.keys(["1", "2", "3", "4", "5", "?", "\x1b"][round % 7]);
        std::thread::sleep(Duration::from_millis(30));
    }
    ends(&mut pty, "two Ctrl-C while nobody reads the terminal", |pty| pty.keys("\x03\x03\x03"));
    pty.read_on();
    pty.assert_restored();
}

#[test]
fn a_ctrl_c_behind_keys_that_wait_is_a_key() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = busy.dashboard();
    // All at once, as a slow line brings them.
    assert_eq!(ends(&mut pty, "Ctrl-C typed ahead", |pty| pty.keys("jjjjjjjj\x03")).code(), Some(0));
    pty.assert_restored();
    busy.assert_recorded();
}

#[test]
fn lines_that_nobody_reads_do_not_keep_it_either() {
    require_live!();
    let busy = Busy::start(":");
    let mut command = opentop();
    command.args(["trace", "-p", &busy.child.id().to_string(), "-w"]).arg(busy.recording());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Nobody reads; the pipe is full after 64 KiB.
    wait_until("a recording", || std::fs::metadata(busy.recording()).ok().filter(|meta| meta.len() > 1000));
    std::thread::sleep(Duration::from_millis(1500));
    let start = Instant::now();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    wait_until("the end", || child.try_wait().unwrap());
    let took = start.elapsed();
    assert!(took < longest(), "{took:?}");
    common::figure("exits", "SIGTERM while nobody reads the lines", &format!("ended after {} ms", took.as_millis()));
    busy.assert_recorded();
}

/// bpf(2) with an id: the descriptor, or the error.
fn by_id(command: libc::c_long, id: u32) -> Result<OwnedFd, nix::errno::Errno> {
    let attr = [id, 0, 0];
    // SAFETY: the attribute is 12 bytes, as the command has it; what comes back is a new descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(&attr)) };
    match i32::try_from(fd).unwrap() {
        // SAFETY: as said.
        fd @ 0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(nix::errno::Errno::last()),
    }
}

/// `BPF_PROG_GET_FD_BY_ID`, `BPF_MAP_GET_FD_BY_ID`, `BPF_LINK_GET_FD_BY_ID` of linux/bpf.h.
const KINDS: [(&str, libc::c_long); 3] = [("prog_id", 13), ("map_id", 14), ("link_id", 30)];

/// The programs, maps and links that a process holds.
fn objects(pid: u32) -> Vec<(&'static str, libc::c_long, u32)> {
    let infos = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = infos.map(|info| std::fs::read_to_string(info.unwrap().path()).unwrap_or_default());
    let ids = texts.flat_map(|text| {
        let id = |kind: &str| {
            let line = text.lines().find(|line| line.split(':').next() == Some(kind))?;
            line.split_whitespace().nth(1)?.parse::<u32>().ok()
        };
        KINDS.iter().filter_map(|(kind, command)| Some((*kind, *command, id(kind)?))).collect::<Vec<_>>()
    });
    ids.collect()
}

#[test]
fn sigkill_leaves_no_program_no_link_and_no_map_behind() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let pty = busy.dashboard();
    let pid = pty.child.id();
    let held = objects(pid);
    for kind in ["prog_id", "map_id"] {
        assert!(held.iter().any(|(held, ..)| *held == kind), "no {kind} among {held:?}");
    }
    for (kind, command, id) in &held {
        if let Err(errno) = by_id(*command, *id) {
            assert_eq!(errno, nix::errno::Errno::EPERM, "{kind} {id} is held and cannot be found");
            std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: bpf(2) by id takes CAP_SYS_ADMIN\n").unwrap();
            return;
        }
    }
    drop(pty);
    wait_until("everything gone", || {
        let left: Vec<_> = held.iter().filter(|(_, command, id)| by_id(*command, *id).is_ok()).collect();
        left.is_empty().then_some(())
    });
    common::figure("exits", "SIGKILL", &format!("{} programs, maps and links held, none left", held.len()));
}
