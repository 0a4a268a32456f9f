//! The stacks of a program with known functions, on this machine's kernel by the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use common::{Ended, opentop};
use serde_json::Value;

/// Compiles the program with frame pointers; `None`, out loud, without a C compiler.
fn program(dir: &Path, stripped: bool) -> Option<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../xtask/src/stacked/stacked.c");
    let out = dir.join("stacked");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]);
    cc.arg(if stripped { "-s" } else { "-g" }).arg("-o").arg(&out).arg(source);
    match cc.status() {
        Ok(status) => assert!(status.success(), "{cc:?}"),
        Err(why) => {
            let line = format!("SKIPPED {}: no C compiler: {why}\n", module_path!());
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
            return None;
        }
    }
    Some(out)
}

fn opentop_on(args: &[&str], program: &Path, words: &[&str]) -> Ended {
    let ended = Ended::of(opentop().args(args).arg("--").arg(program).args(words).output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended
}

fn summary(program: &Path, words: &[&str]) -> Value {
    let ended = opentop_on(&["summary", "--stacks", "--format", "json"], program, words);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"))
}

/// The names of the frames from the innermost on, as far as they are the program's own.
fn names(stack: &Value) -> Vec<String> {
    let frames = stack.as_array().unwrap_or_else(|| panic!("no frames: {stack}"));
    let names = frames.iter().map(|frame| frame.as_str().unwrap().split(['+', ' ']).next().unwrap().to_owned());
    names.take_while(|name| !name.starts_with("__libc_start")).collect()
}

#[test]
fn opens_are_counted_by_the_functions_that_made_them() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path(), false) else { return };
    let json = summary(&program, &["300", "200"]);
    let process = &json["processes"][0];
    let [read, write] = [0, 1].map(|at| &process["stacks"][at]);
    assert_eq!(names(&read["user"]), ["open_by_syscall", "read_config", "main"]);
    assert_eq!((&read["opens"], &read["failed"]), (&300.into(), &0.into()), "{process:#}");
    // One of them is in the debug info only.
    assert_eq!(names(&write["user"]), ["open_by_syscall", "rotate", "write_log", "main"]);
    assert_eq!((&write["opens"], &write["failed"]), (&200.into(), &200.into()), "{process:#}");
    assert!(write["user"][1].as_str().unwrap().starts_with("rotate (inlined, stacked stacked.c:"), "{write:#}");
    let all: u64 = process["stacks"].as_array().unwrap().iter().map(|stack| stack["opens"].as_u64().unwrap()).sum();
    assert_eq!(all + process["stacks_rest"].as_u64().unwrap(), process["opens"].as_u64().unwrap());
    assert_eq!(process["stacks_rest"], 0);
}

#[test]
fn code_made_at_run_time_has_the_name_its_compiler_told() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path(), false) else { return };
    let json = summary(&program, &["9", "20", "jit"]);
    let stacks = json["processes"][0]["stacks"].as_array().unwrap();
    let write = stacks.iter().find(|stack| stack["opens"] == 20).unwrap_or_else(|| panic!("{stacks:#?}"));
    assert_eq!(names(&write["user"]), ["open_by_syscall", "rotate", "write_log", "jitted_handler", "main"]);
    assert!(write["user"][3].as_str().unwrap().ends_with(" ([jit])"), "{write:#}");
}

#[test]
fn without_symbols_module_and_offset_are_shown() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path(), true) else { return };
    let ended = opentop_on(&["trace", "--stacks", "--format", "json"], &program, &["3", "0"]);
    let mut lines = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let open = lines.find(|open| open["path"] == "/proc/self/stat").unwrap_or_else(|| panic!("{ended:?}"));
    for frame in open["stack_user"].as_array().unwrap().iter().take(3) {
        let frame = frame.as_str().unwrap();
        assert!(frame.starts_with("stacked+0x"), "{frame}");
    }
}

#[test]
fn a_recording_holds_the_stacks_with_their_names_and_counts() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path(), false) else { return };
    let file = dir.path().join("x.otr");
    let file = file.to_str().unwrap();
    let live = opentop_on(&["trace", "--stacks", "--format", "json", "-w", file], &program, &["30", "20"]);
    // The program's symbols are not asked for again.
    std::fs::remove_file(&program).unwrap();
    let replayed = common::run(["trace", "--stacks", "--format", "json", "-r", file]);
    assert_eq!(replayed.stdout, live.stdout);
    assert!(live.stdout.contains("read_config+0x"), "{live:?}");
    let ended = common::run(["summary", "--stacks", "--format", "json", "-r", file]);
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    let read = &json["processes"][0]["stacks"][0];
    assert_eq!((&read["opens"], &names(&read["user"])[1]), (&30.into(), &"read_config".to_owned()));
}

#[test]
fn without_the_option_there_is_no_stack_anywhere() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path(), false) else { return };
    let trace = opentop_on(&["trace", "--format", "json"], &program, &["3", "2"]);
    assert!(!trace.stdout.contains("stack_"), "{trace:?}");
    let summary = opentop_on(&["summary", "--format", "json"], &program, &["3", "2"]);
    assert!(!summary.stdout.contains("\"stacks\""), "{summary:?}");
}

#[test]
fn text_and_csv_have_them_too() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path(), false) else { return };
    let text = opentop_on(&["trace", "--stacks"], &program, &["3", "2"]);
    assert!(text.stdout.contains("\n        read_config+0x"), "{text:?}");
    let csv = opentop_on(&["trace", "--stacks", "--format", "csv"], &program, &["3", "2"]);
    assert!(csv.stdout.lines().next().unwrap().ends_with(",stack_user,stack_kernel"), "{csv:?}");
    assert!(csv.stdout.contains("main;read_config;open_by_syscall"), "{csv:?}");
    let text = opentop_on(&["summary", "--stacks"], &program, &["30", "2"]);
    assert!(text.stdout.contains("30 by open_by_syscall < read_config < main"), "{text:?}");
    let csv = opentop_on(&["summary", "--stacks", "--format", "csv"], &program, &["30", "2"]);
    assert!(csv.stdout.lines().next().unwrap().ends_with(",stack,stack_opens"), "{csv:?}");
    assert!(csv.stdout.contains("main;read_config;open_by_syscall"), "{csv:?}");
}
