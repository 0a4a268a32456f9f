//! The real binary, as a person meets it before anything is captured: usage, refusals, help.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::process::Command;

use common::{Ended, opentop, run};

/// A refusal is a sentence on stderr: nothing on stdout, no panic, no bare error number.
fn refused(ended: &Ended, code: i32, says: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.stderr.contains(says), "{says:?} is not in {:?}", ended.stderr);
    assert_eq!(ended.stdout, "");
    for never in ["panicked", "os error", "RUST_BACKTRACE", "\x1b"] {
        assert!(!ended.stderr.contains(never), "{never:?} is in {:?}", ended.stderr);
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_would_be_right() {
    for (line, says) in [
        (&["--bogus"][..], "unexpected argument '--bogus'"),
        (&["trace", "--duration", "soon"], "10s, 500ms"),
        (&["--duration", "0s"], "longer than none"),
        (&["trace", "--ring-size", "big"], "64K, 8M"),
        (&["trace", "--ring-size", "0"], "between 4K and 1G"),
        (&["--pid", "init"], "a process id is a number"),
        (&["--pid", "4194303"], "no such process"),
        (&["--user", "no-such-user"], "no user of that name"),
        (&["--attach", "magic"], "kprobe"),
        (&["trace", "--format", "xml"], "json"),
        (&["--"], "no command after `--`"),
        (&["trace", "--"], "no command after `--`"),
        (&["frobnicate"], "frobnicate"),
        (&["-x", "trace"], "trace"),
        (&["completions", "tcsh"], "zsh"),
    ] {
        refused(&run(line), 2, says);
    }
}

#[test]
fn bytes_of_arguments_never_reach_the_terminal_raw() {
    let ended = run(["trace", "\x1b]0;owned\x07"]);
    refused(&ended, 2, r"\x1b]0;owned\x07");
    refused(&run(["trace", "-o", "/nonexistent/\x1b[31m"]), 1, r"\x1b[31m");
    refused(&run(["trace", "--", "/nonexistent/\x1b[31m"]), 127, r"\x1b[31m");
}

#[test]
fn a_command_that_cannot_run_has_the_exit_codes_of_a_shell() {
    refused(&run(["trace", "--", "no-such-command-here"]), 127, "command not found: no-such-command-here");
    refused(&run(["trace", "--", "/no/such/file"]), 127, "cannot run /no/such/file: no such file");
    refused(&run(["trace", "--", "/etc/passwd"]), 126, "permission denied");
    refused(&run(["trace", "--", "/etc"]), 126, "not a program");
}

#[test]
fn a_file_that_cannot_be_written_is_said_before_anything_is_captured() {
    refused(&run(["trace", "-o", "/nonexistent/opens.txt"]), 1, "cannot write to /nonexistent/opens.txt");
}

/// opentop without a capability, root or not.
fn powerless(args: &[&str]) -> Command {
    if !nix::unistd::geteuid().is_root() {
        let mut command = opentop();
        command.args(args);
        return command;
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", "sh", "-c", "exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_opentop")).args(args);
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
    command
}

/// Runs every command on a machine that lacks something, each with `capture` behind it: they end with the same code, the
/// same cause in one line, and the way to the doctor, and the doctor ends with that code, too. Gives the cause, and what
/// the doctor said.
fn the_same_cause(machine: &dyn Fn(&[&str]) -> Command, capture: &[&str], code: i32) -> (String, Ended) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (recording, cast) = (path("x.otop"), path("x.cast"));
    let mut cause = None;
    for command in [
        &["trace"][..],
        &["trace", "-x", "--format", "json"],
        &["summary"],
        &["summary", "--format", "csv"],
        &["trace", "-w", &recording],
        &["summary", "-w", &recording],
        // With stdout not a terminal it is as `trace`; a cast needs none.
        &[],
        &["--cast", &cast],
    ] {
        let ended = Ended::of(machine(&[command, capture].concat()).output().unwrap());
        refused(&ended, code, "opentop doctor`");
        let first = ended.stderr.lines().next().unwrap();
        let cause = cause.get_or_insert_with(|| first.to_owned());
        assert_eq!(first, cause, "{command:?}: {ended:?}");
        assert!(!std::path::Path::new(&recording).exists(), "a recording of nothing: {ended:?}");
    }
    let cause = cause.unwrap();
    let mut dashboard = common::pty::Pty::start(&mut machine(capture), 500, 30);
    assert_eq!(dashboard.wait().code(), Some(code));
    dashboard.wait_for("the cause", |screen| screen.contains(&cause) && screen.contains("opentop doctor`"));
    dashboard.assert_restored();
    let doctor = Ended::of(machine(&["doctor"]).output().unwrap());
    assert_eq!(doctor.code, Some(code), "{doctor:?}");
    let json = Ended::of(machine(&["doctor", "--format", "json"]).output().unwrap());
    assert_eq!(json.code, Some(code), "{json:?}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.stdout).unwrap()["can_run"], false, "{json:?}");
    (cause.strip_prefix("opentop: ").unwrap().to_owned(), doctor)
}

#[test]
fn every_command_names_the_same_privileges_and_points_to_the_doctor() {
    let (cause, doctor) = the_same_cause(&powerless, &["--", "true"], 77);
    assert!(cause.starts_with("not permitted: ") && cause.contains("CAP_BPF"), "{cause}");
    assert!(doctor.stdout.contains(&cause) || doctor.stderr.contains(&cause), "{doctor:?}");
    let row = doctor.stdout.lines().position(|line| line.contains("CAP_BPF")).unwrap();
    let rows: Vec<&str> = doctor.stdout.lines().skip(row).take(3).collect();
    assert!(rows[0].starts_with("missing") && rows[2].contains("what mends it:  sudo setcap"), "{rows:?}");
}

/// opentop on a machine that has neither kprobes nor tracefs nor BTF, as far as can be seen.
fn nothing_to_attach_to(args: &[&str]) -> Command {
    let hide =
        "for dir in /sys/kernel /sys/bus/event_source; do mount -t tmpfs hidden $dir || exit 99; done; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", hide, "sh", env!("CARGO_BIN_EXE_opentop")]).args(args);
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
    command
}

#[test]
fn every_command_names_what_the_kernel_lacks_and_so_does_the_doctor() {
    require_live!();
    if !common::root() {
        return;
    }
    let me = std::process::id().to_string();
    let (cause, doctor) = the_same_cause(&nothing_to_attach_to, &["-p", &me], 69);
    let reasons = cause.split_once('(').unwrap().1.rsplit_once("). `opentop doctor` tells").unwrap().0;
    for (kind, reason) in [
        ("kprobe", "this kernel is built without kprobes (CONFIG_KPROBE_EVENTS)"),
        ("fentry", "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF), which fentry needs"),
        ("tracepoint", "tracefs is not mounted, and mounting it failed: no such file or directory"),
    ] {
        assert!(reasons.contains(&format!("not {kind}: {reason}")), "{kind}: {cause}");
        assert!(doctor.stdout.contains(&format!("missing  {kind:<21}{reason}\n")), "{kind}: {doctor:?}");
    }
    assert!(!doctor.stdout.contains("another kind serves"), "none does: {doctor:?}");

    // A command is to be followed, which takes types of the kernel.
    let (cause, doctor) = the_same_cause(&nothing_to_attach_to, &["--", "true"], 69);
    let lacking = "/sys/kernel/btf/vmlinux: no such file or directory";
    assert!(cause.contains("CONFIG_DEBUG_INFO_BTF") && cause.contains(lacking), "{cause}");
    assert!(doctor.stdout.contains(&format!("missing  {:<21}{lacking}\n", "BTF")), "{doctor:?}");
}

/// opentop on a kernel whose bpf(2) ends with an error, each time.
fn without_bpf(error: &str, args: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=bpf", "-e", &format!("inject=bpf:error={error}"), "--"]);
    command.arg(env!("CARGO_BIN_EXE_opentop")).args(args);
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
    command
}

#[test]
fn every_command_names_what_bpf_cannot_do_and_so_does_the_doctor() {
    require_live!();
    assert!(std::path::Path::new("/usr/bin/strace").exists(), "strace is to be installed (.ci/run does)");
    for (error, code, says) in
        [("ENOSYS", 69, "CONFIG_BPF_SYSCALL"), ("EINVAL", 69, "since 5.6"), ("EPERM", 77, "operation not permitted")]
    {
        let (cause, doctor) = the_same_cause(&|args| without_bpf(error, args), &["--", "true"], code);
        assert!(cause.contains("bpf(2), BPF_BTF_LOAD") && cause.contains(says), "{cause}");
        assert!(doctor.stdout.contains(&cause), "{cause:?} is not told: {doctor:?}");
    }
}

#[test]
fn without_privileges_it_says_which_are_missing_and_both_ways_out() {
    let ended = Ended::of(powerless(&["trace", "-x", "--", "true"]).output().unwrap());
    refused(&ended, 77, "CAP_BPF");
    refused(&ended, 77, "CAP_PERFMON");
    assert!(ended.stderr.lines().last().unwrap().contains("`opentop doctor`"), "{ended:?}");
    assert!(ended.stderr.contains("sudo "), "{ended:?}");
    assert!(ended.stderr.contains("trace -x -- true"), "the actual arguments: {ended:?}");
    assert!(ended.stderr.contains("sudo setcap cap_bpf,cap_perfmon,cap_dac_read_search=ep"), "{ended:?}");
}

#[test]
fn a_filter_that_cannot_be_understood_is_shown_with_a_caret() {
    let ended = run(["trace", "-f", "comm:nginx (uid>", "--", "true"]);
    refused(&ended, 2, "--filter cannot be understood");
    assert!(ended.stderr.lines().any(|line| line.trim_start().starts_with('^')), "{ended:?}");
}

#[test]
fn the_doctor_explains_every_lack_and_agrees_with_a_run() {
    let doctor = run(["doctor"]);
    let trace = run(["trace", "--", "true"]);
    assert_eq!(doctor.code, trace.code, "{doctor:?} {trace:?}");
    let json: serde_json::Value = serde_json::from_str(&run(["doctor", "--format", "json"]).stdout).unwrap();
    let checks = json["checks"].as_array().unwrap();
    for name in [
        "kernel",
        "BTF",
        "ring buffer",
        "kprobe",
        "fentry",
        "tracepoint",
        "tracefs",
        "lockdown",
        "perf_event_paranoid",
        "CAP_BPF",
        "CAP_PERFMON",
        "CAP_DAC_READ_SEARCH",
        "memlock",
        "BPF JIT",
        "container",
        "terminal",
    ] {
        assert!(doctor.stdout.lines().any(|line| line.contains(name)), "{name} is not in {doctor:?}");
        let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {json:#}"));
        assert!(!check["found"].as_str().unwrap().is_empty() && !check["why"].as_str().unwrap().is_empty(), "{check}");
        assert!(check["state"] != "ok" || check["mend"].is_null(), "{check}");
    }
    // Every route of every way that works is live or says why not.
    for trial in json["trials"].as_array().unwrap().iter().filter(|trial| trial["ok"] == true) {
        let routes = trial["routes"].as_array().unwrap();
        assert_eq!(routes.len(), 8, "{trial}");
        assert!(
            routes.iter().all(|route| route["live"] == true || !route["why"].as_str().unwrap().is_empty()),
            "{trial}"
        );
    }
    assert_eq!(json["can_run"], trace.code == Some(0));
}

#[test]
fn help_is_grouped_and_has_examples() {
    for line in [&["--help"][..], &["-h"], &["trace", "--help"]] {
        let ended = run(line);
        assert_eq!(ended.code, Some(0));
        for part in ["Usage:", "Capture:", "Probe:", "Examples:", "sudo opentop"] {
            assert!(ended.stdout.contains(part), "{part} is not in the help of {line:?}");
        }
        assert_eq!(ended.stderr, "");
    }
    assert!(run(["--version"]).stdout.starts_with("opentop "));
}

#[test]
fn completions_and_the_manual_page_come_out_whole() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(["completions", shell]);
        assert_eq!(ended.code, Some(0));
        assert!(ended.stdout.contains("attach"), "{shell}");
    }
    let man = run(["man"]);
    assert_eq!(man.code, Some(0));
    for part in [".TH", "Examples:", "trace"] {
        assert!(man.stdout.contains(part), "{part} is not in the manual page");
    }
}

#[test]
fn help_into_a_closed_pipe_is_no_error() {
    let shell = format!("{} completions bash | true; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_opentop"));
    let output = Command::new("bash").args(["-c", &shell]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_capture_that_the_kernel_cannot_do_is_refused_with_what_works() {
    for args in [&["trace"][..], &["summary"], &[]] {
        let ended = run(args.iter().chain(&["-c", "uid:0 path:*.conf"]));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("  uid:0 path:*.conf\n        ^^^^^^^^^^^\n"), "{ended:?}");
        assert!(ended.stderr.contains("path:/etc/** or dir:/etc works, path:*.conf needs -f"), "{ended:?}");
    }
    let ended = run(["trace", "-c", "comm:("]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--capture cannot be understood:\n  comm:("), "{ended:?}");
    let ended = run(["trace", "-c", "uid:0", "-r", "x"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}
