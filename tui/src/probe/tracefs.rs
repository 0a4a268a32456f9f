//! tracefs for the tracepoints' numbers, where the machine has not mounted it.

use std::path::Path;

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Where it belongs since Linux 4.1.
const TRACEFS: &str = "/sys/kernel/tracing";

/// Whether it is mounted where aya looks for it.
#[must_use]
pub(super) fn mounted() -> bool {
    [TRACEFS, "/sys/kernel/debug/tracing"].iter().any(|dir| Path::new(dir).join("events").is_dir())
}

/// Runs `work` where tracefs can be seen. If it is not mounted, that is in a thread with a mount namespace of its own, which
/// has it: descriptors opened there belong to the whole process, and nothing of the machine is changed.
///
/// # Errors
/// Why tracefs cannot be had, in words.
pub(super) fn with<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R, String> {
    if mounted() {
        return Ok(work());
    }
    let in_namespace = || -> Result<R, String> {
        let why = |what: &str, e: nix::Error| format!("tracefs is not mounted, and {what} failed: {}", e.desc());
        unshare(CloneFlags::CLONE_NEWNS).map_err(|e| why("a mount namespace for it", e))?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(|e| why("making it private", e))?;
        mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), none).map_err(|e| why("mounting it", e))?;
        Ok(work())
    };
    std::thread::scope(|scope| {
        scope.spawn(in_namespace).join().unwrap_or_else(|_| Err("the thread that mounts tracefs died".into()))
    })
}
