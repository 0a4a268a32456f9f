//! A log2 latency histogram, stored as the few buckets that are in use: a hundred thousand processes have one each.

use probe_common::HISTOGRAM_BUCKETS;

/// Durations by power of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    first: u8,
    counts: Box<[u64]>,
}

impl Histogram {
    /// Replaces it by the kernel's cumulative one.
    pub fn set(&mut self, all: &[u64; HISTOGRAM_BUCKETS]) {
        let first = all.iter().position(|c| *c > 0).unwrap_or(0);
        let end = all.iter().rposition(|c| *c > 0).map_or(first, |i| i + 1);
        let used = all.get(first..end).unwrap_or_default();
        self.first = first as u8;
        if self.counts.len() == used.len() {
            self.counts.copy_from_slice(used);
        } else {
            self.counts = used.into();
        }
    }

    /// All buckets.
    #[must_use]
    pub fn buckets(&self) -> [u64; HISTOGRAM_BUCKETS] {
        let mut all = [0; HISTOGRAM_BUCKETS];
        for (to, from) in all.iter_mut().skip(usize::from(self.first)).zip(&self.counts) {
            *to = *from;
        }
        all
    }

    /// See [`percentile`].
    #[must_use]
    pub fn percentile(&self, q: f64, max_ns: u64) -> Option<u64> {
        percentile_of(self.first, &self.counts, q, max_ns)
    }
}

/// The duration, ns, that a share `q` of all opens stayed within: the upper end of its bucket, or the longest ever
/// seen where that is less. `None` without any.
#[must_use]
pub fn percentile(buckets: &[u64; HISTOGRAM_BUCKETS], q: f64, max_ns: u64) -> Option<u64> {
    percentile_of(0, buckets, q, max_ns)
}

fn percentile_of(first: u8, counts: &[u64], q: f64, max_ns: u64) -> Option<u64> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let want = (all as f64 * q).ceil().max(1.0) as u64;
    let mut sum = 0;
    for (bucket, count) in (u32::from(first)..).zip(counts) {
        sum += count;
        if sum >= want {
            let upper = if bucket as usize >= HISTOGRAM_BUCKETS - 1 { u64::MAX } else { (1 << (bucket + 1)) - 1 };
            return Some(if max_ns > 0 { upper.min(max_ns) } else { upper });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_upper_end_of_their_bucket_and_never_above_the_longest() {
        let mut all = [0; HISTOGRAM_BUCKETS];
        assert_eq!(percentile(&all, 0.99, 0), None);
        all[10] = 98;
        all[20] = 2;
        assert_eq!(percentile(&all, 0.5, 1_500_000), Some(2047));
        assert_eq!(percentile(&all, 0.99, 1_500_000), Some(1_500_000));
        let mut small = Histogram::default();
        small.set(&all);
        assert_eq!(small.buckets(), all);
        assert_eq!(small.percentile(0.5, 1_500_000), Some(2047));
    }
}
