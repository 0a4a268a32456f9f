//! What somebody who knows htop does without having read anything: finds who opens most and what it misses, filters to
//! it, pauses, looks closer, and gets back. Every key and place that is used here is on the screen when it is used.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::{opentop, pty::Pty};

/// Programs with names of their own: a service that looks for its configuration, somebody who opens without end, a build.
fn machine(dir: &Path) -> std::path::PathBuf {
    let script = |name: &str, text: String| {
        let path = dir.join(name);
        // `true` rather than `:`, whose failing redirection ends a shell.
        fs::write(&path, format!("#!/bin/sh\nexec 2>/dev/null\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let d = dir.display();
    fs::write(dir.join("hot-file"), "").unwrap();
    fs::create_dir(dir.join("src")).unwrap();
    for i in 0..5 {
        fs::write(dir.join(format!("src/part{i}.c")), "").unwrap();
    }
    let many = format!(": < {d}/hot-file; ").repeat(20);
    script("busy-opener", format!("while :; do {many} true < {d}/etc/hot.conf; sleep 0.05; done"));
    script("my-service", format!("while :; do true < {d}/my.conf; true < {d}/etc/my.conf; sleep 0.3; done"));
    script("my-build", format!("while :; do cat {d}/src/*.c; sleep 0.2; done"));
    // All of it ends with opentop, which ends what it started; and by itself.
    script("machine", format!("{d}/my-service & {d}/my-build & {d}/busy-opener & sleep 60; kill 0"))
}

/// A key stands at the foot of the screen.
fn offered(pty: &mut Pty, key: &str) {
    pty.wait_for(key, |screen| screen.lines().last().is_some_and(|footer| footer.contains(key)));
}

/// The first row of the table, below the heads.
fn first_row(screen: &str) -> &str {
    screen.lines().skip_while(|line| !line.contains("PID USER")).nth(1).unwrap_or_default()
}

/// The way there and back; `pauses` is what the header says then.
fn go(pty: &mut Pty, pauses: &str) {
    // Who opens most: the first row, and it is the selected one.
    pty.wait_for("who opens most in the first row", |screen| first_row(screen).contains("busy-opener"));
    offered(pty, "Enter inspect");
    pty.keys("\r");
    // What it misses.
    pty.wait_for("its name, what it misses and what it opens", |screen| {
        let missed = screen.lines().skip_while(|line| !line.contains("Missed")).nth(1);
        missed.is_some_and(|line| line.contains("ENOENT") && line.contains("hot.conf"))
            && screen.contains("busy-opener ─")
            && screen.contains("hot-file")
    });
    offered(pty, "Esc back");
    pty.keys_alone("\x1b");
    pty.wait_for("the table", |screen| first_row(screen).contains("busy-opener") && !screen.contains("filter pid"));

    // Filters to it.
    offered(pty, "f only");
    pty.keys("f");
    pty.wait_for("what it could be filtered by", |screen| screen.contains("comm:busy-opener"));
    pty.keys("\r");
    pty.wait_for("the filter in the header, opens of it alone, and in words what happened", |screen| {
        let opens = screen.lines().skip_while(|line| !line.contains("─ Opens ")).skip(2);
        let mut opens = opens.filter(|line| line.starts_with('│') && line.contains(':')).peekable();
        screen.lines().take(2).any(|line| line.contains("filter pid:"))
            && screen.lines().last().is_some_and(|line| line.contains("filter: pid:"))
            && opens.peek().is_some()
            && opens.all(|line| line.contains("busy-opener"))
    });

    // Pauses: the picture stands still.
    pty.keys(" ");
    pty.wait_for("the pause", |screen| screen.lines().next().unwrap().contains(pauses));
    let body = |pty: &Pty| pty.screen().lines().skip(2).take(30).collect::<Vec<_>>().join("\n");
    let still = |pty: &Pty, ms| {
        let before = body(pty);
        std::thread::sleep(std::time::Duration::from_millis(ms));
        body(pty) == before
    };
    // A frame may still be under way.
    common::wait_until("a picture that stands still", || (still(pty, 200) && still(pty, 800)).then_some(()));

    // Looks closer, at an open.
    offered(pty, "Tab pane");
    pty.keys("\t\x1b[A\r");
    pty.wait_for("every field of an open", |screen| {
        ["path", "result", "busy-opener", "Bytes of the name"].iter().all(|word| screen.contains(word))
    });

    // And gets back, by the one key that the footer has for it.
    for _ in 0..6 {
        offered(pty, "q quit");
        if !pty.screen().lines().last().unwrap().contains("Esc back") {
            break;
        }
        pty.keys_alone("\x1b");
        std::thread::sleep(std::time::Duration::from_millis(400));
    }
    pty.wait_for("everything again", |screen| !screen.contains("filter pid:") && screen.contains("─ Processes "));
}

#[test]
fn who_knows_htop_finds_the_way_there_and_back() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let (machine, recording) = (machine(&dir), dir.join("session.otop"));
    let mut pty = Pty::start(opentop().arg("-w").arg(&recording).arg("--").arg(&machine), 120, 40);
    go(&mut pty, "paused");
    pty.wait_for("it to be live again", |screen| screen.lines().next().unwrap().contains("live"));
    // Another program's misses, by the view that the tabs name: one row for a name, with its places below.
    assert!(pty.screen().contains("3 Failures"));
    pty.keys("/my-service\r3");
    pty.wait_for("the other's file, in one row with its places", |screen| {
        let row = screen.lines().skip_while(|line| !line.contains("PLACES BY")).nth(1).unwrap_or_default();
        row.contains(" 2 my-service ")
            && row.contains("my.conf")
            && row.contains("nowhere")
            && screen.contains(" 2 tried for my.conf ")
            && screen.contains("/etc/my.conf")
    });
    // So that the replay does not end on the way.
    std::thread::sleep(std::time::Duration::from_secs(12));
    pty.keys("q");
    pty.wait();
    pty.assert_restored();

    // The same in a replay of it, whose own keys stand before the others.
    let mut pty = Pty::start(opentop().arg("-r").arg(&recording), 160, 40);
    go(&mut pty, "❚❚ replay");
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
}
