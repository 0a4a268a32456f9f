//! tracefs for the tracepoints' numbers, where the machine has not mounted it.

use std::path::Path;

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Where it belongs since Linux 4.1.
const TRACEFS: &str = "/sys/kernel/tracing";

/// Where it is mounted, of the places where aya looks for it.
fn mounted() -> Option<&'static Path> {
    [TRACEFS, "/sys/kernel/debug/tracing"].into_iter().map(Path::new).find(|dir| dir.join("events").is_dir())
}

/// Runs `work` where tracefs can be seen. If it is not mounted, that is in a thread with a mount namespace of its own, which
/// has it: descriptors opened there belong to the whole process, and nothing of the machine is changed.
///
/// # Errors
/// Why tracefs cannot be had, in words.
pub(super) fn with<R: Send>(work: impl FnOnce(&Path) -> R + Send) -> Result<R, String> {
    if let Some(dir) = mounted() {
        return Ok(work(dir));
    }
    let in_namespace = || -> Result<R, String> {
        let why = |what: &str, e: nix::Error| {
            format!("tracefs is not mounted, and {what} failed: {}", e.desc().to_lowercase())
        };
        unshare(CloneFlags::CLONE_NEWNS).map_err(|e| why("a mount namespace for it", e))?;
        let none: Option<&str> = None;
        // In a chroot the root is no mount, and that is refused: there /sys has been mounted for itself.
        let private = |dir| mount(none, dir, none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none);
        private("/").or_else(|_| private("/sys")).map_err(|e| why("making it private", e))?;
        mount(Some("tracefs"), TRACEFS, Some("tracefs"), MsFlags::empty(), none).map_err(|e| why("mounting it", e))?;
        Ok(work(Path::new(TRACEFS)))
    };
    std::thread::scope(|scope| {
        scope.spawn(in_namespace).join().unwrap_or_else(|_| Err("the thread that mounts tracefs died".into()))
    })
}
