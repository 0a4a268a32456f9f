//! A panic in any thread and any task of opentop's own: the terminal is given back, it is told in one line, and the session
//! ends in order within two seconds. `OPENTOP_FAULT` names the place; `tui/tests/architecture.rs` holds that all have one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::process::Command;

use common::{
    opentop,
    pty::Pty,
    wait_until,
    watched::{Busy, Watch},
};

/// Runs it with a fault at `place`, pressing `keys` once an open is on the screen.
fn ends_in_order(place: &str, command: &mut Command, keys: &str) {
    let mut pty = Pty::start(command.env("OPENTOP_FAULT", place).env("RUST_BACKTRACE", "0"), 120, 40);
    if !keys.is_empty() {
        pty.wait_for("an open", |screen| screen.contains("watched-file"));
        pty.keys(keys);
    }
    let told = format!(r"asked for at \x1b[31m{place}");
    let said = wait_until("the line that tells of it", || {
        Some(String::from_utf8_lossy(&pty.bytes()).into_owned()).filter(|text| text.contains(&told))
    });
    assert!(said.contains("please report it"), "{place}: {said:?}");
    let (status, _) = Watch::start(pty.child.id()).until(place, || pty.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(101), "{place}: {said:?}");
    pty.assert_restored();
}

#[test]
fn a_panic_in_any_thread_ends_it_in_order_and_is_told_in_one_line() {
    require_live!();
    let places = [
        ("main", ""),
        ("taking", ""),
        ("signals", ""),
        ("reader", ""),
        ("keyboard", "2"),
        ("look", "\r"),
        ("recorder", ""),
        ("facts", ""),
        ("users", ""),
        ("save", "o"),
    ];
    for (place, keys) in places {
        let busy = Busy::start("sleep 0.02");
        ends_in_order(place, &mut busy.watched(), keys);
        if !keys.is_empty() {
            busy.assert_recorded();
        }
    }
}

#[test]
fn so_does_one_in_a_thread_that_only_some_sessions_have() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    ends_in_order("duration", busy.watched().args(["--duration", "1s"]), "");
    ends_in_order("symbols", busy.watched().arg("--stacks"), "");
    let script = "while :; do echo; sleep 0.02; done";
    for place in ["command", "tail"] {
        ends_in_order(place, opentop().args(["--", "sh", "-c", script]), "");
    }
    let recording = busy.recording();
    let ended = common::run(["trace", "-f", "nothing", "--overwrite", "-w", recording.to_str().unwrap(), "--", "true"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ends_in_order("replay", opentop().arg("-r").arg(&recording), "");
}
