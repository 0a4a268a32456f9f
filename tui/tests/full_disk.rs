//! `-w` on a disk that is full: the real binary on a small file system of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::io::Write as _;
use std::process::Command;

use common::{Ended, opentop, pty::Pty};

/// A shell line with a file system of 64 KiB at `$1`, in a mount namespace of its own; `None` where that cannot be.
fn small(line: &str) -> Option<Command> {
    let mount = "mount -t tmpfs -o size=64k small \"$1\" 2>/dev/null || exit 99; ";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{mount}{line}"), "sh"]);
    let dir = tempfile::tempdir().unwrap();
    let tried = Command::new("unshare").args(["--mount", "sh", "-c", mount, "sh"]).arg(dir.path()).output();
    if !tried.is_ok_and(|out| out.status.success()) {
        let say = b"SKIPPED a test on a full disk: no file system can be mounted here\n";
        std::io::stderr().write_all(say).unwrap();
        return None;
    }
    Some(command)
}

/// Opens a file some times, with a pause in which the recording of that is written, whatever the machine; then many, by names
/// that no compression makes small.
const BUSY: &str = r#"i=0; while [ $i -lt 200 ]; do : </dev/null; i=$((i+1)); done; sleep 2
    for f in a b c; do head -c 300000 /dev/urandom | od -An -tx1 -w60 | tr -d ' ' |
    while read n; do { :; } <"/$n"; done 2>/dev/null; done; true"#;

#[test]
fn a_full_disk_is_told_at_once_and_what_is_there_replays() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let line = format!(
        "{} trace -o /dev/null -w \"$1/x.otop\" -- sh -c \"$2\"; echo status $?; cp \"$1/x.otop\" \"$3\"",
        env!("CARGO_BIN_EXE_opentop")
    );
    let Some(mut command) = small(&line) else { return };
    let kept = tempfile::tempdir().unwrap();
    let copy = kept.path().join("x.otop");
    let ended = Ended::of(command.arg(dir.path()).arg(BUSY).arg(&copy).output().unwrap());
    assert!(ended.stdout.contains("status 1"), "{ended:?}");
    assert!(ended.stderr.contains("x.otop: no space left on device"), "{ended:?}");
    let told = ended.stderr.lines().find(|line| line.contains("The recording holds")).unwrap();
    assert!(told.contains("are missing; `opentop -r` replays what it holds"), "{told}");
    let [opens, _, _, lost] = ended.account();
    assert_eq!(lost, 0, "the capture itself loses nothing");

    let replayed = Ended::of(opentop().args(["trace", "-o", "/dev/null", "-r"]).arg(&copy).output().unwrap());
    let [all, shown, _, missing] = replayed.account();
    assert!(shown > 100 && shown + missing == all && all <= opens, "{replayed:?}");
}

#[test]
fn a_file_that_may_grow_no_more_is_like_a_full_disk() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("x.otop");
    // `ulimit -f` counts blocks of 512 bytes or of 1024: 32 or 64 KiB. Beyond it the kernel sends a SIGXFSZ, which kills.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -f 64; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_opentop"),
        "trace",
        "-o",
        "/dev/null",
        "-w",
    ]);
    command.arg(&recording).args(["--", "sh", "-c", BUSY]).env("XDG_CONFIG_HOME", "/nonexistent");
    let ended = Ended::of(command.env_remove("LD_LIBRARY_PATH").output().unwrap());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("x.otop: file too large"), "{ended:?}");
    assert!(ended.stderr.contains("are missing; `opentop -r` replays what it holds"), "{ended:?}");
    let [opens, _, _, lost] = ended.account();
    assert_eq!(lost, 0, "the capture itself loses nothing");
    let replayed = Ended::of(opentop().args(["trace", "-o", "/dev/null", "-r"]).arg(&recording).output().unwrap());
    let [all, shown, _, missing] = replayed.account();
    assert!(shown > 100 && shown + missing == all && all <= opens, "{replayed:?}");
}

#[test]
fn the_dashboard_goes_on_without_its_recording_and_says_so() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let line = format!("exec {} -w \"$1/x.otop\" -- sh -c \"$2; exec sleep 60\"", env!("CARGO_BIN_EXE_opentop"));
    let Some(mut command) = small(&line) else { return };
    // Wide enough for the sentence with the recording's path on one line.
    let mut pty = Pty::start(command.arg(dir.path()).arg(BUSY), 240, 45);
    pty.wait_for("the failure", |screen| screen.contains("rec FAILS") || screen.contains("rec -"));
    pty.keys("5");
    pty.wait_for("the view Health", |screen| screen.contains("The recording") && screen.contains("no space left"));
    pty.keys("1");
    pty.wait_for("opens still come", |screen| screen.contains("● live") && screen.contains("ENOENT"));
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(1));
    pty.assert_restored();
}
