//! The dashboard as a person has it: the real binary in a pseudo-terminal, capturing only what it starts itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use common::{opentop, pty::Pty};
use nix::sys::signal::Signal;

/// The dashboard on a command that opens `name` in `dir` again and again.
fn watching(dir: &std::path::Path, name: &str) -> Pty {
    std::fs::write(dir.join(name), "").unwrap();
    let script = "while :; do : < \"$1\"; sleep 0.02; done";
    Pty::start(opentop().args(["--", "sh", "-c", script, "sh", name]).current_dir(dir), 120, 40)
}

/// What was written after the last byte of the dashboard.
fn afterwards(pty: &Pty) -> String {
    let bytes = pty.bytes();
    let text = String::from_utf8_lossy(&bytes);
    text.rsplit("\x1b[?1049l").next().unwrap_or_default().to_owned()
}

#[test]
fn it_shows_the_opens_of_its_command_and_q_gives_the_terminal_back() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let mut pty = watching(dir.path(), "watched-file");
    let path = dir.path().join("watched-file").display().to_string();
    let screen = pty.wait_for("the path that the command opens, and the command", |screen| {
        screen.contains(&path) && screen.contains("Processes")
    });
    assert!(screen.lines().next().is_some_and(|line| line.contains("opentop")), "the header:\n{screen}");
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
    let after = common::wait_until("the account after the dashboard", || {
        Some(afterwards(&pty)).filter(|text| text.contains(" lost\r\n"))
    });
    assert!(after.trim_end().lines().last().unwrap().starts_with("opentop: "), "{after:?}");
}

#[test]
fn every_way_of_ending_gives_the_terminal_back() {
    require_live!();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let dir = tempfile::tempdir().unwrap();
        let mut pty = watching(dir.path(), "watched-file");
        pty.wait_for("an open", |screen| screen.contains("watched-file"));
        pty.signal(signal);
        let status = pty.wait();
        // It was passed on to the command, which died of it.
        assert_eq!(status.code(), Some(128 + signal as i32), "{signal}");
        pty.assert_restored();
    }
}

#[test]
fn ctrl_c_is_a_key_that_quits() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let mut pty = watching(dir.path(), "watched-file");
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    pty.keys("\x03");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
}

#[test]
fn the_end_of_the_command_is_the_end_of_the_dashboard_with_its_status() {
    require_live!();
    let mut pty = Pty::start(opentop().args(["--", "sh", "-c", "echo said-by-the-command; exit 7"]), 120, 40);
    assert_eq!(pty.wait().code(), Some(7));
    pty.assert_restored();
    common::wait_until("what the command said, after the dashboard", || {
        Some(afterwards(&pty)).filter(|text| text.contains("said-by-the-command"))
    });
}

#[test]
fn bytes_of_names_never_reach_the_terminal_raw() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let name = "evil\x1b]0;owned\x07\x1b[2J\u{202e}\u{9b}5n";
    let mut pty = watching(dir.path(), name);
    pty.wait_for("the name, escaped", |screen| screen.contains(r"evil\x1b]0;owned\x07\x1b[2J"));
    pty.keys("q");
    pty.wait();
    pty.assert_restored();
    let bytes = pty.bytes();
    for raw in ["\x1b]0;owned", "\x07", "\u{202e}", "\u{9b}", "\x1b[2J\\"] {
        let found = bytes.windows(raw.len()).any(|window| window == raw.as_bytes());
        assert!(!found, "{raw:?} was written to the terminal");
    }
}

#[test]
fn it_fills_the_terminal_after_a_change_of_size() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let mut pty = watching(dir.path(), "watched-file");
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    for (cols, rows) in [(80, 24), (200, 50), (20, 5), (100, 30)] {
        pty.resize(cols, rows);
    }
    pty.wait_for("the footer in the last of 30 rows", |screen| {
        screen.lines().count() == 30 && screen.lines().last().is_some_and(|line| line.contains("help"))
    });
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
}

#[test]
fn a_pause_freezes_the_picture_and_a_filter_narrows_it() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let mut pty = watching(dir.path(), "watched-file");
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    pty.keys(" ");
    pty.wait_for("the word paused", |screen| screen.to_lowercase().contains("paused"));
    pty.keys(" ");
    pty.wait_for("the word live", |screen| screen.lines().next().is_some_and(|line| line.contains("live")));
    pty.keys("/path:**nothing-like-it**\r");
    pty.wait_for("the filter in the header and no open that does not match", |screen| {
        screen.lines().take(2).any(|line| line.contains("nothing-like-it"))
    });
    // Opens that do not match go on coming: some fifteen.
    std::thread::sleep(std::time::Duration::from_millis(400));
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
    let after = common::wait_until("the account", || Some(afterwards(&pty)).filter(|text| text.contains(" lost\r\n")));
    assert!(!after.contains(" + 0 filtered"), "{after:?}");
}

/// Goes through every view and page by its key, and to one by the mouse.
fn visit_all(pty: &mut Pty) {
    for (keys, words) in [
        ("2", "─ Files "),
        ("t", "▸ /"),
        ("t3", "─ Failures "),
        ("4", "All processes"),
        ("5", "─ Health "),
        ("1", "─ Processes "),
        ("t", "· tree"),
        ("t\r", "Latency  the kernel's count"),
        ("\x7f?", "who opens what"),
        (" /nonsense(", "^"),
    ] {
        pty.keys(keys);
        pty.wait_for(words, |screen| screen.contains(words));
    }
    // Out of the line, and to an open.
    pty.keys("\x15\r\tk\r");
    pty.wait_for("the page of an open", |screen| screen.contains("Bytes of the name"));
    let tabs = pty.screen().lines().nth(1).unwrap().to_owned();
    let column = tabs.split("5 Health").next().unwrap().chars().count() + 3;
    pty.keys(&format!("\x1b[<0;{column};2M\x1b[<0;{column};2m"));
    pty.wait_for("the view that was clicked", |screen| screen.contains("─ Health "));
}

#[test]
fn every_view_is_reached_by_its_key_live_and_in_a_replay() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let mut pty = watching(dir.path(), "watched-file");
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    visit_all(&mut pty);
    pty.wait_for("what the probe costs", |screen| screen.contains("at each open of this machine"));
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();

    let file = dir.path().join("recording").display().to_string();
    let script = "for i in 1 2 3; do : < watched-file; : < missing-file; sleep 0.05; done 2>/dev/null";
    let recorded = opentop()
        .args(["trace", "-o", "/dev/null", "-w", &file, "--", "sh", "-c", script])
        .current_dir(dir.path())
        .status();
    assert_eq!(recorded.unwrap().code(), Some(2), "the last open fails");
    let mut pty = Pty::start(opentop().args(["-r", &file]), 120, 40);
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    visit_all(&mut pty);
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
}

#[test]
fn what_the_probe_costs_is_measured_throughout_and_once_more_when_one_comes_back() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let mut pty = watching(dir.path(), "watched-file");
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    // How long it was measured, in seconds, and whether that was a while ago.
    let measured = |screen: &str| {
        let words: Vec<&str> = screen.split_whitespace().collect();
        let at = words.windows(2).position(|pair| pair == ["measured", "for"])?;
        let seconds: f64 = words.get(at + 2)?.trim_end_matches(',').strip_suffix('s')?.parse().ok()?;
        Some((seconds, words.get(at + 3..)?.iter().take(2).any(|word| *word == "ago")))
    };
    pty.keys("5");
    pty.wait_for("more than the seconds of the start", |screen| measured(screen).is_some_and(|(s, _)| s > 6.5));
    pty.keys("1");
    std::thread::sleep(std::time::Duration::from_secs(4));
    pty.keys("5");
    pty.wait_for("a measurement that has just begun", |screen| {
        measured(screen).is_some_and(|(s, old)| s < 3.0 && !old)
    });
    pty.wait_for("it going on", |screen| measured(screen).is_some_and(|(s, old)| s > 3.0 && !old));
    assert!(!pty.screen().contains("gauge is gone"), "{}", pty.screen());
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
}

/// What a recording says of opens of a path: for each, when it began.
fn recorded(file: &std::path::Path, path: &str) -> Vec<jiff::Timestamp> {
    let ended = common::run(["trace", "--format", "json", "-r", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let opens = ended.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    opens.filter(|open| open["path"] == path).map(|open| open["time"].as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn the_capture_is_changed_while_it_runs_and_takes_effect_at_once() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    std::fs::write(dir.join("one"), "").unwrap();
    std::fs::write(dir.join("other"), "").unwrap();
    let script = "while :; do : < one; : < other; sleep 0.002; done";
    let recording = dir.join("r.otr");
    let mut pty =
        Pty::start(opentop().arg("-w").arg(&recording).args(["--", "sh", "-c", script]).current_dir(&dir), 160, 40);
    pty.wait_for("both files", |screen| screen.contains(&path("one")) && screen.contains(&path("other")));
    let change = |pty: &mut Pty, expression: &str, shows: &str| {
        pty.keys("c\x15");
        pty.wait_for("the line of the capture", |screen| {
            screen.contains("the kernel captures every open of the command")
        });
        pty.keys(expression);
        pty.wait_for("what was typed", |screen| {
            screen.lines().any(|line| line.contains("capture ❯") && line.contains(expression))
        });
        let at = jiff::Timestamp::now();
        pty.keys("\r");
        let shows = shows.to_owned();
        pty.wait_for("the capture in the header", move |screen| {
            screen.lines().take(2).any(|line| line.contains(&shows))
        });
        at
    };
    let only = format!("path:{}", path("one"));
    let narrowed = change(&mut pty, &only, "command, path:");
    std::thread::sleep(std::time::Duration::from_millis(200));
    let widened = change(&mut pty, "!failed", "command, !failed");
    pty.wait_for("opens of the other file again", |screen| screen.contains(&path("other")));
    std::thread::sleep(std::time::Duration::from_millis(200));
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    let after = common::wait_until("the account", || Some(afterwards(&pty)).filter(|text| text.contains(" lost\r\n")));
    assert!(after.contains(" + 0 lost"), "{after:?}");
    assert!(!after.contains("not seen") && !after.contains("unexplained"), "{after:?}");

    let others = recorded(&recording, &path("other"));
    let last_before = others.iter().filter(|at| **at < widened).max().unwrap();
    let first_after = others.iter().filter(|at| **at >= widened).min().unwrap();
    let (left, came) = (last_before.duration_since(narrowed), first_after.duration_since(widened));
    let told = format!("the old capture went on for {left:?}, the new one came after {came:?}\n");
    std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes()).unwrap();
    // 100 ms is what is promised; a machine that is busy with all the other tests may take longer to hear the key.
    let bound = jiff::SignedDuration::from_millis(1500);
    assert!(left < bound && came < bound, "{told}");
    let ones = recorded(&recording, &path("one"));
    assert!(ones.iter().any(|at| *at > *last_before && *at < widened), "the narrowed capture captured what it should");
    its_replay_names_the_capture_of_each_time(&recording, &only);
}

/// The header of a replay says what was captured at the time that is shown, wherever one comes from.
fn its_replay_names_the_capture_of_each_time(recording: &std::path::Path, narrowed: &str) {
    let told = common::run([
        std::ffi::OsStr::new("trace"),
        "-o".as_ref(),
        "/dev/null".as_ref(),
        "-r".as_ref(),
        recording.as_ref(),
    ]);
    let lines: Vec<&str> = told.stderr.lines().filter(|line| line.contains("the capture was changed")).collect();
    assert_eq!(lines.len(), 2, "{told:?}");
    assert!(lines[0].ends_with(&format!("to: command, {narrowed}")) && lines[1].ends_with("to: command, !failed"));

    let mut pty = Pty::start(opentop().arg("-r").arg(recording), 160, 40);
    // The word behind "capture command".
    let capture = |pty: &mut Pty, what: &str, shows: &str| {
        pty.wait_for(what, |screen| {
            let header = screen.lines().take(2).find_map(|line| line.split_once("capture command"));
            header.is_some_and(
                |(_, rest)| if shows.is_empty() { !rest.starts_with(',') } else { rest.starts_with(shows) },
            )
        });
    };
    let (first, path, last) = ("", ", path:", ", !failed");
    capture(&mut pty, "the capture that it began with", first);
    pty.keys("$");
    capture(&mut pty, "the last capture", last);
    pty.keys("0");
    capture(&mut pty, "the first capture again", first);
    pty.keys("[[");
    capture(&mut pty, "the narrowed capture, by the clock", path);
    capture(&mut pty, "the last one, by the clock", last);
    pty.keys("0");
    capture(&mut pty, "the first capture, once more", first);
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
}
