//! The commands of README.md do what it says, one after the other as they stand there: what one records the next replays.
//!
//! As written but for two things: a capture that would go on until somebody ends it ends by itself, and is of processes
//! that this test starts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use common::{
    Ended,
    documents::{invocations, shell_lines, workspace_file},
    opentop,
};

/// A process that opens a file again and again, ended when dropped.
struct Opener(Child);

impl Opener {
    fn start() -> Self {
        let script = "while :; do cat /etc/hostname /no/such/file 2>/dev/null; sleep 0.05; done";
        let mut command = Command::new("sh");
        Self(command.args(["-c", script]).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Programs that the README has opentop run.
fn programs(dir: &Path) {
    for name in ["nginx", "make", "server"] {
        let path = dir.join(name);
        fs::write(&path, "#!/bin/sh\ncat /etc/hostname /no/such/file 2>/dev/null\nexit 0\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The words of a command, with an end and a scope where they have none.
fn bounded(words: &[String], pid: u32) -> Vec<String> {
    let mut args: Vec<String> = words[1..].to_vec();
    let alone = ["doctor", "config", "completions", "man"];
    if args.first().is_some_and(|first| alone.contains(&first.as_str()))
        || args.iter().any(|arg| arg == "--" || arg == "-r")
    {
        return args;
    }
    match args.iter().position(|arg| arg == "--duration") {
        Some(at) => args[at + 1] = "300ms".into(),
        None => args.extend(["--duration".into(), "300ms".into()]),
    }
    match args.iter().position(|arg| arg == "-p") {
        Some(at) => args[at + 1] = pid.to_string(),
        None => args.extend(["-p".into(), pid.to_string()]),
    }
    args
}

#[test]
fn every_command_of_the_readme_runs() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    programs(dir.path());
    let opener = Opener::start();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let mut captures = 0;
    for words in invocations(&shell_lines(&workspace_file("README.md"))) {
        let args = bounded(&words, opener.0.id());
        let mut command = opentop();
        let ended = Ended::of(command.args(&args).current_dir(dir.path()).env("PATH", &path).output().unwrap());
        assert_eq!(ended.code, Some(0), "{words:?} as {args:?}: {ended:?}");
        if ended.stderr.contains(" opens = ") {
            let [opens, shown, filtered, lost] = ended.account();
            assert_eq!(opens, shown + filtered + lost, "{words:?}: {ended:?}");
            captures += usize::from(opens > 0);
        } else {
            assert!(!ended.stdout.is_empty(), "{words:?} says nothing: {ended:?}");
        }
    }
    assert!(captures >= 8, "only {captures} commands of the README saw an open");
}
