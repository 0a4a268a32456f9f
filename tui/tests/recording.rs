//! The real binary with recordings: replayed as they were made, refused in sentences.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{fs::File, io::Write as _, os::fd::AsRawFd, path::Path, process::Stdio, time::Duration};

use common::{Ended, opentop, pty::Pty, run};
use opentop::{
    event::RecordBuilder,
    recording::{Options, Recorder},
    source::{Batch, Counters},
};

const OPENS: u64 = 3_000;

fn record(path: &Path) {
    let session = common::recorded::session(5, 1_700_000_000_000_000_000);
    let mut recorder = Recorder::create(path, &Options::default(), &session).unwrap();
    let mut batch = Batch::default();
    for n in 0..OPENS {
        let builder =
            RecordBuilder::new(n as u32 % 9 + 1, "cc1", format!("{n}\x1b[31m.h")).dir("/usr/src").at(n * 1_000);
        batch.push(&if n % 3 == 0 { builder.errno(2) } else { builder }.build());
    }
    recorder.offer(&batch);
    let mut counters = Counters::default();
    counters.totals.opens = OPENS;
    recorder.offer_counters(&counters);
    recorder.finish().unwrap();
}

fn replay(path: &Path, more: &[&str]) -> Ended {
    Ended::of(opentop().args(["trace", "-r"]).arg(path).args(more).output().unwrap())
}

#[test]
fn a_recording_replays_in_every_format_and_the_account_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    record(&path);
    let ended = replay(&path, &["--format", "json"]);
    assert_eq!((ended.code, ended.account()), (Some(0), [OPENS, OPENS, 0, 0]));
    let lines: Vec<serde_json::Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len() as u64, OPENS);
    assert_eq!(lines[3]["path"], r"/usr/src/3\x1b[31m.h");
    assert_eq!(lines[3]["errno"], "ENOENT");
    assert!(lines[3]["time"].as_str().unwrap().starts_with("2023-11-14T"));
    for format in ["text", "csv"] {
        let ended = replay(&path, &["--format", format, "--filter", "err:ENOENT"]);
        assert_eq!(ended.account(), [OPENS, OPENS / 3, OPENS - OPENS / 3, 0]);
        assert!(!ended.stdout.contains('\x1b'));
    }
}

#[test]
fn a_recording_comes_from_stdin_as_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    record(&path);
    let stdin = Stdio::from(File::open(&path).unwrap());
    let piped = Ended::of(opentop().args(["trace", "-r", "-"]).stdin(stdin).output().unwrap());
    assert_eq!(piped.stdout, replay(&path, &[]).stdout);
}

/// Bytes in a pipe that nobody has read yet.
fn unread(pipe: &impl AsRawFd) -> libc::c_int {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes an integer.
    assert_eq!(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) }, 0);
    bytes
}

#[test]
fn an_export_that_takes_longer_than_a_second_says_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    record(&path);
    let bytes = std::fs::read(&path).unwrap();
    for (pause, says) in [(Duration::ZERO, false), (Duration::from_millis(1_300), true)] {
        let mut command = opentop();
        command.args(["trace", "--format", "json", "-r", "-", "-o"]).arg(dir.path().join("x.json"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (first, rest) = bytes.split_at(bytes.len() / 3);
        stdin.write_all(first).unwrap();
        // The second is counted from when it began to read.
        common::wait_until("the first part is read", || (unread(&stdin) == 0).then_some(()));
        std::thread::sleep(pause);
        stdin.write_all(rest).unwrap();
        drop(stdin);
        let ended = Ended::of(child.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.account()), (Some(0), [OPENS, OPENS, 0, 0]));
        let told = ended.stderr.lines().any(|line| line.starts_with("opentop: ") && line.ends_with(" opens read"));
        assert!(told || !says, "nothing was said in more than a second: {ended:?}");
        assert_eq!(ended.stdout, "", "{ended:?}");
    }
}

#[test]
fn a_recording_that_was_cut_replays_up_to_the_cut_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    record(&path);
    let len = std::fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(len - 1).unwrap();
    let ended = replay(&path, &[]);
    assert_eq!((ended.code, ended.account()), (Some(0), [OPENS, OPENS, 0, 0]));
    assert!(ended.stderr.contains(&format!("cut off at byte {}", len - 1)), "{}", ended.stderr);
    assert!(!ended.stderr.contains("unexplained"), "{}", ended.stderr);
}

#[test]
fn what_is_no_recording_is_refused_with_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let junk = dir.path().join("junk");
    std::fs::write(&junk, "PK\x03\x04 something else altogether").unwrap();
    for (path, says) in [(junk.as_path(), "no opentop recording"), (Path::new("/nonexistent"), "/nonexistent")] {
        let ended = replay(path, &[]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains(says), "{ended:?}");
        assert!(!ended.stderr.contains("os error"), "{ended:?}");
    }
    for line in [&["trace", "-r", "x", "-x"][..], &["-r", "x", "--", "ls"], &["-r", "x", "-w", "y"], &["--overwrite"]] {
        assert_eq!(run(line).code, Some(2), "{line:?}");
    }
}

#[test]
fn what_was_printed_live_is_printed_again_byte_for_byte() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    for format in ["text", "json", "csv"] {
        let live = Ended::of(
            opentop()
                .args(["trace", "--overwrite", "--format", format, "-w"])
                .arg(&path)
                .args(["--", "sh", "-c", "cat /nonexistent; ls /etc; cat /etc/passwd"])
                .output()
                .unwrap(),
        );
        assert!(path.exists(), "{live:?}");
        let again = replay(&path, &["--format", format]);
        assert_eq!(again.stdout, live.stdout);
        assert_eq!(again.account(), live.account());
    }
}

#[test]
fn a_rotation_by_size_leaves_files_that_hold_all_opens_together() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    // Names that do not compress away.
    let script = "exec 2>/dev/null; i=0; while [ $i -lt 150000 ]; do i=$((i+1)); true </nonexistent-$((i*7919%100003))-$((i*48271%2147483647))-$((i*1103515245%2147483629)); done";
    let mut command = opentop();
    command.args(["trace", "--format", "json", "-f", "nonexistent", "--ring-size", "64M", "--rotate", "1M", "-w"]);
    let live = command.arg(dir.path().join("x.otop")).args(["--", "sh", "-c", script]).output().unwrap();
    let live = Ended::of(live);
    let size = |part: &Path| std::fs::metadata(part).unwrap().len();
    let parts: Vec<_> =
        (1..).map(|part| dir.path().join(format!("x.{part:04}.otop"))).take_while(|part| part.exists()).collect();
    assert!(parts.len() > 2, "{} files only", parts.len());
    assert!(parts.iter().all(|part| size(part) < 2 << 20), "{:?}", parts.iter().map(|p| size(p)).collect::<Vec<_>>());
    // Each is whole for itself, and together they are the session.
    let (mut lines, mut opens) = (String::new(), 0);
    for part in &parts {
        let again = replay(part, &["--format", "json", "-f", "nonexistent"]);
        assert!(!again.stderr.contains("cut off") && !again.stderr.contains("damaged"), "{again:?}");
        opens += again.account()[1];
        lines += &again.stdout;
    }
    assert!(lines == live.stdout, "the files hold other opens than were printed live");
    let [_, shown, _, lost] = live.account();
    assert_eq!((lines.lines().count() as u64, opens), (shown, shown));
    // On a machine that is slow beyond measure the ring may lose some: then it says so.
    assert!(shown + lost >= 150_000, "{live:?}");
}

/// A directory of nobody's, in which root without its capabilities can make nothing.
fn of_nobody() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).unwrap();
    dir
}

#[test]
fn a_rotation_that_could_not_go_on_without_roots_rights_is_refused_before_it_begins() {
    require_live!();
    if !common::root() {
        return;
    }
    let dir = of_nobody();
    let start = |rotate: &[&str]| {
        let mut command = opentop();
        command.args(["trace", "-o", "/dev/null"]).args(rotate).arg("-w").arg(dir.path().join("x.otop"));
        Ended::of(command.args(["--", "sleep", "3"]).output().unwrap())
    };
    let refused = start(&["--rotate", "1s"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for says in ["has given root's rights up", "nothing can be made in", "--keep-privileges"] {
        assert!(refused.stderr.contains(says), "{refused:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something was left behind");
    // One file is made before; and whoever keeps the rights makes them all.
    assert_eq!(start(&[]).code, Some(0));
    let kept = start(&["--rotate", "1s", "--keep-privileges"]);
    assert_eq!(kept.code, Some(0), "{kept:?}");
    assert!(dir.path().join("x.0002.otop").exists(), "{kept:?}");
}

#[test]
fn a_list_that_cannot_be_saved_without_roots_rights_says_so() {
    require_live!();
    if !common::root() {
        return;
    }
    let dir = of_nobody();
    let mut pty = Pty::start(opentop().args(["--", "sleep", "30"]).current_dir(dir.path()), 160, 30);
    pty.wait_for("an open", |screen| screen.contains("sleep"));
    pty.keys("o");
    pty.wait_for("why it was not written", |screen| {
        screen.contains("opentop has given root's rights up; start it in a directory of root's own")
    });
    pty.keys("q");
    pty.wait();
}
