//! A recording's whole way: made on a live kernel, given to an account without privileges, and there replayed, filtered,
//! exported, made into a cast, and played.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use common::{Ended, opentop, pty::Pty};

/// A user with nothing: 65534 is nobody on most systems.
const NOBODY: u32 = 65_534;

/// A command as that user, in `dir`.
fn nobody(dir: &Path, program: &Path) -> Command {
    let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()];
    let mut command = Command::new("setpriv");
    command.args(ids).arg(program).current_dir(dir).env("HOME", dir).env("COLORTERM", "truecolor");
    command.env("TERM", "xterm-256color").env_remove("XDG_CONFIG_HOME");
    command
}

#[test]
fn a_recording_serves_an_account_without_privileges_in_every_way() {
    require_live!();
    if !common::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let script = "for i in 1 2 3 4 5; do cat /etc/hostname /nonexistent-$i; sleep 0.3; done";
    let recorded = home.join("made-by-root.otop");
    let live = Ended::of(
        opentop()
            .args(["trace", "--format", "json", "-w"])
            .arg(&recorded)
            .args(["--", "sh", "-c", script])
            .output()
            .unwrap(),
    );
    let [opens, ..] = live.account();
    assert_eq!(fs::metadata(&recorded).unwrap().permissions().mode() & 0o777, 0o600);

    // Copied, as scp would.
    let (copy, program) = (home.join("session.otop"), home.join("opentop"));
    fs::copy(&recorded, &copy).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_opentop"), &program).unwrap();
    fs::set_permissions(home, Permissions::from_mode(0o755)).unwrap();
    for path in [home, &copy] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let run = |args: &[&str]| Ended::of(nobody(home, &program).args(args).output().unwrap());

    let refused = run(&["trace"]);
    assert_eq!(refused.code, Some(77));
    assert!(refused.stderr.contains("opentop -r sample"), "{}", refused.stderr);
    let sample = run(&["trace", "-o", "/dev/null", "-r", "sample"]);
    assert!(sample.account()[0] > 300 && sample.account()[3] == 0, "{sample:?}");

    let replayed = run(&["trace", "--format", "json", "-r", "session.otop"]);
    assert_eq!(replayed.stdout, live.stdout, "byte for byte what it printed live");
    let failed = run(&["trace", "-f", "failed path:/nonexistent-*", "-r", "session.otop"]);
    assert_eq!(failed.account()[..2], [opens, 5]);
    assert!(run(&["summary", "-r", "session.otop"]).stdout.contains("cat"));
    for format in [
        "csv",
        #[cfg(feature = "parquet")]
        "parquet",
    ] {
        let to = format!("session.{format}");
        assert_eq!(run(&["trace", "--format", format, "-o", &to, "-r", "session.otop"]).account()[1], opens);
        assert!(fs::metadata(home.join(to)).unwrap().len() > 500);
    }
    let keys =
        "wait 1s; type /; type failed; key Enter; wait 500ms; type :; type 50%; key Enter; wait 500ms; key $; wait 1s";
    let cast = run(&["-r", "session.otop", "--cast", "session.cast", "--cast-size", "100x30", "--keys", keys]);
    assert_eq!(cast.code, Some(0), "{cast:?}");
    assert!(fs::read_to_string(home.join("session.cast")).unwrap().contains("\"filter failed\""));

    // Under the keys, in a terminal.
    let mut pty = Pty::start(nobody(home, &program).args(["-r", "session.otop"]), 120, 40);
    pty.wait_for("the replay", |screen| screen.contains("replay 00:00"));
    pty.keys("$");
    pty.wait_for("its end", |screen| screen.contains("■ ended") && screen.contains("sleep"));
    pty.keys(":0\r");
    pty.wait_for("its beginning", |screen| screen.contains("replay 00:00:0") && !screen.contains("■ ended"));
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));

    let player = Path::new(env!("CARGO_BIN_EXE_opentop")).ancestors().nth(2).unwrap().join("asciinema/bin/asciinema");
    if player.exists() {
        let mut pty =
            Pty::start(Command::new(player).args(["play", "-s", "20"]).arg(home.join("session.cast")), 100, 30);
        assert_eq!(pty.wait().code(), Some(0));
        pty.wait_for("the cast's last screen", |screen| screen.contains("ended") && screen.contains("filter failed"));
    }
}
