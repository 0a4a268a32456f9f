//! What opentop holds while it runs: nothing. On the real binary, thread by thread, as root, under sudo and by setcap.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    process::{Child, Command, Stdio},
};

use common::{Ended, opentop, pty::Pty, wait_until, watched::children};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A user without any rights.
const NOBODY: u32 = 65_534;

/// One line of every thread's /proc/PID/task/TID/status, with the thread's name.
fn of_every_thread(pid: u32, field: &str) -> Vec<(String, String)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let line = |status: &str, field: &str| {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_once(':').unwrap().1.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // A thread may end while it is looked at.
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok())
        .map(|status| (line(&status, "Name:"), line(&status, field)))
        .collect()
}

fn assert_powerless(pid: u32) {
    for field in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        for (thread, value) in of_every_thread(pid, field) {
            assert_eq!(u64::from_str_radix(&value, 16).unwrap(), 0, "{field} of the thread {thread}");
        }
    }
    for (field, wanted) in [("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
        let all = of_every_thread(pid, field);
        assert!(all.len() >= 3, "too few threads to tell: {all:?}");
        assert!(all.iter().all(|(_, value)| value == wanted), "{field} {all:?}");
    }
}

/// `opentop trace ARGS -- a command that says "ready" and waits`, running.
fn tracing(mut command: Command, args: &[&str]) -> (Child, BufReader<std::process::ChildStderr>) {
    // A minute at most, whatever becomes of the one who started it.
    let script = "echo ready >&2; i=0; while [ $i -lt 1200 ]; do i=$((i+1)); : < /dev/null; sleep 0.05; done";
    let mut child = command
        .args(["trace"])
        .args(args)
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.ends_with("ready\n") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "ended before its command was ready: {said}");
    }
    (child, stderr)
}

fn end(mut child: Child) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(wait_until("the end after SIGTERM", || child.try_wait().unwrap()).code(), Some(128 + 15));
}

#[test]
fn once_attached_no_thread_holds_a_capability_or_can_get_one() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("x.otop");
    let (child, _stderr) = tracing(opentop(), &["-w", recording.to_str().unwrap()]);
    assert_powerless(child.id());
    end(child);
    assert!(common::run(["trace", "-r", recording.to_str().unwrap()]).account()[0] > 0);
}

#[test]
fn the_dashboard_holds_none_either_whatever_threads_it_starts() {
    require_live!();
    let script = "while :; do : < /dev/null; sleep 0.05; done";
    let mut pty = Pty::start(opentop().args(["--", "sh", "-c", script]), 120, 40);
    pty.wait_for("an open", |screen| screen.contains("/dev/null"));
    pty.keys("\r");
    pty.wait_for("the page of a process", |screen| screen.contains("the kernel's count"));
    assert_powerless(pty.child.id());
    pty.keys("q");
    pty.keys("q");
    pty.wait();
    pty.assert_restored();
}

#[test]
fn the_command_inherits_nothing_of_it() {
    require_live!();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let ended = common::run(["trace", "-f", "nothing", "--", "sh", "-c", "cat /proc/self/status >&2"]);
    for field in ["CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:"] {
        let line = own.lines().find(|line| line.starts_with(field)).unwrap();
        assert!(ended.stderr.lines().any(|l| l == line), "{line:?} is not in {ended:?}");
    }
}

#[test]
fn names_for_stacks_come_by_a_process_that_may_only_open_and_ends_with_opentop() {
    require_live!();
    let (child, _stderr) = tracing(opentop(), &["--stacks"]);
    assert_powerless(child.id());
    // CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, linux/capability.h.
    let looker = beside(child.id(), "opentop-looker", 1 << 2 | 1 << 19);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGKILL).unwrap();
    wait_until("the looker's end", || (!Path::new(&format!("/proc/{looker}/exe")).exists()).then_some(()));
    let mut child = child;
    child.wait().unwrap();
}

/// The process of that name which stands beside opentop: it has at most these capabilities, the way to opentop, and
/// nothing else.
fn beside(opentop: u32, name: &str, capabilities: u64) -> u32 {
    let named = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name);
    // Opentop does not wait for it: its list is the last that it puts up.
    let confined = |pid: &u32| of_every_thread(*pid, "Seccomp:").iter().any(|(_, value)| value == "2");
    let pid = wait_until(&format!("{name}, confined"), || children(opentop).into_iter().find(named).filter(confined));
    for field in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
        for (_, value) in of_every_thread(pid, field) {
            assert_eq!(u64::from_str_radix(&value, 16).unwrap() & !capabilities, 0, "{field} {value}");
        }
    }
    for (field, wanted) in [("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
        assert!(of_every_thread(pid, field).iter().all(|(_, value)| value == wanted), "{field}");
    }
    // Neither the probe nor the terminal.
    let held: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        // What it measures by comes and goes.
        .filter_map(|fd| Some(std::fs::read_link(fd.ok()?.path()).ok()?.display().to_string()))
        .filter(|held| !held.contains("bpf-stats"))
        .collect();
    assert_eq!(held.len(), 1, "{held:?}");
    pid
}

#[test]
fn the_probe_is_measured_by_a_process_that_can_do_nothing_else_and_ends_with_opentop() {
    require_live!();
    let script = "while :; do : < /dev/null; sleep 0.05; done";
    let mut pty = Pty::start(opentop().args(["--", "sh", "-c", script]), 120, 40);
    pty.keys("5");
    pty.wait_for("a figure", |screen| screen.contains("at each open of this machine"));
    // CAP_SYS_ADMIN.
    let gauge = beside(pty.child.id(), "opentop-gauge", 1 << 21);
    pty.signal(Signal::SIGKILL);
    wait_until("the gauge's end", || (!Path::new(&format!("/proc/{gauge}/exe")).exists()).then_some(()));
    pty.wait();
}

#[test]
fn keep_privileges_keeps_them() {
    require_live!();
    let (child, _stderr) = tracing(opentop(), &["--keep-privileges"]);
    let own = of_every_thread(std::process::id(), "CapEff:").remove(0).1;
    assert!(of_every_thread(child.id(), "CapEff:").iter().all(|(_, value)| *value == own));
    assert!(of_every_thread(child.id(), "NoNewPrivs:").iter().all(|(_, value)| value == "0"));
    end(child);
}

#[test]
fn under_sudo_it_is_the_caller_who_reads_and_writes() {
    require_live!();
    if !common::root() {
        return;
    }
    let sudo = || {
        let mut command = opentop();
        command.envs([("SUDO_UID", "65534"), ("SUDO_GID", "65534"), ("SUDO_USER", "nobody")]);
        command
    };
    let dir = tempfile::tempdir().unwrap();
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let file = |name: &str| dir.path().join(name);
    let (recording, log) = (file("x.otop"), file("probe.log"));
    let args = ["-w", recording.to_str().unwrap(), "--rotate", "1s", "--probe-log", log.to_str().unwrap()];
    let (child, _stderr) = tracing(sudo(), &args);
    let ids = format!("{NOBODY} {NOBODY} {NOBODY} {NOBODY}");
    for (field, wanted) in [("Uid:", ids.as_str()), ("Gid:", &ids), ("Groups:", "65534")] {
        let all = of_every_thread(child.id(), field);
        assert!(all.iter().all(|(_, value)| value == wanted), "{field} {all:?}");
    }
    wait_until("the second part of the recording", || file("x.0002.otop").exists().then_some(()));
    end(child);
    for name in ["x.0001.otop", "x.0002.otop", "probe.log"] {
        assert_eq!(std::fs::metadata(file(name)).unwrap().uid(), NOBODY, "{name}");
    }
    // What is root's own stays unread, whatever the caller names.
    let secret = file("secret");
    std::fs::copy(file("x.0001.otop"), &secret).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let ended = Ended::of(sudo().args(["trace", "-r"]).arg(&secret).output().unwrap());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("permission denied"), "{ended:?}");
    let ended = Ended::of(sudo().args(["trace", "-r"]).arg(file("x.0001.otop")).output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn root_records_where_only_root_may_write_though_it_gives_that_right_up() {
    require_live!();
    if !common::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let recording = dir.path().join("x.otop");
    let ended = common::run(["trace", "-f", "nothing", "-w", recording.to_str().unwrap(), "--", "true"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let replayed = common::run(["trace", "-r", recording.to_str().unwrap()]);
    assert_eq!(replayed.account()[0], ended.account()[0], "{replayed:?}");
}

#[test]
fn with_setcap_it_captures_for_a_user_without_sudo() {
    require_live!();
    if !common::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("opentop");
    std::fs::copy(env!("CARGO_BIN_EXE_opentop"), &copy).unwrap();
    // The command that opentop itself recommends.
    let advice = Ended::of(as_nobody(&copy).args(["trace", "--", "true"]).output().unwrap());
    assert_eq!(advice.code, Some(77), "{advice:?}");
    let setcap = advice.stderr.lines().find_map(|line| line.trim().strip_prefix("sudo setcap ")).unwrap().to_owned();
    let setcap = Command::new("sh").args(["-c", &format!("PATH=$PATH:/sbin:/usr/sbin; setcap {setcap}")]).status();
    assert!(setcap.unwrap().success(), "setcap (Debian: libcap2-bin) failed");

    let output = dir.path().join("opens");
    std::fs::write(&output, "").unwrap();
    chown(&output, Some(NOBODY), Some(NOBODY)).unwrap();
    let (child, _stderr) = tracing(as_nobody(&copy), &["-o", output.to_str().unwrap()]);
    assert_powerless(child.id());
    let uids = of_every_thread(child.id(), "Uid:");
    assert!(uids.iter().all(|(_, ids)| ids.starts_with("65534 ")), "{uids:?}");
    end(child);
    assert!(std::fs::read_to_string(&output).unwrap().contains("/dev/null"));
    let doctor = Ended::of(as_nobody(&copy).arg("doctor").output().unwrap());
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
}

/// `program` as a user without rights, where tracefs is mounted as on most machines.
fn as_nobody(program: &Path) -> Command {
    let script = "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec setpriv --reuid 65534 --regid 65534 \
                  --clear-groups --inh-caps=-all -- \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(program);
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH").current_dir("/");
    command
}
