//! Casts that opentop itself makes: from a recording by a script or live, played by an emulator and by asciinema; and a
//! replay under its keys.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{
    Ended,
    casts::{S, SECONDS, asciinemas, last_screen, quiet, read, record, session},
    opentop,
    pty::Pty,
};
use opentop::{
    event::RecordBuilder,
    recording::{Options, Recorder},
    source::{Batch, Counters},
};

fn cast(from: &Path, to: &Path, more: &[&str]) -> Ended {
    Ended::of(opentop().arg("-r").arg(from).arg("--cast").arg(to).args(more).output().unwrap())
}

const SCRIPT: &str = "wait 3s; key /; type comm:make; key Enter; mark made by make; wait 1s; key Right; key ]; wait 2s; \
                      resize 120x30; key 2; wait 1s; key 1; key Esc; key Tab; wait 1s; key Space; wait 1s";

#[test]
fn the_same_recording_and_script_give_the_same_bytes_and_the_expected_last_screen() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, again) = (dir.path().join("x.otop"), dir.path().join("a.cast"), dir.path().join("b.cast"));
    record(&from);
    let options = ["--cast-size", "100x34", "--keys", SCRIPT];
    let ended = cast(&from, &to, &options);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
    ended.account();
    // Nothing of this machine is in it.
    let other = opentop()
        .arg("-r")
        .arg(&from)
        .arg("--cast")
        .arg(&again)
        .args(options)
        .env("NO_COLOR", "1")
        .env("TZ", "Asia/Tokyo")
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(0));
    assert!(std::fs::read(&to).unwrap() == std::fs::read(&again).unwrap(), "two runs, two casts");

    let (header, events) = read(&to);
    assert_eq!((&header["version"], &header["term"]["cols"]), (&3.into(), &100.into()));
    assert_eq!(header["timestamp"], 1_700_000_001);
    let marks: Vec<&str> = events.iter().filter(|e| e.1 == "m").map(|e| e.2.as_str()).collect();
    assert_eq!(marks, ["made by make", "filter comm:make", "view Files", "view Live", "no filter", "paused"]);
    assert_eq!(events.iter().find(|e| e.1 == "r").unwrap().2, "120x30");
    assert_eq!(events.last().map(|e| (e.1.as_str(), e.2.as_str())), Some(("x", "0")));
    assert!(events.iter().all(|e| matches!(e.1.as_str(), "o" | "m" | "r" | "x")), "what is typed is never in it");
    let seconds: f64 = events.iter().map(|e| e.0).sum();
    let typing = 0.06 * "comm:make".len() as f64;
    assert!((seconds - 9.0 - typing).abs() < 0.06, "{seconds}");

    let screen = last_screen(&events, (100, 34));
    // 10 s by the jump, the rest by the clock, a part of it twice as fast.
    for shown in ["❚❚ replay 00:00:2", "make", "cc1", "/src/late-9", "×2", "00:00:29"] {
        assert!(screen.contains(shown), "{shown} is not in\n{screen}");
    }
}

#[test]
fn without_a_script_a_cast_is_as_long_as_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("x.otop"), dir.path().join("a.cast"));
    record(&from);
    let ended = cast(&from, &to, &[]);
    assert_eq!(ended.account(), [SECONDS * 10, SECONDS * 10, 0, 0]);
    let (header, events) = read(&to);
    assert_eq!((&header["term"]["cols"], &header["term"]["rows"]), (&100.into(), &34.into()));
    let seconds: f64 = events.iter().map(|e| e.0).sum();
    assert!((seconds - SECONDS as f64).abs() < 1.0, "{seconds}");
    let screen = last_screen(&events, (100, 34));
    assert!(screen.contains("ended") && screen.contains("/src/late-9"), "{screen}");
}

#[test]
fn a_cast_has_no_queries_and_no_mouse_and_is_small() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("x.otop"), dir.path().join("a.cast"));
    record(&from);
    cast(&from, &to, &["--keys", SCRIPT]);
    let (_, events) = read(&to);
    quiet(&events.iter().map(|e| e.2.as_str()).collect::<String>());
    assert!(std::fs::metadata(&to).unwrap().len() < 300_000);
}

#[test]
fn errors_of_a_script_point_at_their_place() {
    let ended = common::run(["-r", "x", "--cast", "y", "--keys", "wait 1s; prss q"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("           ^^^^^^"), "{}", ended.stderr);
    let ended = common::run(["--keys", "key q"]);
    assert_eq!(ended.code, Some(2), "a script with nothing to drive: {ended:?}");
    assert!(!Path::new("y").exists());
}

#[test]
fn the_keys_of_a_replay_stop_step_and_jump_also_behind_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("x.otop");
    record(&from);
    let mut pty = Pty::start(opentop().arg("-r").arg(&from), 120, 40);
    pty.wait_for("the replay", |screen| screen.contains("▶ replay") && screen.contains("+10 s"));
    pty.keys("$");
    pty.wait_for("the end", |screen| screen.contains("ended") && screen.contains("/src/late-9"));
    pty.keys("0 ");
    pty.wait_for("the beginning again", |screen| screen.contains("replay 00:00:0") && !screen.contains("late-"));
    pty.keys("\x1b[C\x1b[C");
    pty.wait_for("two jumps", |screen| screen.contains("replay 00:00:2"));
    pty.keys(".,]");
    pty.wait_for("standing still, faster", |screen| screen.contains("❚❚ replay") && screen.contains("×2"));
    pty.keys(":0:05\r");
    pty.wait_for("five seconds in", |screen| screen.contains("replay 00:00:05"));
    pty.keys("m");
    pty.wait_for("the mark", |screen| screen.contains("marked 00:00:05") && screen.contains('▼'));
    pty.keys(":half\r");
    pty.wait_for("what a time looks like", |screen| screen.contains("^^^^ a time like 90, 1:30"));
    pty.keys("\x15+20s\r");
    pty.wait_for("twenty more", |screen| screen.contains("replay 00:00:25"));
    pty.keys("{");
    pty.wait_for("the mark again", |screen| screen.contains("replay 00:00:05"));
    pty.keys("?");
    pty.wait_for("the help on replays", |screen| screen.contains("ten seconds back"));
    pty.keys("qq");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
}

#[test]
fn sigterm_ends_a_replay_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("x.otop"), dir.path().join("live.cast"));
    record(&from);
    let mut pty = Pty::start(opentop().arg("-r").arg(&from).arg("--cast").arg(&to), 120, 40);
    pty.wait_for("the replay", |screen| screen.contains("▶ replay"));
    pty.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
    let (header, events) = read(&to);
    assert_eq!(header["term"]["cols"], 120);
    assert_eq!(events.last().unwrap().1, "x");
    assert!(last_screen(&events, (120, 40)).contains("opentop"));
}

#[test]
fn a_cast_of_an_opentop_that_was_killed_plays_up_to_its_last_whole_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("x.otop"), dir.path().join("killed.cast"));
    record(&from);
    let mut pty = Pty::start(opentop().arg("-r").arg(&from).arg("--cast").arg(&to), 100, 34);
    pty.wait_for("some of the replay", |screen| {
        (2..=9).any(|second| screen.contains(&format!("▶ replay 00:00:0{second}")))
    });
    pty.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(pty.wait().code(), None);
    let text = std::fs::read_to_string(&to).unwrap();
    assert!(text.ends_with("]\n"), "half an event: {:?}", &text[text.len() - 40..]);
    let (_, events) = read(&to);
    let frames: Vec<&str> = events.iter().filter(|e| e.1 == "o").map(|e| e.2.as_str()).collect();
    assert!(frames.len() > 1 && events.iter().all(|e| e.1 != "x"));
    let whole = |frame: &&&str| frame.ends_with("\x1b[?2026l") && frame.matches("\x1b[?2026h").count() == 1;
    assert_eq!(frames.iter().filter(whole).count(), frames.len(), "an event for each frame");
    let screen = last_screen(&events, (100, 34));
    assert!(screen.contains("▶ replay 00:00:0") && screen.contains("/src/early-9"), "{screen}");

    for (program, version) in asciinemas().into_iter().filter(|(_, version)| version.contains(" 3.")) {
        let raw = dir.path().join("killed.raw");
        let converted =
            Command::new(&program).args(["convert", "--output-format", "raw"]).arg(&to).arg(&raw).output().unwrap();
        assert!(converted.status.success(), "{version}: {converted:?}");
        assert!(std::fs::read_to_string(&raw).unwrap().ends_with(frames.last().unwrap()), "{version}");
        let mut pty = Pty::start(Command::new(program).args(["play", "-s", "50"]).arg(&to), 100, 34);
        assert_eq!(pty.wait().code(), Some(0), "{version}");
        pty.wait_for("the last frame", |screen| screen.contains("/src/early-9"));
    }
}

#[test]
fn a_live_cast_needs_no_terminal() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("live.cast");
    let ended = Ended::of(
        opentop()
            .arg("--cast")
            .arg(&to)
            .args(["--cast-size", "110x30", "--keys", "wait 100ms; key 3; wait 5s", "--"])
            .args(["sh", "-c", "for i in 1 2 3 4 5; do cat /nonexistent-$i; sleep 0.5; done; exit 7"])
            .output()
            .unwrap(),
    );
    assert_eq!(ended.code, Some(7), "{ended:?}");
    let (_, events) = read(&to);
    assert_eq!(events.last().map(|e| (e.1.as_str(), e.2.as_str())), Some(("x", "7")));
    assert!(events.iter().any(|e| e.1 == "m" && e.2 == "view Failures"));
    let screen = last_screen(&events, (110, 30));
    assert!(screen.contains("Failures") && screen.contains("ENOENT") && screen.contains("ended"), "{screen}");
}

/// A minute of a machine that is `opens` a second busy.
fn record_minute(path: &Path, opens: u64) {
    let mut recorder = Recorder::create(path, &Options::default(), &session()).unwrap();
    let mut counters = Counters::default();
    let mut number = 0_u64;
    for quarter in 0..240 {
        let mut batch = Batch::default();
        let count = (opens * (quarter + 1)) / 4 - (opens * quarter) / 4;
        for n in 0..count {
            number += 1;
            // Some sixty processes, some thousand files, no two neighbours alike.
            let (pid, name) = (100 + number * 7 % 61, number * 2_654_435_761 % 1013);
            let comm = ["make", "cc1plus", "as", "ld", "sh", "nginx", "postgres"][(pid % 7) as usize];
            let at = S + quarter * S / 4 + n * (S / 4) / count.max(1);
            let record = RecordBuilder::new(pid as u32, comm, format!("x86_64-linux-gnu/c++/12/bits/header-{name}.h"));
            let record = record.dir("/usr/include").at(at);
            batch.push(&if number.is_multiple_of(3) { record.errno(2) } else { record }.build());
        }
        recorder.offer(&batch);
        counters.at_ns = S + (quarter + 1) * S / 4;
        counters.totals.opens = number;
        recorder.offer_counters(&counters);
    }
    recorder.finish().unwrap();
}

#[test]
fn a_minute_of_a_busy_machine_is_under_1500_kb_and_of_an_idle_one_under_50_kb() {
    let dir = tempfile::tempdir().unwrap();
    for (name, opens, most) in [("busy", 1_000, 1_500_000), ("idle", 0, 50_000)] {
        let (from, to) = (dir.path().join(format!("{name}.otop")), dir.path().join(format!("{name}.cast")));
        record_minute(&from, opens);
        assert_eq!(cast(&from, &to, &["--cast-size", "100x34", "--keys", "wait 60s"]).code, Some(0));
        let (len, (_, events)) = (std::fs::metadata(&to).unwrap().len(), read(&to));
        let say = format!("a minute of a {name} machine: {len} bytes in {} events\n", events.len());
        std::io::Write::write_all(&mut std::io::stderr(), say.as_bytes()).unwrap();
        assert!(len < most, "{say}");
        let seconds: f64 = events.iter().map(|e| e.0).sum();
        assert!((seconds - 60.0).abs() < 0.1, "{seconds}");
    }
}
