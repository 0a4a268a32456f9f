//! Overload and faults: nothing hangs, nothing panics, counts stay exact, and each loss is named. The real binary (and for
//! tables that no option sets, the library) on what the test starts itself.
//!
//! Calls to the kernel that fail are in `failing_calls.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::{Ended, figure, opentop, wait_until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use opentop::{
    probe::{Options, Probe, Scope},
    source::{Batch, Totals},
};

/// A shell that opens a file so often, and nothing else beside what every shell opens when it starts.
fn opens(count: u32) -> [String; 3] {
    ["sh".into(), "-c".into(), format!("i=0; while [ $i -lt {count} ]; do : < /dev/null; i=$((i+1)); done")]
}

/// What a shell opens when it starts.
fn of_a_shell() -> u64 {
    static OPENS: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *OPENS.get_or_init(|| common::run(["trace", "--", "sh", "-c", "i=0; while [ $i -lt 0 ]; do :; done"]).account()[0])
}

/// The account of a run must be exact: so many opens by the loop, and each of them shown, filtered or lost.
fn assert_exact(ended: &Ended, by_the_loop: u64) -> [u64; 4] {
    let account = ended.account();
    let [opens, shown, filtered, lost] = account;
    assert_eq!(opens, of_a_shell() + by_the_loop, "{ended:?}");
    assert_eq!(opens, shown + filtered + lost, "{ended:?}");
    assert!(lost == 0 || ended.stderr.contains("lost: "), "a loss without a name: {ended:?}");
    account
}

fn stopped(child: &std::process::Child, what: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), what).unwrap();
}

#[test]
fn a_consumer_that_is_stopped_for_ten_seconds_loses_records_and_no_counts() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let count = 1_500_000;
    let child = opentop()
        .args(["trace", "--ring-size", "64K", "-o"])
        .arg(dir.path().join("lines"))
        .arg("--")
        .args(opens(count))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the first lines", || std::fs::metadata(dir.path().join("lines")).ok().filter(|meta| meta.len() > 4096));
    stopped(&child, Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(10));
    stopped(&child, Signal::SIGCONT);
    let ended = Ended::of(child.wait_with_output().unwrap());
    let [opens, shown, _, lost] = assert_exact(&ended, count.into());
    assert!(lost > 0 && ended.stderr.contains("the ring of 64K was full"), "{ended:?}");
    let lines = std::fs::read_to_string(dir.path().join("lines")).unwrap().lines().count() as u64;
    assert_eq!(lines, shown + 1, "a line for each that was shown, and the header");
    figure("faults", "consumer stopped for 10 s, ring of 64K", &format!("{opens} opens counted, {lost} lost and told"));
}

#[test]
fn a_ring_of_one_page_counts_exactly() {
    require_live!();
    let count = 50_000;
    let ended = Ended::of(opentop().args(["trace", "--ring-size", "4K", "--"]).args(opens(count)).output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let [opens, shown, _, lost] = assert_exact(&ended, count.into());
    figure("faults", "ring of one page", &format!("{opens} opens counted, {shown} shown, {lost} lost and told"));
}

#[test]
fn two_at_once_count_the_same() {
    require_live!();
    let mut shell = Command::new("sh").stdin(Stdio::piped()).spawn().unwrap();
    let pid = shell.id().to_string();
    let dir = tempfile::tempdir().unwrap();
    let starts = |name: &str| {
        let log = dir.path().join(name);
        let log = std::fs::File::create(log).unwrap();
        opentop().args(["trace", "-p", &pid, "--format", "json"]).stdout(log).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [starts("one"), starts("two")];
    // Until both are attached: a mark in either's lines.
    let mut keys = shell.stdin.as_ref().unwrap();
    wait_until("both attached", || {
        std::io::Write::write_all(&mut keys, b": < /etc/passwd\n").ok()?;
        std::thread::sleep(Duration::from_millis(20));
        let marked = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap().contains("\"/etc/passwd\"");
        (marked("one") && marked("two")).then_some(())
    });
    std::io::Write::write_all(&mut keys, b"i=0; while [ $i -lt 20000 ]; do : < /dev/zero; i=$((i+1)); done\n").unwrap();
    std::io::Write::write_all(&mut keys, b": < /etc/group\n").unwrap();
    let ends = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap().contains("\"/etc/group\"");
    wait_until("the end in both", || (ends("one") && ends("two")).then_some(()));
    for (mut child, name) in both.into_iter().zip(["one", "two"]) {
        stopped(&child, Signal::SIGTERM);
        child.wait().unwrap();
        let lines = std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(lines.lines().filter(|line| line.contains("\"/dev/zero\"")).count(), 20_000, "{name}");
    }
    drop(shell.stdin.take());
    shell.wait().unwrap();
    figure("faults", "two instances at once", "20000 of 20000 opens in both");
}

/// Captures with the library what `command` does; what was counted, and the records that came.
fn with_tables(inflight: u32, processes: u32, command: &mut Command) -> (Totals, u64) {
    // Held back until it is followed: its first byte of input lets it begin.
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let scope = Scope::Pids(vec![child.id()]);
    let mut probe = Probe::start(&Options { inflight, processes, scope, ..Options::default() }).unwrap();
    drop(child.stdin.take());
    let mut records = 0;
    let mut drain = |probe: &mut Probe| {
        let mut batch = Batch::default();
        while probe.drain(&mut batch, 4096) > 0 {
            records += batch.len() as u64;
            batch = Batch::default();
        }
    };
    while child.try_wait().unwrap().is_none() {
        drain(&mut probe);
        std::thread::sleep(Duration::from_millis(2));
    }
    probe.detach();
    drain(&mut probe);
    (probe.counters().unwrap().totals, records)
}

#[test]
fn tables_of_eight_entries_count_exactly_and_name_what_they_lost() {
    require_live!();
    // Twenty shells at once that open fifty times each, all of them by themselves.
    let script = "read x; for n in $(seq 20); do (i=0; while [ $i -lt 50 ]; do : < /dev/null; i=$((i+1)); done; sleep 0.3) & done; wait";
    let run = |inflight, processes| with_tables(inflight, processes, Command::new("sh").args(["-c", script]));
    let (all, records) = run(16384, 16384);
    assert_eq!((all.losses.lost(), records), (0, all.opens), "{all:?}");
    let (few, records) = run(16384, 8);
    assert_eq!((few.opens, few.opens), (all.opens, records + few.losses.lost()), "a table of 8 processes: {few:?}");
    figure(
        "faults",
        "process table of 8 entries",
        &format!("{} of {} opens counted, {} records", few.opens, all.opens, records),
    );
    let (few, records) = run(8, 16384);
    assert!(few.losses.inflight_full + few.losses.no_entry > 0, "twenty threads fit into eight entries: {few:?}");
    assert_eq!(few.opens, records + few.losses.lost(), "the account of 8 in flight: {few:?}");
    assert_eq!(few.opens, all.opens, "8 in flight: {few:?}");
    figure(
        "faults",
        "in-flight table of 8 entries",
        &format!(
            "{} of {} opens counted, {} lost, {} told to be without a name",
            few.opens,
            all.opens,
            few.losses.lost(),
            few.losses.no_entry
        ),
    );
}

/// What this test binary is when opentop starts it: a process that forks, each child opening once.
#[test]
fn helper_that_forks() {
    let Some(count) = std::env::var("OPENTOP_TEST_FORKS").ok().and_then(|n| n.parse::<u32>().ok()) else { return };
    for _ in 0..count {
        // SAFETY: the child makes two system calls.
        unsafe {
            match libc::fork() {
                0 => {
                    libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
                    libc::_exit(0);
                }
                child => assert_eq!(libc::waitpid(child, std::ptr::null_mut(), 0), child),
            }
        }
    }
}

fn forking(count: u32) -> Command {
    let mut command = opentop();
    command.args(["summary", "--format", "json", "--"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "helper_that_forks", "--test-threads=1"]).env("OPENTOP_TEST_FORKS", count.to_string());
    command
}

#[test]
fn a_hundred_thousand_forks_are_counted_one_by_one_in_bounded_memory() {
    require_live!();
    let count = 100_000;
    let base = Ended::of(forking(0).output().unwrap()).account()[0];
    let start = Instant::now();
    let child = forking(count).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let reader = std::thread::spawn(move || Ended::of(child.wait_with_output().unwrap()));
    let mut most = 0;
    while !reader.is_finished() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        most = most.max(line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0_u64));
        std::thread::sleep(Duration::from_millis(100));
    }
    let ended = reader.join().unwrap();
    let [opens, shown, filtered, lost] = ended.account();
    assert_eq!(opens, base + u64::from(count), "{ended:?}");
    assert_eq!(opens, shown + filtered + lost, "{ended:?}");
    assert!(most < 64 << 10, "{most} KiB of memory");
    figure(
        "faults",
        "100,000 forks",
        &format!("{opens} opens counted, {lost} lost, {} MiB at most, {} s", most >> 10, start.elapsed().as_secs()),
    );
}

/// `struct clone_args` of linux/sched.h up to `set_tid_size`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
}

/// What this test binary is then: two processes of one pid, one after the other, that open twice and three times.
#[test]
fn helper_that_reuses_a_pid() {
    if std::env::var_os("OPENTOP_TEST_PID").is_none() {
        return;
    }
    let mut pid: libc::pid_t = 0;
    for (name, count) in [(c"first-of-pid", 2), (c"second-of-pid", 3)] {
        let set = std::ptr::from_ref(&pid) as u64;
        let exit_signal = libc::SIGCHLD as u64;
        let again = u64::from(pid != 0);
        let args = CloneArgs { exit_signal, set_tid: set * again, set_tid_size: again, ..CloneArgs::default() };
        // SAFETY: clone3 like fork; the child makes system calls only.
        unsafe {
            match libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) {
                0 => {
                    libc::prctl(libc::PR_SET_NAME, name.as_ptr());
                    for _ in 0..count {
                        libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
                    }
                    libc::_exit(0);
                }
                child => {
                    assert!(child > 0, "{}", std::io::Error::last_os_error());
                    pid = i32::try_from(child).unwrap();
                    assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid);
                }
            }
        }
    }
}

#[test]
fn a_pid_that_is_reused_is_two_processes() {
    require_live!();
    let mut command = opentop();
    command.args(["summary", "--format", "json", "--"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "helper_that_reuses_a_pid", "--test-threads=1"]).env("OPENTOP_TEST_PID", "1");
    let ended = Ended::of(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let table: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let rows = table["processes"].as_array().unwrap();
    let row = |comm: &str| {
        rows.iter().find(|row| row["comm"] == comm).unwrap_or_else(|| panic!("{comm} is not in {rows:#?}"))
    };
    let (first, second) = (row("first-of-pid"), row("second-of-pid"));
    assert_eq!(first["pid"], second["pid"]);
    assert_eq!((&first["opens"], &second["opens"]), (&2.into(), &3.into()));
    figure("faults", "a pid reused", "two rows, 2 and 3 opens");
}

#[test]
fn a_full_disk_leaves_a_recording_that_says_what_is_missing() {
    require_live!();
    if !common::root() {
        return;
    }
    let script = "mount -t tmpfs -o size=64k full \"$1\"; shift; out=$1; shift; \"$@\"; code=$?; cp \"$out\" /proc/self/fd/1; exit $code";
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("x.otop");
    // Names that compress badly.
    let names = "i=0; while [ $i -lt 40000 ]; do true 2>/dev/null < /no/$(($i*7919%65537))/$(($i*104729%65537))$(($i*31337%65537)); i=$((i+1)); done";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(dir.path()).arg(&recording);
    command.arg(env!("CARGO_BIN_EXE_opentop")).args(["summary", "-o", "/dev/null", "-w"]).arg(&recording);
    command.args(["--", "sh", "-c", names]).env("XDG_CONFIG_HOME", "/nonexistent").env_remove("LD_LIBRARY_PATH");
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("no space left") && stderr.contains("are missing"), "{stderr}");
    std::fs::write(dir.path().join("copy"), &output.stdout).unwrap();
    let replay = common::run(["summary", "-r", dir.path().join("copy").to_str().unwrap()]);
    assert_eq!(replay.code, Some(0), "{replay:?}");
    assert!(replay.account()[0] > 0, "{replay:?}");
    let said = stderr.lines().find(|line| line.contains("are missing")).unwrap();
    let held = said.split("holds ").nth(1).unwrap_or(said).split(';').next().unwrap();
    figure("faults", "disk full", &format!("the recording holds {held}"));
}
