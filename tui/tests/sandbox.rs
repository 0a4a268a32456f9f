//! What opentop asks the kernel for, seen by strace: nothing that its own list refuses, and nothing of what others wrote
//! before the list stands.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Stdio},
};

use common::{pty::Pty, wait_until};

/// What strace wrote, a line for each call: a call that others came between is put together where it began.
fn read(log: &Path) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut begun: BTreeMap<String, usize> = BTreeMap::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let (thread, call) = parted(line);
        if let Some(start) = line.strip_suffix("<unfinished ...>") {
            begun.insert(thread.to_owned(), lines.len());
            lines.push(start.trim_end().to_owned());
        } else if let (Some(at), Some((_, rest))) = (begun.get(thread), call.split_once(" resumed>")) {
            lines[*at].push_str(rest);
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// What one line is about: the thread, and the call with its arguments and answer.
fn parted(line: &str) -> (&str, &str) {
    line.split_once(' ').map_or(("", line), |(thread, call)| (thread, call.trim_start()))
}

/// Opentop's first thread, and the line from which on its list stands. Others have lists of their own: the looker, the
/// gauge, a thread that tries whether there can be one.
fn list_of(lines: &[String]) -> (&str, usize) {
    let main = parted(&lines[0]).0;
    let put_up = |line: &String| line.contains("seccomp(SECCOMP_SET_MODE_FILTER") && line.ends_with("= 0");
    let at = lines.iter().rposition(|line| parted(line).0 == main && put_up(line));
    (main, at.unwrap_or_else(|| panic!("no list was put up:\n{}", lines.join("\n"))))
}

/// The calls that the list of what is allowed refused.
fn refused(log: &Path) -> Vec<String> {
    let lines = read(log);
    let after = lines.iter().skip(list_of(&lines).1);
    // The command behind `--` has no list; its lines are its own.
    let commands: BTreeSet<&str> =
        lines.iter().skip(1).filter(|line| line.contains("execve(")).map(|line| parted(line).0).collect();
    let refused = after.filter(|line| line.contains("= -1 EPERM") && !commands.contains(parted(line).0));
    refused.cloned().collect()
}

fn under_strace(log: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(log).arg("--").arg(env!("CARGO_BIN_EXE_opentop"));
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH").stdin(Stdio::null());
    command
}

#[test]
fn nothing_that_it_does_is_refused_by_its_own_list_of_system_calls() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("strace");
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("watched-file"), "").unwrap();
    let script = "for i in 1 2 3 4 5 6; do : < watched-file; sleep 0.3; done";
    let run = |args: &[&str]| {
        let output = under_strace(&log).args(args).current_dir(dir.path()).output().expect("strace is there");
        assert!(output.status.success(), "{args:?}: {output:?}");
        let refused = refused(&log);
        assert!(refused.is_empty(), "{args:?} was refused:\n{}", refused.join("\n"));
    };
    let (recording, output) = (file("x.otop"), file("opens"));
    run(&["trace", "-w", &recording, "--rotate", "1s", "-o", &output, "--", "sh", "-c", script]);
    run(&["summary", "-o", &output, "--duration", "1s", "--", "sh", "-c", script]);
    run(&["trace", "--probe-log", &file("log"), "-p", "1", "--duration", "500ms"]);
    run(&["summary", "-r", &file("x.0001.otop")]);
    run(&["-r", &file("x.0001.otop"), "--cast", &file("x.cast"), "--keys", "key 2; wait 1s; key q"]);

    let mut pty = Pty::start(
        under_strace(&log)
            .args([
                "--cast",
                &file("y.cast"),
                "-w",
                &file("y.otop"),
                "--",
                "sh",
                "-c",
                "while :; do : < watched-file; sleep 0.1; done",
            ])
            .current_dir(dir.path()),
        120,
        40,
    );
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    // The page of a process, the clipboard, the tabs, a list saved, a change of size, a filter.
    for keys in ["\r", "y", "\x1b", "2", "3", "4", "5", "1", "o", "/comm:sh\r", "?", "\x1b"] {
        pty.keys_alone(keys);
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    pty.resize(100, 30);
    wait_until("the saved list", || {
        std::fs::read_dir(dir.path())
            .unwrap()
            .find(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("opentop-"))
    })
    .unwrap();
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
    let refused = refused(&log);
    assert!(refused.is_empty(), "the dashboard was refused:\n{}", refused.join("\n"));
}

/// Where in a start what was given up was given up, and the first look at what others wrote.
struct Start {
    /// The line of the call that put the list up, and the thread that made it.
    list: usize,
    /// Lines of looks, with what they look at.
    looks: Vec<(usize, String)>,
}

/// Asserts what must have been given up when the list stands, by every thread that goes on.
fn start_of(lines: &[String]) -> Start {
    let (main, list) = list_of(lines);
    let before = |what: &str| {
        let found =
            lines[..list].iter().any(|line| parted(line).0 == main && line.contains(what) && line.ends_with("= 0"));
        assert!(found, "no {what} before the list stood:\n{}", lines.join("\n"));
    };
    before("prctl(PR_SET_NO_NEW_PRIVS, 1");
    before("capset(");
    // What is given up last must be everything: no capset that keeps any comes later, and the last one keeps none.
    let last = lines[..list].iter().rfind(|line| parted(line).0 == main && line.contains("capset(")).unwrap();
    assert!(last.contains("effective=0") && last.contains("permitted=0"), "capabilities are kept: {last}");
    // Threads that were started before have ended before: capset(2) and these prctls are for one thread.
    let early: BTreeSet<&str> = lines[..list]
        .iter()
        .filter(|line| line.contains("CLONE_THREAD"))
        .filter_map(|line| line.rsplit("= ").next()?.split_whitespace().next())
        .collect();
    for thread in &early {
        let after = lines[list..].iter().find(|line| parted(line).0 == *thread && !line.contains("+++ exited"));
        assert!(after.is_none(), "the thread {thread} was there before the list: {after:?}");
    }
    // The command and the processes beside opentop look at what is theirs.
    let mut own = BTreeSet::from([main]);
    for line in lines.iter().filter(|line| line.contains("CLONE_THREAD")) {
        if own.contains(parted(line).0) {
            own.extend(line.rsplit("= ").next().and_then(|answer| answer.split_whitespace().next()));
        }
    }
    let looks = lines.iter().enumerate().filter_map(|(at, line)| {
        let (thread, call) = parted(line);
        let calls = ["epoll_wait(", "epoll_pwait(", "epoll_pwait2(", "read(0,"];
        let look = calls.iter().find(|look| call.starts_with(**look) && own.contains(thread))?;
        Some((at, (*look).to_owned()))
    });
    Start { list, looks: looks.collect() }
}

#[test]
fn the_list_stands_before_the_first_look_at_the_ring_and_the_terminal() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("strace");
    std::fs::write(dir.path().join("watched-file"), "").unwrap();
    let script = "while :; do : < watched-file; sleep 0.05; done";
    let mut pty = Pty::start(under_strace(&log).args(["--", "sh", "-c", script]).current_dir(dir.path()), 120, 40);
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    let start = start_of(&read(&log));
    // The ring is memory; its readiness, and so its first byte, comes by way of epoll.
    for wanted in ["epoll", "read(0,"] {
        let first = start.looks.iter().find(|(_, look)| look.contains(wanted));
        let (at, look) = first.unwrap_or_else(|| panic!("no {wanted} at all: {:?}", start.looks));
        assert!(*at > start.list, "{look} at line {at}, and the list at line {}", start.list);
    }

    // A recording: opened before, for its name may be root's to read, and read after.
    let recording = dir.path().join("x.otop");
    let ended = common::run(["trace", "-f", "nothing", "-w", recording.to_str().unwrap(), "--", "true"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let output = under_strace(&log).args(["trace", "-r"]).arg(&recording).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = read(&log);
    let list = start_of(&lines).list;
    let opened = lines.iter().position(|line| parted(line).1.starts_with("openat(") && line.contains("x.otop"));
    let opened = opened.expect("it was opened");
    let fd = lines[opened].rsplit("= ").next().unwrap();
    let reads = ["read", "pread64", "readv", "preadv"].map(|call| format!("{call}({fd},"));
    let mut after = lines.iter().enumerate().skip(opened);
    let first = after.find(|(_, line)| reads.iter().any(|read| parted(line).1.starts_with(read))).map(|(at, _)| at);
    assert!(opened < list && first.is_some_and(|first| first > list), "opened {opened}, list {list}, read {first:?}");
}
