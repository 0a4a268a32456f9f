//! Recordings that tests make themselves: the session that they have in common.

use opentop::session::{AttachKind, Session};

/// A kprobe session of another machine, everything captured. `start_ns`: when it began, boot clock; `wall_offset_ns`: what
/// makes ns since 1970 of that.
pub fn session(start_ns: u64, wall_offset_ns: i64) -> Session {
    Session {
        attach: AttachKind::Kprobe,
        reason: "first choice".into(),
        kernel: "6.1.0".into(),
        hostname: "elsewhere".into(),
        wall_offset_ns,
        start_ns,
        routes: Vec::new(),
        capture: "all".into(),
        ring_bytes: 1 << 20,
    }
}
