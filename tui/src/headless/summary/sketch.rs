//! The most frequent keys of a stream in bounded memory, with a bound on the error of each count.
//!
//! A variant of Space-Saving (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and Top-k Elements in
//! Data Streams"): when it is full, the less frequent half goes at once, and what comes later starts from the largest
//! count that ever went. So a count is never too small, and too large by at most its `error`; while everything fits,
//! counts are exact.

use std::collections::HashMap;

/// A key's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// At least the true count.
    pub count: u64,
    /// By how much it may be too large.
    pub error: u64,
}

/// The sketch.
#[derive(Clone, Debug)]
pub struct Sketch {
    // Keyed hashing: names come from any process, and must not be able to make this slow.
    counts: HashMap<Box<[u8]>, Count>,
    keys_max: usize,
    bytes_max: usize,
    bytes: usize,
    /// The largest count that was let go.
    floor: u64,
}

impl Sketch {
    /// A sketch of at most `keys_max` keys (at least 2) that have at most `bytes_max` bytes together, or a key more.
    #[must_use]
    pub fn new(keys_max: usize, bytes_max: usize) -> Self {
        Self { counts: HashMap::new(), keys_max: keys_max.max(2), bytes_max, bytes: 0, floor: 0 }
    }

    /// Counts `key` once more.
    pub fn add(&mut self, key: &[u8]) {
        if let Some(count) = self.counts.get_mut(key) {
            count.count += 1;
            return;
        }
        while !self.counts.is_empty() && (self.counts.len() >= self.keys_max || self.bytes + key.len() > self.bytes_max)
        {
            self.shrink();
        }
        self.bytes += key.len();
        self.counts.insert(key.into(), Count { count: self.floor + 1, error: self.floor });
    }

    fn shrink(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().map(|count| count.count).collect();
        let middle = counts.len() / 2;
        if middle < counts.len() {
            self.floor = self.floor.max(*counts.select_nth_unstable(middle).1);
        }
        let (floor, bytes) = (self.floor, &mut self.bytes);
        self.counts.retain(|key, count| {
            let keep = count.count > floor;
            if !keep {
                *bytes = bytes.saturating_sub(key.len());
            }
            keep
        });
    }

    /// The keys there are, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Count)> {
        self.counts.iter().map(|(key, count)| (&**key, *count))
    }

    /// The most frequent keys, most frequent first, ties in the order of their bytes.
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<(&[u8], Count)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by(|(a, x), (b, y)| y.count.cmp(&x.count).then(a.cmp(b)));
        all.truncate(n);
        all
    }

    /// Bytes of all keys.
    #[cfg(test)]
    fn byte_len(&self) -> usize {
        self.counts.keys().map(|key| key.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_are_exact_while_everything_fits() {
        let mut sketch = Sketch::new(10, 1000);
        for key in [&b"a"[..], b"b", b"a", b"c", b"a", b"b"] {
            sketch.add(key);
        }
        let exact = |count| Count { count, error: 0 };
        assert_eq!(sketch.top(2), [(&b"a"[..], exact(3)), (&b"b"[..], exact(2))]);
    }

    #[test]
    fn the_frequent_survive_a_flood_of_others() {
        let mut sketch = Sketch::new(64, 1 << 20);
        for i in 0..100_000_u32 {
            sketch.add(&i.to_le_bytes());
            if i % 10 == 0 {
                sketch.add(b"/etc/hot");
            }
        }
        let top = sketch.top(1);
        assert_eq!(top[0].0, b"/etc/hot");
        assert!(top[0].1.count >= 10_000 && top[0].1.count - top[0].1.error <= 10_000);
    }

    proptest! {
        #[test]
        fn the_true_count_lies_within_the_bound(keys in proptest::collection::vec(0_u8..40, 0..2000), max in 2_usize..20, bytes in 1_usize..200) {
            let mut sketch = Sketch::new(max, bytes);
            let mut truth = HashMap::<Vec<u8>, u64>::new();
            for key in keys {
                let key = vec![key; usize::from(key % 7) + 1];
                sketch.add(&key);
                *truth.entry(key).or_default() += 1;
                prop_assert!(sketch.iter().count() <= max);
                prop_assert_eq!(sketch.bytes, sketch.byte_len());
                prop_assert!(sketch.bytes <= bytes || sketch.iter().count() == 1);
            }
            for (key, count) in sketch.iter() {
                let true_count = truth[key];
                prop_assert!(count.count >= true_count && count.count - count.error <= true_count);
            }
            for (key, true_count) in &truth {
                prop_assert!(sketch.counts.contains_key(key.as_slice()) || *true_count <= sketch.floor);
            }
        }
    }
}
