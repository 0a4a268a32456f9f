//! Counters of a rotated file count from that file's beginning, so that each file is a recording by itself and its
//! account adds up. The kernel counts from the attach: this takes off what belongs to the files before.

use probe_common::{ProcessCounts, ProcessKey};
use rustc_hash::FxHashMap;

use crate::source::{Counters, Totals};

/// Subtracts what was counted before the file began. Does nothing for a first file.
#[derive(Debug, Default)]
pub(super) struct Rebase {
    /// Whether there was a file before.
    begun: bool,
    /// The latest counts of living processes, since the attach. One row each: as many as the kernel's table holds.
    latest: FxHashMap<ProcessKey, ProcessCounts>,
    latest_totals: Totals,
    latest_others: Option<ProcessCounts>,
    base: FxHashMap<ProcessKey, ProcessCounts>,
    base_totals: Totals,
    base_others: Option<ProcessCounts>,
}

impl Rebase {
    /// Remembers counters as they came, for the beginning of the next file.
    pub(super) fn remember(&mut self, rows: &FxHashMap<ProcessKey, ProcessCounts>, counters: &Counters) {
        for (key, counts) in rows {
            if counts.exited != 0 {
                self.latest.remove(key);
                self.base.remove(key);
            } else {
                self.latest.insert(*key, *counts);
            }
        }
        self.latest_totals = counters.totals;
        self.latest_others = counters.others;
    }

    /// A new file begins. `handed_over`: records that came from the source until now, wherever they went.
    pub(super) fn begin(&mut self, handed_over: u64) {
        self.begun = true;
        self.base = self.latest.clone();
        self.base_others = self.latest_others;
        self.base_totals = self.latest_totals;
        // The kernel counted opens that are still on their way. They belong to the new file, with their records.
        self.base_totals.opens = handed_over.saturating_add(self.latest_totals.losses.lost());
    }

    /// Makes counters since the attach into counters since the file's beginning. Longest durations stay as they are.
    pub(super) fn apply(&self, counters: &mut Counters) {
        if !self.begun {
            return;
        }
        let (totals, base) = (&mut counters.totals, &self.base_totals);
        totals.opens = totals.opens.saturating_sub(base.opens);
        totals.failed = totals.failed.saturating_sub(base.failed).min(totals.opens);
        totals.latency_ns = totals.latency_ns.saturating_sub(base.latency_ns);
        for (bucket, before) in totals.histogram.iter_mut().zip(&base.histogram) {
            *bucket = bucket.saturating_sub(*before);
        }
        totals.losses = totals.losses.since(&base.losses);
        for (key, counts) in &mut counters.processes {
            if let Some(before) = self.base.get(key) {
                take_off(counts, before);
            }
        }
        if let (Some(others), Some(before)) = (&mut counters.others, &self.base_others) {
            take_off(others, before);
        }
    }
}

fn take_off(counts: &mut ProcessCounts, before: &ProcessCounts) {
    for (value, before) in [
        (&mut counts.opens, before.opens),
        (&mut counts.failed, before.failed),
        (&mut counts.lost, before.lost),
        (&mut counts.name_bytes_lost, before.name_bytes_lost),
        (&mut counts.latency_ns, before.latency_ns),
    ] {
        *value = value.saturating_sub(before);
    }
    for (bucket, before) in counts.histogram.iter_mut().zip(&before.histogram) {
        *bucket = bucket.saturating_sub(*before);
    }
}
