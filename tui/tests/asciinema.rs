//! What asciinema makes of opentop, replaying or live under sudo: clean, small, and as it was on the terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{
    casts::{asciinemas, quiet, read, record},
    pty::Pty,
};

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

/// What the shell does behind opentop: asciinema 2 reads 1,024 bytes at a time, and when its child has ended it leaves what it
/// has not read (`copy` in its pty_.py).
const AND_READ: &str = "code=$?; sleep 1; exit $code";

/// Has asciinema record a replay and compares what is in the cast with what was on the terminal.
fn filmed(asciinema: &Path, version: &str, by_key: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("x.otop"), dir.path().join("a.cast"));
    record(&from);
    let line = format!(
        "'{}' -r '{}' --keys 'wait 1s; key $; wait 1s; key 2; wait 1s; key 1; wait {}'; {AND_READ}",
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
        // Behind the last key of the script, and what it shows.
        std::thread::sleep(std::time::Duration::from_secs(3));
        pty.wait_for("the end again", |screen| screen.contains("■ ended") && screen.contains("─ Opens "));
        nix::sys::signal::kill(child_named(pty.id(), "opentop"), nix::sys::signal::Signal::SIGTERM).unwrap();
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
        "sudo -n '{}' --keys 'wait 1s; key 3; wait 1s; key 1; wait 60s' -- sh -c 'while :; do cat /nonexistent-$$; sleep 0.2; done'; {AND_READ}",
        env!("CARGO_BIN_EXE_opentop"),
    );
    let mut command = Command::new(asciinema);
    command.args(["rec", "-c", &line]).env("ASCIINEMA_CONFIG_HOME", dir.path()).arg(&to);
    let mut pty = Pty::start(&mut command, 100, 34);
    pty.wait_for("the failures", |screen| {
        screen.contains("3 Failures") && screen.contains("ENOENT") && screen.contains("/nonexistent-")
    });
    // Behind the last key of the script, and what it shows.
    std::thread::sleep(std::time::Duration::from_secs(3));
    pty.wait_for("the first view again", |screen| screen.contains("Processes") && screen.contains("capture command"));
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
