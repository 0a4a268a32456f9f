//! The real binary with recordings: replayed as they were made, refused in sentences.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{fs::File, path::Path, process::Stdio};

use common::{Ended, opentop, run};
use opentop::{
    event::RecordBuilder,
    recording::{Options, Recorder},
    session::{AttachKind, Session},
    source::{Batch, Counters},
};

const OPENS: u64 = 3_000;

fn record(path: &Path) {
    let session = Session {
        attach: AttachKind::Kprobe,
        reason: "first choice".into(),
        kernel: "6.1.0".into(),
        hostname: "elsewhere".into(),
        wall_offset_ns: 1_700_000_000_000_000_000,
        start_ns: 5,
        routes: Vec::new(),
        capture: "all".into(),
        ring_bytes: 1 << 20,
    };
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
