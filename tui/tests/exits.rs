//! Every way out: the terminal is given back byte for byte, the recording is closed, it takes no time and
//! no processor. The real binary in a pseudo-terminal, capturing only what the test starts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{
    os::{fd::FromRawFd as _, fd::OwnedFd},
    process::{Command, Stdio},
    time::Duration,
};

use common::{
    opentop,
    pty::Pty,
    wait_until,
    watched::{Busy, Watch, children, ends, ends_after, gone_after, line_of, shell},
};
use nix::sys::signal::Signal;

#[test]
fn every_signal_that_ends_it_leaves_the_terminal_and_the_recording_in_order() {
    require_live!();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        let busy = Busy::start("sleep 0.02");
        let mut pty = busy.dashboard();
        let status = ends(&mut pty, signal.as_str(), |pty| pty.signal(signal));
        assert_eq!(status.code(), Some(0), "{signal}");
        pty.assert_restored();
        busy.assert_recorded();
    }
}

#[test]
fn so_does_every_other_that_would_end_a_program_of_itself() {
    require_live!();
    #[rustfmt::skip]
    let named = [
        libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGUSR1, libc::SIGUSR2, libc::SIGXCPU, libc::SIGIO,
        libc::SIGPWR, libc::SIGSTKFLT,
    ];
    let all: Vec<i32> = named.into_iter().chain([libc::SIGRTMIN(), libc::SIGRTMAX()]).collect();
    let mut longest = Duration::ZERO;
    for signal in &all {
        let busy = Busy::start("sleep 0.02");
        let mut pty = busy.dashboard();
        let (status, took) = ends_after(&mut pty, &format!("signal {signal}"), |pty| pty.signal_number(*signal));
        assert_eq!(status.code(), Some(0), "signal {signal}");
        pty.assert_restored();
        busy.assert_recorded();
        longest = longest.max(took);
    }
    let found = format!("ended after {} ms at most", longest.as_millis());
    common::figure("exits", &format!("{} other signals that end a program", all.len()), &found);
}

#[test]
fn a_pipe_that_breaks_somewhere_ends_nothing() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = busy.dashboard();
    pty.signal(Signal::SIGPIPE);
    // A file that may grow no more is told, see full_disk.rs.
    pty.signal(Signal::SIGXFSZ);
    pty.keys("?");
    pty.wait_for("the keys", |screen| screen.contains("who opens what"));
    pty.keys("q");
    pty.wait_for("the picture", |screen| !screen.contains("who opens what"));
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
    pty.assert_restored();
    busy.assert_recorded();
}

#[test]
fn a_terminal_that_is_closed_ends_it() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = busy.dashboard();
    ends(&mut pty, "the terminal is closed", Pty::hang_up);
    busy.assert_recorded();
}

#[test]
fn a_terminal_that_is_closed_ends_it_though_the_hang_up_signal_is_ignored() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_opentop")])
        .args(busy.watched().get_args());
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
    let mut pty = Pty::start(&mut command, 120, 40);
    pty.wait_for("an open", |screen| screen.contains("watched-file"));
    ends(&mut pty, "the terminal is closed, SIGHUP ignored", Pty::hang_up);
    busy.assert_recorded();
}

#[test]
fn a_tmux_that_is_killed_ends_it() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let socket = busy.dir.path().join("tmux");
    let tmux = |args: &[&str]| {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&socket).args(args).env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
        let output = command.output().expect("tmux is there");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let watched = busy.watched();
    let words: Vec<&str> =
        std::iter::once(watched.get_program()).chain(watched.get_args()).map(|word| word.to_str().unwrap()).collect();
    tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", &format!("exec {}", words.join(" "))]);
    let pid: u32 = tmux(&["display-message", "-p", "#{pane_pid}"]).trim().parse().unwrap();
    wait_until("an open on the screen", || tmux(&["capture-pane", "-p"]).contains("watched-file").then_some(()));
    let server: i32 = tmux(&["display-message", "-p", "#{pid}"]).trim().parse().unwrap();
    gone_after(pid, "tmux is killed", || {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(server), Signal::SIGKILL).unwrap();
    });
    busy.assert_recorded();
}

#[test]
fn when_sudo_is_gone_it_ends() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = shell(busy.dir.path());
    // What sudo is to it: a parent in the same process group that waits.
    pty.keys(&format!("sh -c 'echo $$ >parent; {}; true'\r", line_of(&busy.watched())));
    pty.wait_for("an open", |screen| screen.contains("watched-file") && screen.contains("help"));
    let parent: i32 = std::fs::read_to_string(busy.dir.path().join("parent")).unwrap().trim().parse().unwrap();
    let pid = children(parent.cast_unsigned())[0];
    gone_after(pid, "sudo is killed", || {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(parent), Signal::SIGKILL).unwrap();
    });
    pty.assert_screen_left();
    busy.assert_recorded();
    pty.keys("exit\r");
    pty.wait();
}

#[test]
fn a_storm_of_sizes_leaves_it_whole() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = busy.dashboard();
    for round in 0..400_u16 {
        pty.resize(1 + round * 7 % 250, 1 + round * 3 % 80);
        std::thread::sleep(Duration::from_millis(2));
    }
    pty.resize(100, 30);
    pty.wait_for("the footer in the last of 30 rows", |screen| {
        screen.lines().count() == 30 && screen.lines().last().is_some_and(|line| line.contains("help"))
    });
    ends(&mut pty, "q after 400 changes of size", |pty| pty.keys("q"));
    pty.assert_restored();
    busy.assert_recorded();
}

#[test]
fn a_terminal_that_nobody_reads_does_not_keep_it() {
    require_live!();
    let busy = Busy::start(":");
    let mut pty = busy.dashboard();
    pty.stop_reading();
    // Large frames, again and again, until the terminal takes no more.
    for round in 0..60 {
        pty.keys(["1", "2", "3", "4", "5", "?", "\x1b"][round % 7]);
        std::thread::sleep(Duration::from_millis(30));
    }
    let status = ends(&mut pty, "SIGTERM while nobody reads the terminal", |pty| pty.signal(Signal::SIGTERM));
    assert!(status.code().is_some(), "{status}");
    pty.read_on();
    pty.assert_restored();
    busy.assert_recorded();
}

#[test]
fn a_second_ctrl_c_ends_it_whatever_hangs() {
    require_live!();
    // A command that does not end, in the lines' mode: the first is the command's own affair.
    let stubborn = "trap '' INT; echo $$ ready; while :; do sleep 0.1; done";
    let mut pty = Pty::start(opentop().args(["trace", "-f", "nothing", "--", "sh", "-c", stubborn]), 120, 40);
    let screen = pty.wait_for("the command", |screen| screen.contains("ready"));
    let command = screen.lines().find_map(|line| line.strip_suffix(" ready")).unwrap().parse().unwrap();
    pty.keys("\x03");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(pty.child.try_wait().unwrap(), None, "the command decides");
    assert_eq!(ends(&mut pty, "a second Ctrl-C", |pty| pty.keys("\x03")).code(), Some(128 + 2));
    pty.assert_restored();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(command), Signal::SIGKILL).unwrap();

    // A dashboard that is stuck in a write: it looks at no key.
    let busy = Busy::start(":");
    let mut pty = busy.dashboard();
    pty.stop_reading();
    for round in 0..60 {
        pty.keys(["1", "2", "3", "4", "5", "?", "\x1b"][round % 7]);
        std::thread::sleep(Duration::from_millis(30));
    }
    ends(&mut pty, "two Ctrl-C while nobody reads the terminal", |pty| pty.keys("\x03\x03\x03"));
    pty.read_on();
    pty.assert_restored();
}

#[test]
fn a_ctrl_c_behind_keys_that_wait_is_a_key() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let mut pty = busy.dashboard();
    // All at once, as a slow line brings them.
    assert_eq!(ends(&mut pty, "Ctrl-C typed ahead", |pty| pty.keys("jjjjjjjj\x03")).code(), Some(0));
    pty.assert_restored();
    busy.assert_recorded();
}

#[test]
fn lines_that_nobody_reads_do_not_keep_it_either() {
    require_live!();
    let busy = Busy::start(":");
    let mut command = opentop();
    command.args(["trace", "-p", &busy.child.id().to_string(), "-w"]).arg(busy.recording());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Nobody reads; the pipe is full after 64 KiB.
    wait_until("a recording", || std::fs::metadata(busy.recording()).ok().filter(|meta| meta.len() > 1000));
    std::thread::sleep(Duration::from_millis(1500));
    let what = "SIGTERM while nobody reads the lines";
    let watch = Watch::start(child.id());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let (_, took) = watch.until(what, || child.try_wait().unwrap());
    common::figure("exits", what, &format!("ended after {} ms", took.as_millis()));
    busy.assert_recorded();
}

/// bpf(2) with an id: the descriptor, or the error.
fn by_id(command: libc::c_long, id: u32) -> Result<OwnedFd, nix::errno::Errno> {
    let attr = [id, 0, 0];
    // SAFETY: the attribute is 12 bytes, as the command has it; what comes back is a new descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(&attr)) };
    match i32::try_from(fd).unwrap() {
        // SAFETY: as said.
        fd @ 0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(nix::errno::Errno::last()),
    }
}

/// `BPF_PROG_GET_FD_BY_ID`, `BPF_MAP_GET_FD_BY_ID`, `BPF_LINK_GET_FD_BY_ID` of linux/bpf.h.
const KINDS: [(&str, libc::c_long); 3] = [("prog_id", 13), ("map_id", 14), ("link_id", 30)];

/// The programs, maps and links that a process holds.
fn objects(pid: u32) -> Vec<(&'static str, libc::c_long, u32)> {
    let infos = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = infos.map(|info| std::fs::read_to_string(info.unwrap().path()).unwrap_or_default());
    let ids = texts.flat_map(|text| {
        let id = |kind: &str| {
            let line = text.lines().find(|line| line.split(':').next() == Some(kind))?;
            line.split_whitespace().nth(1)?.parse::<u32>().ok()
        };
        KINDS.iter().filter_map(|(kind, command)| Some((*kind, *command, id(kind)?))).collect::<Vec<_>>()
    });
    ids.collect()
}

#[test]
fn sigkill_leaves_no_program_no_link_and_no_map_behind() {
    require_live!();
    let busy = Busy::start("sleep 0.02");
    let pty = busy.dashboard();
    let pid = pty.child.id();
    let held = objects(pid);
    for kind in ["prog_id", "map_id"] {
        assert!(held.iter().any(|(held, ..)| *held == kind), "no {kind} among {held:?}");
    }
    for (kind, command, id) in &held {
        if let Err(errno) = by_id(*command, *id) {
            assert_eq!(errno, nix::errno::Errno::EPERM, "{kind} {id} is held and cannot be found");
            std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: bpf(2) by id takes CAP_SYS_ADMIN\n").unwrap();
            return;
        }
    }
    drop(pty);
    wait_until("everything gone", || {
        let left: Vec<_> = held.iter().filter(|(_, command, id)| by_id(*command, *id).is_ok()).collect();
        left.is_empty().then_some(())
    });
    common::figure("exits", "SIGKILL", &format!("{} programs, maps and links held, none left", held.len()));
}
