//! One look at /proc, when a person opens the page of a process: who it is, and its parents up to init.

use std::fs;
use std::os::unix::ffi::OsStringExt as _;

use probe_common::ProcessKey;
use tokio::sync::mpsc::Sender;

use crate::app;
use crate::source::ProcessFacts;

/// Longest command line that is kept, bytes.
const COMMAND_LINE: usize = 64 * 1024;

/// The answer: the process, and what is known of it.
pub(super) type Looked = (ProcessKey, app::Looked);

/// How far the start that /proc tells may be from the kernel's own, ns. It counts in hundredths of a second; another
/// process with the pid is much younger.
const SAME: u64 = 1_000_000_000;

/// Looks, off the loop: /proc can be slow.
pub(super) fn look(key: ProcessKey, to: Sender<Looked>) {
    tokio::task::spawn_blocking(move || {
        super::fault::point("look");
        if !is_it(&key) {
            return;
        }
        let mut family = Vec::new();
        let mut pid = key.tgid;
        // As deep as trees of processes get; a loop is impossible, a race while we look is not.
        while pid > 0 && family.len() < 64 {
            let Some(facts) = facts(pid) else { break };
            pid = facts.ppid;
            family.push(facts);
        }
        let cgroup = fs::read(format!("/proc/{}/cgroup", key.tgid)).unwrap_or_default();
        // cgroup v2 is the line of hierarchy 0: cgroups(7).
        let cgroup = cgroup.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"0::")).unwrap_or_default();
        if !family.is_empty() {
            // The dashboard may have ended meanwhile.
            let threads =
                number(&fs::read_to_string(format!("/proc/{}/status", key.tgid)).unwrap_or_default(), "Threads:");
            let looked = app::Looked { family, cgroup: cgroup.to_vec(), threads: threads.unwrap_or(0) };
            let _ = to.blocking_send((key, looked));
        }
    });
}

/// What /proc says of a process; `None` when it is gone.
fn facts(pid: u32) -> Option<ProcessFacts> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command_line.truncate(COMMAND_LINE);
    let mut exe = fs::read_link(format!("/proc/{pid}/exe")).map(|p| p.into_os_string().into_vec()).unwrap_or_default();
    if exe.is_empty() {
        // A kernel thread has no program: its name stands in.
        exe = status.lines().find_map(|line| line.strip_prefix("Name:")).map(|n| n.trim().into()).unwrap_or_default();
    }
    Some(ProcessFacts {
        tgid: pid,
        start_ns: 0,
        ppid: number(&status, "PPid:")?,
        uid: number(&status, "Uid:")?,
        user: Vec::new(),
        exe,
        command_line,
    })
}

/// The number behind a word of /proc/PID/status.
fn number(status: &str, field: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether the pid still belongs to the process, and not to a younger one.
fn is_it(key: &ProcessKey) -> bool {
    let Ok(stat) = fs::read(format!("/proc/{}/stat", key.tgid)) else { return false };
    // The name, which may hold anything, is in brackets: proc_pid_stat(5). The start is the 22nd field.
    let behind = stat.iter().rposition(|b| *b == b')').and_then(|at| stat.get(at + 1..)).unwrap_or_default();
    let start = String::from_utf8_lossy(behind).split_whitespace().nth(19).and_then(|n| n.parse::<u64>().ok());
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let tick_ns = 1_000_000_000 / u64::try_from(ticks).unwrap_or(100).max(1);
    key.start_ns == 0 || start.is_none_or(|start| start.saturating_mul(tick_ns).abs_diff(key.start_ns) < SAME)
}
