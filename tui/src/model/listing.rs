//! Which of the kept opens pass the display filter: their sequence numbers, kept up to date as opens come and go.
//!
//! After a change of the filter the newest opens are examined first and in pieces, so that the screen answers at once
//! and no key waits for a hundred thousand evaluations.

use std::collections::VecDeque;
use std::sync::Arc;

use super::history::History;
use crate::event::Event;
use crate::filter::Filter;

/// The opens that are shown, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    filter: Option<Arc<Filter>>,
    matching: VecDeque<u64>,
    /// Records before this one are still to be examined.
    examined_from: u64,
}

impl Listing {
    /// The display filter in force.
    #[must_use]
    pub fn filter(&self) -> Option<&Arc<Filter>> {
        self.filter.as_ref()
    }

    /// Changes the filter: nothing is examined yet, see [`Listing::examine`].
    pub fn set_filter(&mut self, filter: Option<Arc<Filter>>, history: &History) {
        self.filter = filter;
        self.matching = VecDeque::new();
        self.examined_from = history.end();
    }

    /// Takes in a record just pushed; answers whether it passes.
    pub fn push(&mut self, seq: u64, event: &Event<'_>) -> bool {
        match &self.filter {
            None => true,
            Some(filter) => {
                let passes = filter.matches(event);
                if passes {
                    self.matching.push_back(seq);
                }
                passes
            }
        }
    }

    /// Lets go of what the history let go of.
    pub fn trim(&mut self, first: u64) {
        while self.matching.front().is_some_and(|seq| *seq < first) {
            self.matching.pop_front();
        }
        self.examined_from = self.examined_from.max(first);
    }

    /// Examines up to `most` older records, calling `found` for each that passes; false when all are done.
    pub fn examine(&mut self, history: &History, most: usize, mut found: impl FnMut(u64, &Event<'_>)) -> bool {
        let Some(filter) = &self.filter else { return false };
        for _ in 0..most {
            if self.examined_from <= history.first() {
                return false;
            }
            self.examined_from -= 1;
            let seq = self.examined_from;
            if let Some(event) = history.get(seq).filter(|event| filter.matches(event)) {
                self.matching.push_front(seq);
                found(seq, &event);
            }
        }
        self.examined_from > history.first()
    }

    /// Whether older records are still to be examined.
    #[must_use]
    pub fn is_examining(&self, history: &History) -> bool {
        self.filter.is_some() && self.examined_from > history.first()
    }

    /// How many are shown.
    #[must_use]
    pub fn len(&self, history: &History) -> usize {
        if self.filter.is_some() { self.matching.len() } else { history.len() }
    }

    /// The sequence number of a row.
    #[must_use]
    pub fn seq(&self, history: &History, row: usize) -> Option<u64> {
        if self.filter.is_some() {
            self.matching.get(row).copied()
        } else {
            (row < history.len()).then(|| history.first() + row as u64)
        }
    }

    /// The row of a sequence number, or the row that took its place.
    #[must_use]
    pub fn row(&self, history: &History, seq: u64) -> usize {
        if self.filter.is_some() {
            self.matching.partition_point(|s| *s < seq)
        } else {
            usize::try_from(seq.saturating_sub(history.first())).unwrap_or(usize::MAX).min(history.len())
        }
    }
}
