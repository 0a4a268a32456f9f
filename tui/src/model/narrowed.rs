//! Files and failures of the opens that pass the display filter: counted as they come, and the older ones in pieces, so
//! that no key waits for a long history.

use super::files::{Failures, Files};
use super::history::History;
use super::listing::Listing;
use crate::event::Event;

/// The counts.
#[derive(Clone, Debug, Default)]
pub struct Narrowed {
    /// The most opened paths.
    pub files: Files,
    /// The failures.
    pub failures: Failures,
    /// Opens counted.
    pub opens: u64,
    /// Of the kept opens, those from this one on are counted.
    from: u64,
    path: Vec<u8>,
}

impl Narrowed {
    /// Nothing is counted yet; what comes is to be handed over from now on.
    pub(super) fn new(history: &History) -> Self {
        Self { from: history.end(), ..Self::default() }
    }

    /// Takes in an open that passes.
    pub(super) fn event(&mut self, event: &Event<'_>) {
        self.opens += 1;
        self.path.clear();
        event.path_into(&mut self.path);
        self.files.event(&self.path, event);
        self.failures.event(&mut self.path, event);
    }

    /// Counts up to `most` of the older opens.
    pub(super) fn catch_up(&mut self, listing: &Listing, history: &History, most: usize) {
        let mut row = listing.row(history, self.from);
        for _ in 0..most {
            let Some(seq) = row.checked_sub(1).and_then(|row| listing.seq(history, row)) else { return };
            (row, self.from) = (row - 1, seq);
            if let Some(event) = history.get(seq) {
                self.event(&event);
            }
        }
    }

    /// Whether older opens are still to be counted.
    #[must_use]
    pub(super) fn is_behind(&self, listing: &Listing, history: &History) -> bool {
        listing.seq(history, 0).is_some_and(|seq| seq < self.from)
    }
}
