//! The most frequent of more keys than can be kept: counts with a known error, in bounded memory.
//!
//! The frequent-items sketch of Misra and Gries with purges by the median (Anderson et al. 2017): a full table drops
//! its rarer half at once, so that an update is one hash lookup on average. A count is then short by at most
//! [`Frequent::error`], which is shown where it is not 0.

use rustc_hash::FxHashMap;

/// One key's count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted<T> {
    /// How often it came since it is in the table.
    pub count: u64,
    /// What else is known of it.
    pub with: T,
}

/// The sketch.
#[derive(Clone, Debug)]
pub struct Frequent<T> {
    capacity: usize,
    key_bytes: usize,
    max_key_bytes: usize,
    table: FxHashMap<Box<[u8]>, Counted<T>>,
    error: u64,
    purged: u64,
}

impl<T: Default> Frequent<T> {
    /// One that keeps at most `capacity` keys and `key_bytes` bytes of keys.
    #[must_use]
    pub fn new(capacity: usize, key_bytes: usize) -> Self {
        Self {
            capacity: capacity.max(2),
            key_bytes: 0,
            max_key_bytes: key_bytes,
            table: FxHashMap::default(),
            error: 0,
            purged: 0,
        }
    }

    /// Counts `key` once and brings up to date, by `with`, what else is known of it.
    pub fn add(&mut self, key: &[u8], with: impl FnOnce(&mut T)) {
        if let Some(counted) = self.table.get_mut(key) {
            counted.count += 1;
            with(&mut counted.with);
            return;
        }
        if self.table.len() >= self.capacity || self.key_bytes + key.len() > self.max_key_bytes {
            self.purge();
        }
        self.key_bytes += key.len();
        let mut counted = Counted { count: 1, with: T::default() };
        with(&mut counted.with);
        self.table.insert(key.into(), counted);
    }

    /// Drops the rarer half.
    fn purge(&mut self) {
        let mut counts: Vec<u64> = self.table.values().map(|c| c.count).collect();
        let middle = counts.len() / 2;
        if counts.is_empty() {
            return;
        }
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        let before = self.table.len();
        let mut over = before / 2;
        self.table.retain(|_, c| {
            // Equal counts: as many of them go as makes half.
            let keep = c.count > median || (c.count == median && over == 0);
            if !keep {
                over = over.saturating_sub(1);
            }
            keep
        });
        self.purged += (before - self.table.len()) as u64;
        self.error = self.error.max(median);
        self.key_bytes = self.table.keys().map(|k| k.len()).sum();
    }

    /// By how much a count may be short: 0 until the table was full once.
    #[must_use]
    pub fn error(&self) -> u64 {
        self.error
    }

    /// Keys that were dropped as rare.
    #[must_use]
    pub fn purged(&self) -> u64 {
        self.purged
    }

    /// Keys kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// What is known of one key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Counted<T>> {
        self.table.get(key)
    }

    /// Every key with its count, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Counted<T>)> {
        self.table.iter().map(|(key, counted)| (&**key, counted))
    }

    /// The `k` most frequent, by `rank`, greatest first; equal ones by key, so that rows do not change places.
    pub fn top_by<R: Ord>(
        &self,
        k: usize,
        mut rank: impl FnMut(&[u8], &Counted<T>) -> Option<R>,
    ) -> Vec<(&[u8], &Counted<T>)> {
        let mut rows: Vec<_> = self.iter().filter_map(|(key, c)| Some((rank(key, c)?, key, c))).collect();
        let order = |a: &(R, &[u8], &Counted<T>), b: &(R, &[u8], &Counted<T>)| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1));
        if k < rows.len() {
            rows.select_nth_unstable_by(k, order);
            rows.truncate(k);
        }
        rows.sort_unstable_by(order);
        rows.into_iter().map(|(_, key, c)| (key, c)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_stay_and_the_error_is_told() {
        let mut sketch: Frequent<()> = Frequent::new(64, 1 << 20);
        for i in 0..10_000u32 {
            sketch.add(b"/hot", |()| {});
            sketch.add(format!("/cold/{i}").as_bytes(), |()| {});
        }
        assert!(sketch.len() <= 64);
        let top = sketch.top_by(1, |_, c| Some(c.count));
        assert_eq!(top[0].0, b"/hot");
        assert!(top[0].1.count + sketch.error() >= 10_000);
        assert!(sketch.error() > 0 && sketch.purged() > 0);
    }

    #[test]
    fn counts_are_exact_while_everything_fits() {
        let mut sketch: Frequent<u32> = Frequent::new(8, 1 << 20);
        for key in ["a", "b", "a", "c", "a", "b"] {
            sketch.add(key.as_bytes(), |n| *n += 1);
        }
        let top: Vec<_> = sketch.top_by(2, |_, c| Some(c.count)).iter().map(|(k, c)| (k.to_vec(), c.count)).collect();
        assert_eq!(top, [(b"a".to_vec(), 3), (b"b".to_vec(), 2)]);
        assert_eq!(sketch.error(), 0);
    }

    #[test]
    fn long_keys_cannot_fill_the_memory() {
        let mut sketch: Frequent<()> = Frequent::new(1 << 20, 10_000);
        for i in 0..1000 {
            sketch.add(format!("{i:01000}").as_bytes(), |()| {});
        }
        assert!(sketch.key_bytes <= 10_000);
    }
}
