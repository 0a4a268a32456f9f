//! The clock of the records, and what lies between it and the wall's.

/// The boot clock, ns: the clock of every record.
#[must_use]
pub fn boot_ns() -> u64 {
    clock_ns(nix::time::ClockId::CLOCK_BOOTTIME)
}

fn clock_ns(clock: nix::time::ClockId) -> u64 {
    // Both clocks exist on every kernel that runs BPF.
    let Ok(time) = nix::time::clock_gettime(clock) else { return 0 };
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
}

/// Wall clock minus boot clock, ns. Of a few readings the one that took least time in between.
pub(super) fn wall_offset_ns() -> i64 {
    let mut best = (u64::MAX, 0i64);
    for _ in 0..5 {
        let before = boot_ns();
        let wall = clock_ns(nix::time::ClockId::CLOCK_REALTIME);
        let after = boot_ns();
        let boot = before + (after - before) / 2;
        if after - before < best.0 {
            best = (after - before, i64::try_from(i128::from(wall) - i128::from(boot)).unwrap_or(0));
        }
    }
    best.1
}
