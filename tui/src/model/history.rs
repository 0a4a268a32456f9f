//! The last opens, as the bytes they came in: a ring with a limit in events and one in bytes.
//!
//! Records are kept raw and decoded when looked at: ingest costs one copy, and no allocation per event. They lie in
//! chunks that a frozen picture shares with the running one, so that pausing copies no record.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Event;

/// Bytes of one chunk. A record is at most 8,295 bytes.
const CHUNK: usize = 256 * 1024;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most events.
    pub events: usize,
    /// Most bytes of records.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: 100_000, bytes: 32 * 1024 * 1024 }
    }
}

/// Where a record lies.
#[derive(Clone, Copy, Debug)]
struct Slot {
    chunk: u64,
    at: u32,
    len: u32,
    process: u32,
}

/// A record that had to make room.
#[derive(Debug)]
pub struct Evicted<'a> {
    /// Its sequence number.
    pub seq: u64,
    /// The process it was pushed with.
    pub process: u32,
    /// Its bytes.
    pub record: &'a [u8],
}

/// The bounded ring. A sequence number names an open for good: it never moves when others come and go.
#[derive(Clone, Debug)]
pub struct History {
    limits: Limits,
    chunks: VecDeque<Arc<Vec<u8>>>,
    first_chunk: u64,
    slots: VecDeque<Slot>,
    first: u64,
    bytes: usize,
}

impl History {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { events: limits.events.max(1), bytes: limits.bytes };
        Self { limits, chunks: VecDeque::new(), first_chunk: 0, slots: VecDeque::new(), first: 0, bytes: 0 }
    }

    /// Sequence number of the oldest kept record; equals [`History::end`] when there is none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Sequence number that the next record will get: as many were ever pushed.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Records kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of the kept records.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes
    }

    /// Appends one record; older ones go first through `evicted` where room must be made.
    pub fn push(&mut self, record: &[u8], process: u32, mut evicted: impl FnMut(Evicted<'_>)) -> u64 {
        while !self.slots.is_empty()
            && (self.slots.len() >= self.limits.events || self.bytes + record.len() > self.limits.bytes)
        {
            self.evict(&mut evicted);
        }
        let fits = |chunk: &Vec<u8>| chunk.len() + record.len() <= CHUNK.max(record.len());
        // A chunk that a frozen picture shares is full as far as we are concerned.
        let open = self.chunks.back_mut().and_then(Arc::get_mut).is_some_and(|chunk| fits(chunk));
        if !open {
            // Small at first: a quiet session should not pay for a busy one.
            self.chunks.push_back(Arc::new(Vec::with_capacity(if self.chunks.is_empty() { 4096 } else { CHUNK })));
        }
        let number = self.first_chunk + self.chunks.len() as u64 - 1;
        let mut at = 0;
        if let Some(chunk) = self.chunks.back_mut().and_then(Arc::get_mut) {
            at = chunk.len();
            chunk.extend_from_slice(record);
        }
        self.bytes += record.len();
        self.slots.push_back(Slot { chunk: number, at: at as u32, len: record.len() as u32, process });
        self.end() - 1
    }

    /// The bytes of one record.
    #[must_use]
    pub fn record(&self, seq: u64) -> Option<&[u8]> {
        self.bytes_of(self.slot(seq)?)
    }

    /// One open.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<Event<'_>> {
        Event::decode(self.record(seq)?).ok()
    }

    /// The process index that a record was pushed with.
    #[must_use]
    pub fn process(&self, seq: u64) -> Option<u32> {
        Some(self.slot(seq)?.process)
    }

    fn slot(&self, seq: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    fn bytes_of(&self, slot: &Slot) -> Option<&[u8]> {
        let chunk = self.chunks.get(usize::try_from(slot.chunk.checked_sub(self.first_chunk)?).ok()?)?;
        chunk.get(slot.at as usize..(slot.at + slot.len) as usize)
    }

    fn evict(&mut self, evicted: &mut impl FnMut(Evicted<'_>)) {
        let Some(slot) = self.slots.front().copied() else { return };
        if let Some(record) = self.bytes_of(&slot) {
            evicted(Evicted { seq: self.first, process: slot.process, record });
        }
        self.slots.pop_front();
        self.first += 1;
        self.bytes = self.bytes.saturating_sub(slot.len as usize);
        let keep = self.slots.front().map_or(self.first_chunk + self.chunks.len() as u64, |s| s.chunk);
        while self.first_chunk < keep && self.chunks.pop_front().is_some() {
            self.first_chunk += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RecordBuilder;
    use proptest::prelude::*;

    fn record(name: &str) -> Vec<u8> {
        RecordBuilder::new(1, "sh", name).build()
    }

    #[test]
    fn the_oldest_make_room_and_the_others_keep_their_numbers() {
        let mut history = History::new(Limits { events: 3, bytes: 1 << 20 });
        let mut gone = Vec::new();
        for i in 0..5 {
            history.push(&record(&format!("/{i}")), i, |e| gone.push((e.seq, e.process)));
        }
        assert_eq!((history.len(), history.first(), history.end()), (3, 2, 5));
        assert_eq!(gone, [(0, 0), (1, 1)]);
        assert_eq!(history.get(1), None);
        assert_eq!(history.get(2).unwrap().name(), b"/2");
        assert_eq!(history.get(4).unwrap().name(), b"/4");
        assert_eq!(history.process(4), Some(4));
        assert_eq!(history.get(5), None);
    }

    #[test]
    fn a_frozen_copy_keeps_what_the_running_one_lets_go() {
        let mut history = History::new(Limits { events: 2, bytes: 1 << 20 });
        history.push(&record("/a"), 0, |_| {});
        history.push(&record("/b"), 0, |_| {});
        let frozen = history.clone();
        for _ in 0..5000 {
            history.push(&record("/c"), 0, |_| {});
        }
        assert_eq!(frozen.get(0).unwrap().name(), b"/a");
        assert_eq!(frozen.get(1).unwrap().name(), b"/b");
        assert_eq!(history.get(history.end() - 1).unwrap().name(), b"/c");
    }

    proptest! {
        #[test]
        fn it_stays_within_its_limits_and_its_account_adds_up(
            names in proptest::collection::vec(0usize..5000, 1..300), events in 1usize..50, bytes in 0usize..600_000,
        ) {
            let mut history = History::new(Limits { events, bytes });
            let mut gone = 0u64;
            for len in &names {
                let record = record(&"x".repeat(*len));
                history.push(&record, 0, |_| gone += 1);
                prop_assert_eq!(history.record(history.end() - 1), Some(&record[..]));
            }
            prop_assert!(history.len() <= events);
            prop_assert!(history.len() == 1 || history.byte_len() <= bytes);
            prop_assert_eq!(gone + history.len() as u64, names.len() as u64);
            prop_assert_eq!(history.end(), names.len() as u64);
            // One chunk may be partly empty at either end.
            let held: usize = history.chunks.iter().map(|c| c.len()).sum();
            prop_assert!(held <= bytes + 2 * CHUNK + 8300);
        }
    }
}
