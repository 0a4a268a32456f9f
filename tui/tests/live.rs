//! The real binary on this machine's kernel, capturing only what it starts itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
};

use common::{Ended, opentop, run, wait_until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

fn json(ended: &Ended) -> Vec<serde_json::Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn trace(shell: &str) -> Ended {
    run(["trace", "--format", "json", "--", "sh", "-c", shell])
}

#[test]
fn a_command_is_seen_from_its_first_open_to_its_last() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let shown = dir.path().display();
    let ended = trace(&format!("cat {shown}/missing; : > {shown}/last"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let opens = json(&ended);
    let at = |name: &str| {
        let path = format!("{shown}/{name}");
        opens.iter().find(|open| open["path"] == path.as_str()).unwrap_or_else(|| panic!("{path} is not in {opens:#?}"))
    };
    assert_eq!(at("missing")["errno"], "ENOENT");
    assert_eq!(at("missing")["comm"], "cat");
    assert!(at("last")["fd"].is_number());
    let loader = opens.iter().position(|open| open["path"] == "/etc/ld.so.cache");
    assert!(loader.is_some_and(|at| at <= 2), "the dynamic loader's first open is not at the beginning: {opens:#?}");
    let [all, shown, filtered, lost] = ended.account();
    assert_eq!(all, shown + filtered + lost, "{ended:?}");
    assert_eq!(usize::try_from(shown).unwrap(), opens.len());
    assert_eq!(lost, 0);
    // opentop's own preparation belongs to nobody's trace.
    assert!(opens.iter().all(|open| open["comm"] != "opentop" || open["via"] == "exec"), "{opens:#?}");
}

#[test]
fn processes_beyond_the_kernels_table_are_told_of_as_what_the_summary_makes_of_them() {
    require_live!();
    let loops = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do cat /dev/null; done";
    let ended = run(["summary", "--process-rows", "4", "--format", "json", "--", "sh", "-c", loops]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let table: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let rows = table["processes"].as_array().unwrap();
    assert!(rows.len() >= 13, "a row for each process whose records came: {table:#}");
    let shown: u64 = rows.iter().map(|row| row["opens"].as_u64().unwrap()).sum();
    assert_eq!(shown, table["totals"]["opens"].as_u64().unwrap(), "{table:#}");
    assert_eq!(table.get("others"), None, "nothing is left for a row of others: {table:#}");
    let beyond = table["losses"]["process_table_full"].as_u64().unwrap();
    assert!(beyond > 0 && beyond < shown, "{table:#}");
    let told = format!("{beyond} opens found the kernel's table of processes full");
    assert!(ended.stderr.contains(&told), "{ended:?}");
    assert!(!ended.stderr.contains("others"), "stderr names a row that the table does not have: {ended:?}");
}

#[test]
fn the_exit_status_is_the_commands() {
    require_live!();
    assert_eq!(trace("exit 7").code, Some(7));
    assert_eq!(trace("kill -TERM $$").code, Some(128 + 15));
    assert_eq!(trace("exit 0").code, Some(0));
}

#[test]
fn a_command_that_vanishes_at_exec_is_said_with_its_exit_code() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    executable(&script);
    let ended = Ended::of(opentop().arg("trace").arg("--").arg(&script).output().unwrap());
    assert_eq!(ended.code, Some(127), "{ended:?}");
    assert!(ended.stderr.contains("interpreter"), "{ended:?}");
}

#[test]
fn a_script_without_an_interpreter_line_runs_as_in_a_shell() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "exit 5\n").unwrap();
    executable(&script);
    assert_eq!(opentop().arg("trace").arg("--").arg(&script).output().unwrap().status.code(), Some(5));
}

fn executable(path: &std::path::Path) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_summary_counts_what_the_command_did_and_its_account_adds_up() {
    require_live!();
    let script = "for i in 1 2 3 4 5 6 7; do true < /dev/null; true < /no/such/file-of-the-test; done; exit 4";
    let ended = run(["summary", "--format", "json", "--", "sh", "-c", script]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let [opens, shown, filtered, lost] = ended.account();
    assert_eq!((opens, filtered, lost), (shown, 0, 0));
    assert!(ended.stdout.contains("/no/such/file-of-the-test"), "{ended:?}");
    assert!(ended.stdout.contains("ENOENT"), "{ended:?}");
    let filtered = run(["summary", "-f", "path:/dev/null", "--", "sh", "-c", script]);
    let [opens, shown, filtered, lost] = filtered.account();
    assert_eq!((shown, lost), (7, 0));
    assert_eq!(opens, shown + filtered);
}

#[test]
fn bytes_of_names_that_the_ring_had_no_room_for_are_counted_and_told() {
    require_live!();
    let name = format!("/no/{}", "n".repeat(197));
    let script = format!("i=0; while [ $i -lt 20000 ]; do true < {name}; i=$((i+1)); done 2>/dev/null");
    let args = ["summary", "--format", "json", "--ring-size", "4K", "--", "sh", "-c"];
    let ended = run(args.map(str::to_owned).into_iter().chain([script]));
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    let lost = json["losses"]["ring_full"].as_u64().unwrap();
    assert!(lost > 0, "a ring of 4 KiB held all of it: {ended:?}");
    // The loader's own names are shorter, and may be among them.
    let bytes = json["losses"]["name_bytes"].as_u64().unwrap();
    assert!(bytes <= lost * 201 && bytes >= (lost - lost.min(9)) * 201, "{bytes} bytes of {lost} names");
    assert!(ended.stderr.contains(&format!("{bytes} bytes of names")), "{ended:?}");
    let [opens, _, _, told] = ended.account();
    assert_eq!((json["totals"]["opens"].as_u64().unwrap(), told), (opens, lost));
    assert!(json["processes"][0]["opens"].as_u64().unwrap() >= 20_000, "{ended:?}");
}

#[test]
fn processes_that_the_table_of_captured_ones_has_no_room_for_are_counted_and_told() {
    require_live!();
    // Ten that are alive at once, beside their parent.
    let script = "p=; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & p=\"$p $!\"; done; kill $p; wait";
    let summary = |more: &[&str]| {
        let ended = run(["summary", "--format", "json"].iter().chain(more).chain(&["--", "sh", "-c", script]));
        let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
        let [opens, shown, filtered, lost] = ended.account();
        assert_eq!((opens, filtered, lost), (shown, 0, 0), "{ended:?}");
        (json, ended)
    };
    let (json, ended) = summary(&["--scope-rows", "4"]);
    assert_eq!(json["losses"]["scope_full"].as_u64(), Some(7), "{ended:?}");
    assert!(ended.stderr.contains("7 processes not captured, nor their descendants"), "{ended:?}");
    assert!(json["processes"].as_array().unwrap().len() <= 4, "{ended:?}");
    let (json, ended) = summary(&[]);
    assert_eq!(json["losses"]["scope_full"].as_u64(), Some(0), "{ended:?}");
}

#[test]
fn the_probes_own_log_goes_to_its_file_and_nowhere_else() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("probe.log");
    // A name at an address where nothing is: the probe cannot read it either, and says so.
    let script = "import ctypes; ctypes.CDLL(None).open(ctypes.c_void_p(8), 0)";
    let output = opentop()
        .args(["trace", "--format", "json", "--probe-log"])
        .arg(&log)
        .args(["--", "python3", "-c", script])
        .output()
        .unwrap();
    let ended = Ended::of(output);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("name unreadable"), "{text:?}");
    assert!(!ended.stdout.contains("name unreadable, thread") && !ended.stderr.contains("name unreadable, thread"));
    assert!(json(&ended).iter().any(|open| open["errno"] == "EFAULT"), "{ended:?}");
    assert!(ended.stderr.contains("1 shown without a name"), "{ended:?}");
}

#[test]
fn the_commands_stdout_does_not_mix_with_the_stream() {
    require_live!();
    let ended = trace("echo from-the-command");
    assert!(ended.stderr.contains("from-the-command\n"));
    assert!(!ended.stdout.contains("from-the-command"));
    json(&ended);
}

#[test]
fn a_closed_pipe_ends_it_quietly_with_0() {
    require_live!();
    let mut child = opentop()
        .args(["trace", "--", "sh", "-c", "while :; do : < /dev/null; done"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    let status = wait_until("the end after the pipe is closed", || child.try_wait().unwrap());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.code(), Some(0), "{stderr}");
    // How the probe is attached may be said; of the pipe nothing is.
    assert!(stderr.lines().all(|line| line.starts_with("opentop: attached by ")), "{stderr}");
}

#[test]
fn a_full_disk_is_a_sentence_and_exit_code_1() {
    require_live!();
    let ended = run(["trace", "-o", "/dev/full", "--", "true"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("cannot write to /dev/full: no space left on device; make room"), "{ended:?}");
}

#[test]
fn a_signal_is_passed_on_and_the_session_ends_in_order() {
    require_live!();
    let mut child = opentop()
        .args(["trace", "--", "sh", "-c", "trap 'exit 3' INT; echo ready >&2; while :; do read x < /dev/null; done"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "ended before the command was ready");
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let status = wait_until("the end after SIGINT", || child.try_wait().unwrap());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let ended = Ended { code: status.code(), stdout: String::new(), stderr: rest };
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let [opens, shown, filtered, lost] = ended.account();
    assert_eq!(opens, shown + filtered + lost);
}

#[test]
fn the_time_is_up_and_the_command_ends_with_it() {
    require_live!();
    let ended = run(["trace", "--duration", "1s", "--", "sleep", "1000"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let [opens, shown, ..] = ended.account();
    assert!(opens > 0 && opens == shown);
}

#[test]
fn descendants_that_outlive_the_command_do_not_keep_it() {
    require_live!();
    let ended = Ended::of(
        opentop()
            .args(["trace", "--", "sh", "-c", "sleep 1000 > /dev/null 2>&1 & echo pid $! >&2"])
            .stdout(Stdio::null())
            .output()
            .unwrap(),
    );
    let pid = ended.stderr.lines().find_map(|line| line.strip_prefix("pid ")).unwrap().parse().unwrap();
    assert_eq!(ended.code, Some(0));
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the descendant lives on");
}

#[test]
fn only_the_given_process_is_captured() {
    require_live!();
    let mut shell = Command::new("sh").stdin(Stdio::piped()).spawn().unwrap();
    let mut capture = opentop()
        .args(["trace", "--format", "json", "-p", &shell.id().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(capture.stdout.take().unwrap()).lines();
    // Until the probe is attached nothing comes: so the shell opens until something does.
    let keys = shell.stdin.take().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let typist = std::thread::spawn(move || {
        let mut keys = keys;
        while stopped.recv_timeout(std::time::Duration::from_millis(10)).is_err() {
            keys.write_all(b": < /dev/null\n").unwrap();
        }
    });
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&first["pid"], &first["path"]), (&shell.id().into(), &"/dev/null".into()));
    stop.send(()).unwrap();
    typist.join().unwrap();
    kill(Pid::from_raw(i32::try_from(capture.id()).unwrap()), Signal::SIGTERM).unwrap();
    for line in lines {
        let open: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(open["pid"], shell.id());
    }
    let mut stderr = String::new();
    capture.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let ended = Ended { code: capture.wait().unwrap().code(), stdout: String::new(), stderr };
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let [opens, shown, _, lost] = ended.account();
    assert_eq!(opens, shown + lost);
    shell.wait().unwrap();
}

#[test]
fn hostile_names_reach_no_line_raw() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let name = "evil\x1b[31m\n\u{202e}";
    for format in ["text", "json", "csv"] {
        let ended = Ended::of(
            opentop()
                .args(["trace", "--format", format, "--", "sh", "-c", ": > \"$1\"", "sh", name])
                .current_dir(dir.path())
                .output()
                .unwrap(),
        );
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.stdout.contains(['\x1b', '\u{202e}']), "{ended:?}");
        assert!(ended.stdout.contains("x1b[31m"), "{ended:?}");
    }
}

#[test]
fn under_sudo_files_and_the_command_belong_to_the_caller() {
    require_live!();
    if !common::root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).unwrap();
    let file = dir.path().join("opens.json");
    let ended = Ended::of(
        opentop()
            .args(["trace", "--format", "json", "-o"])
            .arg(&file)
            .args(["--", "sh", "-c", "id -u; id -g; id -G; echo $HOME $USER $LOGNAME"])
            .envs([("SUDO_UID", "65534"), ("SUDO_GID", "65534"), ("SUDO_USER", "nobody")])
            .output()
            .unwrap(),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // What opentop says of itself may come in between.
    let said: Vec<&str> = ended.stderr.lines().filter(|line| !line.starts_with("opentop: ")).collect();
    assert_eq!(said, ["65534", "65534", "65534", "/nonexistent nobody nobody"], "{ended:?}");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&file).unwrap());
    assert_eq!(owner, 65_534);
    assert!(!std::fs::read(&file).unwrap().is_empty());
}

/// What `script` opens below `dir` of what a capture lets through, as the last component of each path, and the account.
fn captured(dir: &std::path::Path, expression: &str, script: &str) -> Vec<String> {
    let output = opentop()
        .args(["trace", "--format", "json", "-c", expression, "--", "sh", "-c", script])
        .current_dir(dir)
        .output()
        .unwrap();
    let ended = Ended::of(output);
    assert_eq!(ended.code, Some(0), "{expression}: {ended:?}");
    let opens = json(&ended);
    let [all, shown, filtered, lost] = ended.account();
    assert_eq!((all, shown, filtered, lost), (opens.len() as u64, opens.len() as u64, 0, 0), "{expression}: {ended:?}");
    let names = opens.iter().map(|open| open["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
    names.collect()
}

#[test]
fn the_kernel_captures_what_the_expression_says_and_counts_nothing_else() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    let at = dir.display();
    // The shell opens all of them itself.
    let script = "for n in a b; do true > $n; done; true < a; true < missing; cd sub; true < ../a; true > c; true < ../missing; cd ..; \
                  true < sub/c; true < ./sub/../b; true < \"$PWD/a\"";
    let below = format!("dir:{at}");
    for (expression, names) in [
        (below.clone(), &["a", "b", "a", "missing", "a", "c", "missing", "c", "b", "a"][..]),
        (format!("{below} !failed"), &["a", "b", "a", "a", "c", "c", "b", "a"]),
        (format!("path:{at}/a | path:{at}/sub/**"), &["a", "a", "a", "c", "c", "b", "a"]),
        (format!("dir:{at}/sub"), &["c", "c", "b"]),
        (format!("{below} flags:wc"), &["a", "b", "c"]),
        (format!("{below} !flags:w !failed via:open,openat"), &["a", "a", "c", "b", "a"]),
        (
            format!("{below} comm:sh uid:{}", nix::unistd::getuid()),
            &["a", "b", "a", "missing", "a", "c", "missing", "c", "b", "a"],
        ),
        (format!("{below} comm:s* dur<100s failed"), &["missing", "missing"]),
        (format!("{below} !comm:sh"), &[]),
        (format!("pid:{} dir:{at}/sub", std::process::id()), &["c", "c", "b"]),
    ] {
        assert_eq!(captured(&dir, &expression, script), names, "{expression}");
    }
}

#[test]
fn short_forms_combine_with_the_expression() {
    require_live!();
    let run = |args: &[&str]| {
        let command = ["--", "sh", "-c", "true < /no/such/file-of-the-test; true < /dev/null"];
        let ended = run(["trace", "--format", "json"].iter().chain(args).chain(&command));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        json(&ended).len()
    };
    let uid = nix::unistd::getuid().to_string();
    assert_eq!(run(&["-x", "-c", "path:/no/**"]), 1);
    assert_eq!(run(&["-x", "-c", "path:/dev/**"]), 0);
    assert_eq!(run(&["-u", &uid, "-c", "path:/dev/null | path:/no/**"]), 2);
    assert_eq!(run(&["-u", "4294967294", "-c", "path:/dev/null"]), 0);
}

#[test]
fn a_captured_process_has_its_descendants_with_it() {
    require_live!();
    // The middle shell is the one that is asked for; its child is there before the capture, and forks later.
    let script = "sh -c 'sh -c \"while :; do cat /dev/null; sleep 0.05; done\"; :' & echo $!; wait";
    let mut outer = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(outer.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let child = wait_until("the shell's child", || {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", pid.trim())).ok()?;
        children.trim().parse::<i32>().ok()
    });
    let ended = run(["trace", "--format", "json", "-c", &format!("pid:{} comm:cat", pid.trim()), "--duration", "1s"]);
    let none =
        run(["trace", "--format", "json", "-c", &format!("!pid:{} ppid:{child}", pid.trim()), "--duration", "300ms"]);
    for pid in [child, pid.trim().parse().unwrap()] {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = outer.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let opens = json(&ended);
    assert!(opens.iter().any(|open| open["path"] == "/dev/null"), "{ended:?}");
    assert!(opens.iter().all(|open| open["comm"] == "cat" && open["ppid"] == child), "{opens:#?}");
    assert_eq!(json(&none), Vec::<serde_json::Value>::new(), "what is in the tree is not outside of it");
}
