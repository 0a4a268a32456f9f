//! One look at /proc, when a person opens the page of a process: who it is, and its parents up to init.

use std::fs;
use std::os::unix::ffi::OsStringExt as _;

use probe_common::ProcessKey;
use tokio::sync::mpsc::Sender;

use crate::source::ProcessFacts;

/// Longest command line that is kept, bytes.
const COMMAND_LINE: usize = 64 * 1024;

/// The answer: the process, itself and its parents, its cgroup.
pub(super) type Looked = (ProcessKey, Vec<ProcessFacts>, Vec<u8>);

/// Looks, off the loop: /proc can be slow.
pub(super) fn look(key: ProcessKey, to: Sender<Looked>) {
    tokio::task::spawn_blocking(move || {
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
            let _ = to.blocking_send((key, family, cgroup.to_vec()));
        }
    });
}

/// What /proc says of a process; `None` when it is gone.
fn facts(pid: u32) -> Option<ProcessFacts> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse::<u32>().ok()
    };
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
        ppid: number("PPid:")?,
        uid: number("Uid:")?,
        user: Vec::new(),
        exe,
        command_line,
    })
}
