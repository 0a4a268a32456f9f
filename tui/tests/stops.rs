//! A dashboard that is stopped and goes on, by a key and by signals: the shell has its terminal meanwhile, and the picture
//! comes back. The real binary under a real shell, in a pseudo-terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use common::{
    pty::Pty,
    wait_until,
    watched::{Busy, children, line_of, shell, state_of},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn dashboard_shows(screen: &str) -> bool {
    screen.contains("watched-file") && screen.contains("help")
}

/// This round's line and a prompt under it: the earlier rounds' come back to the screen before the shell does, and
/// what is typed until then is for the dashboard.
fn wait_for_the_shell(pty: &mut Pty, round: usize) {
    pty.wait_for("the shell", |screen| {
        screen.matches("Stopped").count() == round && screen.trim_end().lines().last() == Some("ready>")
    });
    pty.keys(&format!("echo back-$(({round}+0))\r"));
    pty.wait_for("the shell's answer", |screen| screen.contains(&format!("back-{round}")));
}

/// Ends the dashboard by its key, and the shell; the terminal is as it was, and the recording whole.
fn quit(mut pty: Pty, busy: &Busy) {
    pty.wait_for("the dashboard", dashboard_shows);
    // No Enter: the keys must come as they are pressed.
    pty.keys("q");
    pty.wait_for("the account, and the prompt", |screen| {
        screen.contains(" lost") && screen.trim_end().lines().last() == Some("ready>")
    });
    pty.keys("exit\r");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
    busy.assert_recorded();
}

#[test]
fn ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = shell(busy.dir.path());
    pty.keys(&format!("{}\r", line_of(&busy.watched())));
    for round in 1..=3_usize {
        pty.wait_for("an open", dashboard_shows);
        pty.keys("\x1a");
        wait_for_the_shell(&mut pty, round);
        pty.assert_screen_left();
        pty.keys("fg\r");
    }
    quit(pty, &busy);
}

#[test]
fn a_stop_that_another_process_asks_for_is_like_ctrl_z() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = shell(busy.dir.path());
    pty.keys(&format!("{}\r", line_of(&busy.watched())));
    for round in 1..=2_usize {
        pty.wait_for("an open", dashboard_shows);
        let opentop = children(pty.child.id())[0];
        kill(Pid::from_raw(opentop.cast_signed()), Signal::SIGTSTP).unwrap();
        wait_for_the_shell(&mut pty, round);
        pty.assert_screen_left();
        pty.keys("fg\r");
    }
    quit(pty, &busy);
}

#[test]
fn after_a_stop_that_left_no_time_fg_draws_everything_anew() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = shell(busy.dir.path());
    pty.keys(&format!("{}\r", line_of(&busy.watched())));
    pty.wait_for("an open", dashboard_shows);
    let opentop = children(pty.child.id())[0];
    kill(Pid::from_raw(opentop.cast_signed()), Signal::SIGSTOP).unwrap();
    wait_until("the stop", || (state_of(opentop) == Some('T')).then_some(()));
    // The shell writes over the picture that was left, in its own modes.
    pty.wait_for("the shell", |screen| screen.contains("Stopped"));
    pty.keys("clear; echo back-$((40+2))\r");
    pty.wait_for("the shell's answer", |screen| screen.contains("back-42") && !screen.contains("help"));
    pty.keys("fg\r");
    pty.wait_for("the dashboard, whole", |screen| {
        dashboard_shows(screen) && screen.contains("opentop") && !screen.contains("back-42")
    });
    quit(pty, &busy);
}
