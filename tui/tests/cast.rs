//! Casts of the real binary: made from a recording by a script, played by an emulator and by asciinema; and a replay
//! under its keys.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Ended, opentop, pty::Pty};
use opentop::{
    event::RecordBuilder,
    recording::{Options, Recorder},
    session::Session,
    source::{Batch, Counters},
};

const S: u64 = 1_000_000_000;
const SECONDS: u64 = 30;

fn session() -> Session {
    common::recorded::session(S, 1_700_000_000 * S as i64)
}

/// Ten opens a second, half of them by `make`; opens of `late` come after 20 s.
fn record(path: &Path) {
    let session = session();
    let mut recorder = Recorder::create(path, &Options::default(), &session).unwrap();
    let mut counters = Counters::default();
    for second in 0..SECONDS {
        let mut batch = Batch::default();
        for n in 0..10 {
            let (pid, comm) = if n % 2 == 0 { (70, "make") } else { (71, "cc1") };
            let name = if second < 20 { format!("early-{n}") } else { format!("late-{n}") };
            batch.push(&RecordBuilder::new(pid, comm, name).dir("/src").at((second + 1) * S + n * 1000).build());
        }
        recorder.offer(&batch);
        counters.at_ns = (second + 1) * S + S / 2;
        counters.totals.opens += 10;
        recorder.offer_counters(&counters);
    }
    recorder.finish().unwrap();
}

fn cast(from: &Path, to: &Path, more: &[&str]) -> Ended {
    Ended::of(opentop().arg("-r").arg(from).arg("--cast").arg(to).args(more).output().unwrap())
}

/// The header and the events.
fn read(path: &Path) -> (serde_json::Value, Vec<(f64, String, String)>) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header = serde_json::from_str(lines.next().unwrap()).unwrap();
    (header, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What a player shows at the end.
fn last_screen(events: &[(f64, String, String)], (cols, rows): (usize, usize)) -> String {
    let mut emulator = avt::Terminal::new(cols, rows).unwrap();
    for (_, code, data) in events {
        match code.as_str() {
            "o" => {
                emulator.feed([data.as_str()]);
            }
            "r" => {
                let (cols, rows) = data.split_once('x').unwrap();
                emulator.resize(cols.parse().unwrap(), rows.parse().unwrap());
            }
            _ => {}
        }
    }
    emulator.screen().visible_lines().map(|line| line.text().trim_end().to_owned() + "\n").collect()
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
    for shown in ["❚❚ replay 00:00:2", "make", "cc1", "/src/late-9", "×2", "00:00:30"] {
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

/// No questions to the terminal, and nothing of the mouse.
fn quiet(text: &str) {
    let queries = [
        "\x1b[c",
        "\x1b[>c",
        "\x1b[0c",
        "\x1b[5n",
        "\x1b[6n",
        "\x1b[?6n",
        "\x1b[18t",
        "\x1b[14t",
        "\x1bP",
        "\x1b[?u",
        "\x1b]10;?",
        "\x1b]11;?",
    ];
    for query in queries {
        assert!(!text.contains(query), "{query:?} asks the terminal");
    }
    // What the mouse would have sent: ESC [ < or ESC [ M.
    assert!(!text.contains("\x1b[<") && !text.contains("\x1b[M"), "mouse bytes");
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
    pty.wait_for("some of the replay", |screen| screen.contains("▶ replay 00:00:02"));
    pty.signal(nix::sys::signal::Signal::SIGKILL);
    assert_eq!(pty.wait().code(), None);
    let text = std::fs::read_to_string(&to).unwrap();
    assert!(text.ends_with("]\n"), "half an event: {:?}", &text[text.len() - 40..]);
    let (_, events) = read(&to);
    let frames: Vec<&str> = events.iter().filter(|e| e.1 == "o").map(|e| e.2.as_str()).collect();
    assert!(frames.len() > 3 && events.iter().all(|e| e.1 != "x"));
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
            .args(["sh", "-c", "for i in 1 2 3 4 5; do cat /nonexistent-$i; sleep 0.1; done; exit 7"])
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

/// Every asciinema there is, by version: the distribution's, and the one that CI builds.
fn asciinemas() -> Vec<(PathBuf, String)> {
    let target = Path::new(env!("CARGO_BIN_EXE_opentop")).ancestors().nth(2).unwrap();
    let own = target.join("asciinema/bin/asciinema");
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&paths).map(|dir| dir.join("asciinema")).chain([own]);
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    for path in all {
        let Ok(out) = Command::new(&path).arg("--version").output() else { continue };
        let version = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        if out.status.success() && !found.iter().any(|(_, known)| *known == version) {
            found.push((path, version));
        }
    }
    found
}

#[test]
fn asciinema_makes_a_clean_cast_of_a_replay_that_ends_by_q_or_by_sigterm() {
    let all = asciinemas();
    for major in [" 2.", " 3."] {
        if !all.iter().any(|(_, version)| version.contains(major)) {
            let say = format!("SKIPPED asciinema_makes_a_clean_cast_of_a_replay: there is no asciinema{major}x here\n");
            std::io::Write::write_all(&mut std::io::stderr(), say.as_bytes()).unwrap();
        }
    }
    for (program, version) in all {
        filmed(&program, &version, true);
        filmed(&program, &version, false);
    }
}

/// Has asciinema record a replay and compares what is in the cast with what was on the terminal.
fn filmed(asciinema: &Path, version: &str, by_key: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, pid) = (dir.path().join("x.otop"), dir.path().join("a.cast"), dir.path().join("pid"));
    record(&from);
    let line = format!(
        "echo $$ >'{}'; exec '{}' -r '{}' --keys 'wait 1s; key $; wait 1s; key 2; wait 1s; key 1; wait {}'",
        pid.display(),
        env!("CARGO_BIN_EXE_opentop"),
        from.display(),
        if by_key { "1s; key q" } else { "60s" },
    );
    let mut command = Command::new(asciinema);
    // A player that is not told otherwise shows no colours that this one has not.
    command.args(["rec", "-c", &line]).env("ASCIINEMA_CONFIG_HOME", dir.path());
    let mut pty = Pty::start(command.arg(&to), 100, 34);
    pty.wait_for("the end of the recording", |screen| screen.contains("ended") && screen.contains("/src/late-9"));
    if !by_key {
        // Behind the last key of the script.
        std::thread::sleep(std::time::Duration::from_secs(3));
        let pid: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    }
    assert_eq!(pty.wait().code(), Some(0), "{version}: {}", pty.screen());
    let (screen, after) = clean_and_as_shown(&to, &mut pty, version);
    assert!(std::fs::metadata(&to).unwrap().len() < 65_000, "{version}");
    assert!(screen.contains("■ ended") && screen.contains("/src/late-9") && screen.contains("make"), "{screen}");
    assert!(after.contains("300 opens = 300 shown + 0 filtered + 0 lost"), "{version}: {after:?}");
}

/// What asciinema made has nothing that disturbs whoever plays it, is small, and ends with what the terminal showed: that
/// last screen, and what was written behind the dashboard.
fn clean_and_as_shown(to: &Path, pty: &mut Pty, version: &str) -> (String, String) {
    let (header, events) = read(to);
    let size = if header["version"] == 3 {
        (header["term"]["cols"].clone(), header["term"]["rows"].clone())
    } else {
        (header["width"].clone(), header["height"].clone())
    };
    assert_eq!(size, (100.into(), 34.into()), "{version}");
    let text: String = events.iter().filter(|e| e.1 == "o").map(|e| e.2.as_str()).collect();
    quiet(&text);
    for mode in ["1000", "1002", "1003", "1006", "1015"] {
        assert!(!text.contains(&format!("\x1b[?{mode}h")), "{version}: the player's mouse would be taken");
    }
    assert!(events.iter().all(|e| e.1 != "i"), "{version}: what is typed is in it");
    // A minute of it stays below 1.5 MB: what a first screen takes comes once.
    let len = std::fs::metadata(to).unwrap().len();
    let seconds = if header["version"] == 3 { events.iter().map(|e| e.0).sum() } else { events.last().unwrap().0 };
    assert!((len as f64) < 25_000.0 * seconds + 15_000.0, "{version}: {len} bytes in {seconds} s");
    // The screen before opentop gave the terminal back: as a player shows it, and as it was.
    let last = |text: &str| {
        let (shown, after) = text.rsplit_once("\x1b[?1049l").unwrap();
        let mut emulator = avt::Terminal::new(100, 34).unwrap();
        emulator.feed([shown]);
        let screen = emulator.screen().visible_lines().map(|line| line.text().trim_end().to_owned() + "\n");
        (screen.collect::<String>(), after.to_owned())
    };
    // The last bytes may still be on their way through the pseudo-terminal.
    let live = common::wait_until("the end on the terminal", || {
        let bytes = String::from_utf8_lossy(&pty.bytes()).into_owned();
        bytes.contains("\x1b[?1049l").then_some(bytes)
    });
    let (screen, after) = last(&text);
    assert_eq!(screen, last(&live).0, "{version}");
    (screen, after)
}

#[test]
fn asciinema_makes_a_clean_cast_of_sudo_opentop_that_ends_by_q_or_by_sigterm() {
    require_live!();
    let sudo = Command::new("sudo").args(["-n", "true"]).output();
    if !sudo.is_ok_and(|out| out.status.success()) {
        let say =
            "SKIPPED asciinema_makes_a_clean_cast_of_sudo_opentop: there is no sudo here that asks for no password\n";
        std::io::Write::write_all(&mut std::io::stderr(), say.as_bytes()).unwrap();
        return;
    }
    for (program, version) in asciinemas() {
        for by_key in [true, false] {
            filmed_live(&program, &version, by_key);
        }
    }
}

/// Has asciinema record a live capture under sudo, as its users are told to.
fn filmed_live(asciinema: &Path, version: &str, by_key: bool) {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("a.cast");
    let line = format!(
        "sudo -n '{}' --keys 'wait 1s; key 3; wait 1s; key 1; wait 60s' -- sh -c 'while :; do cat /nonexistent-$$; sleep 0.2; done'",
        env!("CARGO_BIN_EXE_opentop"),
    );
    let mut command = Command::new(asciinema);
    command.args(["rec", "-c", &line]).env("ASCIINEMA_CONFIG_HOME", dir.path()).arg(&to);
    let mut pty = Pty::start(&mut command, 100, 34);
    pty.wait_for("the failures", |screen| {
        screen.contains("3 Failures") && screen.contains("ENOENT") && screen.contains("/nonexistent-")
    });
    std::thread::sleep(std::time::Duration::from_secs(3));
    if by_key {
        pty.keys("q");
    } else {
        nix::sys::signal::kill(child_named(pty.id(), "opentop"), nix::sys::signal::Signal::SIGTERM).unwrap();
    }
    assert_eq!(pty.wait().code(), Some(0), "{version}: {}", pty.screen());
    let (screen, after) = clean_and_as_shown(&to, &mut pty, version);
    assert!(screen.contains("Processes") && screen.contains("capture command"), "{screen}");
    assert!(after.contains(" opens = ") && after.contains(" + 0 lost"), "{version}: {after:?}");
}

/// The descendant of a process that has this name.
fn child_named(of: u32, name: &str) -> nix::unistd::Pid {
    let children = |pid: u32| -> Vec<u32> {
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    };
    let mut all = vec![of];
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.trim() == name {
            return nix::unistd::Pid::from_raw(pid as i32);
        }
        all.extend(children(pid));
        at += 1;
    }
    panic!("no {name} among {all:?}");
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
