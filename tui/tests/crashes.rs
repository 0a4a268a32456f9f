//! Signals that kill on the spot: the terminal is given back byte for byte, one line says what it was, and the recording can
//! be read up to where it was written. The real binary in a pseudo-terminal, capturing only what the test starts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{os::unix::process::ExitStatusExt as _, time::Duration};

use common::{
    pty::Pty,
    wait_until,
    watched::{Busy, ends_after},
};
use nix::sys::signal::Signal;

/// What it said, once it has come through the terminal.
fn said(pty: &Pty, line: &str) -> String {
    wait_until("the line that tells of it", || {
        Some(String::from_utf8_lossy(&pty.bytes()).into_owned()).filter(|text| text.contains(line))
    })
}

#[test]
fn a_signal_that_kills_leaves_the_terminal_as_it_was() {
    require_live!();
    let signals = [
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGILL,
        Signal::SIGFPE,
        Signal::SIGABRT,
        Signal::SIGSYS,
        Signal::SIGTRAP,
    ];
    let mut longest = Duration::ZERO;
    for signal in signals {
        let busy = Busy::start("sleep 0.02");
        let mut pty = busy.dashboard();
        wait_until("a recording", || std::fs::metadata(busy.recording()).ok().filter(|meta| meta.len() > 4096));
        let (status, took) = ends_after(&mut pty, signal.as_str(), |pty| pty.signal(signal));
        // It dies of that signal: whoever started it is told, and has a core where those are kept.
        assert_eq!(status.signal(), Some(signal as i32), "{signal}: {status}");
        pty.assert_restored();
        said(&pty, signal.as_str());
        busy.replayed();
        longest = longest.max(took);
    }
    let found = format!("ended after {} ms at most, by that signal", longest.as_millis());
    common::figure("crashes", &format!("{} signals that kill on the spot", signals.len()), &found);
}

#[test]
fn so_does_a_fault_of_its_own_in_whatever_thread() {
    require_live!();
    for (place, fault, signal, tells) in [
        ("main", "segv", Signal::SIGSEGV, "please report it at"),
        ("reader", "segv", Signal::SIGSEGV, "SIGSEGV at 0x8"),
        ("taking", "segv", Signal::SIGSEGV, "SIGSEGV at 0x8"),
        ("taking", "elsewhere", Signal::SIGSEGV, "SIGSEGV at 0x8"),
        ("main", "overflow", Signal::SIGABRT, "has overflowed its stack"),
        ("recorder", "abort", Signal::SIGABRT, "please report it at"),
    ] {
        let busy = Busy::start("sleep 0.02");
        let mut command = busy.watched();
        let mut pty = Pty::start(command.env("OPENTOP_FAULT", format!("{place}:{fault}")), 120, 40);
        let status = pty.wait();
        assert_eq!(status.signal(), Some(signal as i32), "{place}, {fault}: {status}");
        pty.assert_restored();
        said(&pty, tells);
    }
}

#[test]
fn it_kills_at_once_though_nobody_reads_the_terminal() {
    require_live!();
    let busy = Busy::start(":");
    let mut pty = busy.dashboard();
    pty.stop_reading();
    for round in 0..60 {
        pty.keys(["1", "2", "3", "4", "5", "?", "\x1b"][round % 7]);
        std::thread::sleep(Duration::from_millis(30));
    }
    let what = "SIGSEGV while nobody reads the terminal";
    let (status, took) = ends_after(&mut pty, what, |pty| pty.signal(Signal::SIGSEGV));
    assert_eq!(status.signal(), Some(libc::SIGSEGV));
    pty.read_on();
    pty.assert_restored();
    common::figure("crashes", what, &format!("ended after {} ms", took.as_millis()));
}
