//! What this process used so far, and what time it is; what /proc/PID/status says of any.

use crate::app::Own;

/// The text of /proc/PID/status; `None` when the process is gone. Its name may be any bytes: what is no text in it is
/// replaced, the rest can be read.
pub(super) fn status_of(pid: u32) -> Option<String> {
    let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
    Some(String::from_utf8_lossy(&status).into_owned())
}

/// Boot clock, ns.
pub(super) fn boot_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(0, |t| {
        let seconds = u64::try_from(t.tv_sec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(t.tv_nsec()).unwrap_or(0))
    })
}

/// What this process used so far.
pub(super) fn own() -> Own {
    let Ok(usage) = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF) else {
        return Own::default();
    };
    let ns = |t: nix::sys::time::TimeVal| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_usec()).unwrap_or(0) * 1_000
    };
    Own {
        at_ns: boot_ns(),
        cpu_ns: ns(usage.user_time()) + ns(usage.system_time()),
        // In KiB: getrusage(2).
        memory: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
    }
}
