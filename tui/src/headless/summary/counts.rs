//! Counts of one process, or of several together: the kernel's, or what the stream adds up to.

use probe_common::{COMM_LEN, HISTOGRAM_BUCKETS, ProcessCounts, marks};

use crate::{
    event::{Event, bucket},
    source::Totals,
};

/// Counts of one process or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) opens: u64,
    pub(super) failed: u64,
    /// Opens that are counted here and not in the stream.
    pub(super) lost: u64,
    pub(super) latency_ns: u64,
    pub(super) latency_max_ns: u64,
    pub(super) histogram: [u64; HISTOGRAM_BUCKETS],
}

impl Default for Counts {
    fn default() -> Self {
        Self { opens: 0, failed: 0, lost: 0, latency_ns: 0, latency_max_ns: 0, histogram: [0; HISTOGRAM_BUCKETS] }
    }
}

impl From<&ProcessCounts> for Counts {
    fn from(counts: &ProcessCounts) -> Self {
        Self {
            opens: counts.opens,
            failed: counts.failed,
            lost: counts.lost,
            latency_ns: counts.latency_ns,
            latency_max_ns: counts.latency_max_ns,
            histogram: counts.histogram,
        }
    }
}

impl From<&Totals> for Counts {
    fn from(totals: &Totals) -> Self {
        Self {
            opens: totals.opens,
            failed: totals.failed,
            lost: totals.losses.lost(),
            latency_ns: totals.latency_ns,
            latency_max_ns: totals.latency_max_ns,
            histogram: totals.histogram,
        }
    }
}

impl Counts {
    /// Counts one open of the stream.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        self.opens += 1;
        self.failed += u64::from(event.failed() && !event.has(marks::RESULT_UNKNOWN));
        if let Some(ns) = event.duration_ns() {
            self.latency_ns = self.latency_ns.saturating_add(ns);
            self.latency_max_ns = self.latency_max_ns.max(ns);
            if let Some(slot) = self.histogram.get_mut(bucket(ns)) {
                *slot += 1;
            }
        }
    }

    /// Adds the counts of others.
    pub(super) fn add(&mut self, other: &Self) {
        self.opens = self.opens.saturating_add(other.opens);
        self.failed = self.failed.saturating_add(other.failed);
        self.lost = self.lost.saturating_add(other.lost);
        self.latency_ns = self.latency_ns.saturating_add(other.latency_ns);
        self.latency_max_ns = self.latency_max_ns.max(other.latency_max_ns);
        for (slot, add) in self.histogram.iter_mut().zip(other.histogram) {
            *slot = slot.saturating_add(add);
        }
    }

    /// What is left without `part`. The maximum stays: it is a bound.
    pub(super) fn without(&self, part: &Self) -> Self {
        let mut rest = self.clone();
        rest.opens = rest.opens.saturating_sub(part.opens);
        rest.failed = rest.failed.saturating_sub(part.failed);
        rest.lost = rest.lost.saturating_sub(part.lost);
        rest.latency_ns = rest.latency_ns.saturating_sub(part.latency_ns);
        for (slot, sub) in rest.histogram.iter_mut().zip(part.histogram) {
            *slot = slot.saturating_sub(sub);
        }
        rest
    }

    /// The duration that `percent` of the opens did not exceed, ns: see [`quantile`].
    pub(super) fn quantile(&self, percent: u8) -> Option<u64> {
        quantile(&self.histogram, self.latency_max_ns, percent)
    }

    /// Percentage of failures, in tenths.
    pub(super) fn failed_tenths(&self) -> u64 {
        let tenths = u128::from(self.failed) * 1000 / u128::from(self.opens.max(1));
        u64::try_from(tenths).unwrap_or(u64::MAX)
    }
}

/// A bound for a quantile of a log2 histogram: the upper end of the bucket that the open at that rank is in, or the
/// longest duration where that is less. The true quantile is at most this, and more than half of it.
/// `None` without any duration.
#[must_use]
pub fn quantile(histogram: &[u64; HISTOGRAM_BUCKETS], longest_ns: u64, percent: u8) -> Option<u64> {
    let total: u128 = histogram.iter().copied().map(u128::from).sum();
    let rank = (total * u128::from(percent.min(100))).div_ceil(100).max(1);
    let mut seen = 0;
    for (i, count) in histogram.iter().enumerate() {
        seen += u128::from(*count);
        if seen >= rank {
            // The last bucket has no upper end.
            let end = if i + 1 == HISTOGRAM_BUCKETS { u64::MAX } else { (2_u64 << i) - 1 };
            return Some(end.min(longest_ns));
        }
    }
    None
}

/// A name of a thread without its padding.
pub(super) fn comm(comm: &[u8; COMM_LEN]) -> &[u8] {
    comm.split(|b| *b == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_a_close_upper_bound(mut durations in proptest::collection::vec(0_u64..5_000_000_000, 1..200), percent in 1_u8..=100) {
            let mut histogram = [0; HISTOGRAM_BUCKETS];
            for ns in &durations {
                histogram[bucket(*ns)] += 1;
            }
            durations.sort_unstable();
            let rank = (durations.len() * usize::from(percent)).div_ceil(100);
            let truth = durations[rank - 1];
            let longest = *durations.last().unwrap();
            let bound = quantile(&histogram, longest, percent).unwrap();
            prop_assert!(bound >= truth);
            prop_assert!(bound <= truth.max(1).saturating_mul(2) || truth >= 1 << 31);
            prop_assert_eq!(quantile(&histogram, longest, 100), Some(longest));
        }
    }

    #[test]
    fn without_opens_there_is_no_quantile() {
        assert_eq!(quantile(&[0; HISTOGRAM_BUCKETS], 0, 50), None);
    }
}
