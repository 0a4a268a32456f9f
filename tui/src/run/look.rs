//! One look at /proc, when a person opens the page of a process: who it is, and its parents up to init.

use std::fs;

use probe_common::ProcessKey;
use tokio::sync::mpsc::Sender;

use super::facts;
use crate::app;

/// The answer: the process, and what is known of it.
pub(super) type Looked = (ProcessKey, app::Looked);

/// Looks, off the loop: /proc can be slow.
pub(super) fn look(key: ProcessKey, to: Sender<Looked>) {
    tokio::task::spawn_blocking(move || {
        super::fault::point("look");
        let mut family = Vec::new();
        let mut pid = key.tgid;
        // As deep as trees of processes get; a loop is impossible, a race while we look is not.
        while pid > 0 && family.len() < 64 {
            let Some((facts, started)) = facts::look_at(pid) else { break };
            if family.is_empty() && !facts::is(key, started) {
                break;
            }
            pid = facts.ppid;
            family.push(facts);
        }
        let cgroup = fs::read(format!("/proc/{}/cgroup", key.tgid)).unwrap_or_default();
        // cgroup v2 is the line of hierarchy 0: cgroups(7).
        let cgroup = cgroup.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"0::")).unwrap_or_default();
        if !family.is_empty() {
            // The dashboard may have ended meanwhile.
            let threads = number(&super::own::status_of(key.tgid).unwrap_or_default(), "Threads:");
            let looked = app::Looked { family, cgroup: cgroup.to_vec(), threads: threads.unwrap_or(0) };
            let _ = to.blocking_send((key, looked));
        }
    });
}

/// The number behind a word of /proc/PID/status.
fn number(status: &str, field: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}
