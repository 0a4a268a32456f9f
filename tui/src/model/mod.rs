//! The truth on screen: the last opens, processes, files, failures, latency, losses.
//!
//! Pure: no clock and no input or output. Time arrives with what is taken in. Bounded: every table has a limit, and
//! what a limit cost is a count that can be shown.

pub mod detail;
pub mod files;
pub mod frequent;
pub mod histogram;
pub mod history;
pub mod listing;
pub mod missing;
pub mod narrowed;
pub mod order;
mod process;
pub mod processes;
pub mod rate;
mod slab;
pub mod stacks;
pub mod tree;
pub mod who;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::Event;
use crate::filter::Filter;
use crate::source::{Batch, Counters, Totals};

use files::{Failures, Files};
use history::{History, Limits};
use listing::Listing;
use narrowed::Narrowed;
use processes::Processes;
use rate::Rate;
use stacks::ByStack;

/// Samples of the overall rate that are kept.
pub const RATE_HISTORY: usize = 600;

/// How the model is bounded and how fast it moves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bounds of the event history.
    pub history: Limits,
    /// Between two samples of the rates, ns.
    pub interval_ns: u64,
    /// How long an exited process stays, ns.
    pub retention_ns: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { history: Limits::default(), interval_ns: 1_000_000_000, retention_ns: 60_000_000_000 }
    }
}

/// Everything known.
#[derive(Clone, Debug)]
pub struct Model {
    /// How it is bounded.
    pub options: Options,
    /// The last opens.
    pub history: History,
    /// Those of them that are shown.
    pub listing: Listing,
    /// The processes.
    pub processes: Processes,
    /// The files.
    pub files: Files,
    /// The failures.
    pub failures: Failures,
    /// The same of the opens that pass the display filter, while they are looked at.
    pub narrowed: Option<Box<Narrowed>>,
    /// Opens by stack.
    pub stacks: ByStack,
    /// The kernel's last sums.
    pub totals: Totals,
    /// The kernel's row of all the processes that did not fit its table.
    pub others: Option<probe_common::ProcessCounts>,
    /// Bytes that waited in the ring at the last reading.
    pub ring_used: u64,
    /// The most bytes that ever waited in the ring.
    pub ring_used_max: u64,
    /// Opens per second in all, smoothed.
    pub rate: Rate,
    /// The last samples of it, opens per second, oldest first.
    pub rates: VecDeque<f64>,
    /// Records that passed the display filter when they came.
    pub shown: u64,
    /// Records that did not.
    pub filtered: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Nothing more will come.
    pub ended: bool,
    /// Boot clock at the last reading or tick, ns.
    pub now_ns: u64,
    seen_failed: u64,
    sampled_ns: Option<u64>,
    sampled_opens: u64,
    samples: u64,
    path: Vec<u8>,
}

impl Model {
    /// An empty one.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            history: History::new(options.history),
            listing: Listing::default(),
            processes: Processes::default(),
            files: Files::default(),
            failures: Failures::default(),
            narrowed: None,
            stacks: ByStack::default(),
            totals: Totals::default(),
            others: None,
            ring_used: 0,
            ring_used_max: 0,
            rate: Rate::default(),
            rates: VecDeque::new(),
            shown: 0,
            filtered: 0,
            undecodable: 0,
            ended: false,
            now_ns: 0,
            seen_failed: 0,
            sampled_ns: None,
            sampled_opens: 0,
            samples: 0,
            path: Vec::new(),
        }
    }

    /// Opens in all: the kernel's count, or what came where that is ahead of the last reading.
    #[must_use]
    pub fn opens(&self) -> u64 {
        self.totals.opens.max(self.shown + self.filtered)
    }

    /// Those of them that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.totals.failed.max(self.seen_failed)
    }

    /// Everything that is missing: the kernel's losses, and records that could not be decoded here.
    #[must_use]
    pub fn missing(&self) -> crate::source::Losses {
        self.totals.losses.with_undecodable(self.undecodable)
    }

    /// Opens that are missing from the stream.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.missing().lost()
    }

    /// Number of samples taken: changes when the rates did.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Takes in a batch of opens.
    pub fn batch(&mut self, batch: &Batch) {
        for record in batch.records() {
            match Event::decode(record) {
                Ok(event) => self.event(&event, record),
                Err(_) => self.undecodable += 1,
            }
        }
        self.listing.trim(self.history.first());
    }

    fn event(&mut self, event: &Event<'_>, record: &[u8]) {
        let process = self.processes.event(event);
        let processes = &mut self.processes;
        // Bytes behind the record's own length are not part of it.
        let record = record.get(..event.len()).unwrap_or(record);
        let seq = self.history.push(record, process, |old| processes.evicted(old.process, old.seq, old.record));
        let passes = self.listing.push(seq, event);
        self.processes.recorded(process, seq, passes);
        *(if passes { &mut self.shown } else { &mut self.filtered }) += 1;
        if passes && let Some(narrowed) = &mut self.narrowed {
            narrowed.event(event);
        }
        self.seen_failed += u64::from(event.failed());
        self.path.clear();
        event.path_into(&mut self.path);
        self.files.event(&self.path, event);
        self.failures.event(&mut self.path, event);
    }

    /// Takes in a reading of the kernel's counters.
    pub fn counters(&mut self, counters: &Counters) {
        for (key, counts) in &counters.processes {
            self.processes.counts(*key, counts, counters.at_ns);
        }
        self.totals = counters.totals;
        self.others = counters.others;
        self.ring_used = counters.ring_used;
        self.ring_used_max = self.ring_used_max.max(counters.ring_used);
        self.tick(counters.at_ns);
    }

    /// Lets time pass until `now_ns`, boot clock: a sample of the rates is taken when one is due.
    pub fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        let Some(last) = self.sampled_ns else {
            self.sampled_ns = Some(now_ns);
            return;
        };
        // The first few come early: nobody likes to look at an empty screen for a second.
        let interval =
            if self.samples < 4 { self.options.interval_ns.min(250_000_000) } else { self.options.interval_ns };
        let passed = now_ns.saturating_sub(last);
        if passed < interval || passed == 0 {
            return;
        }
        let seconds = passed as f64 / 1e9;
        let opens = self.opens();
        let count = opens.saturating_sub(self.sampled_opens);
        self.sampled_opens = opens;
        self.sampled_ns = Some(now_ns);
        self.rate.sample(count, seconds);
        if self.rates.len() >= RATE_HISTORY {
            self.rates.pop_front();
        }
        self.rates.push_back(count as f64 / seconds);
        self.processes.sample(seconds, now_ns.saturating_sub(self.options.retention_ns));
        self.samples += 1;
    }

    /// Changes the display filter; what is already here is examined by [`Model::examine`].
    pub fn set_filter(&mut self, filter: Option<Arc<Filter>>) {
        self.processes.reset_matches();
        self.narrowed = None;
        self.listing.set_filter(filter, &self.history);
    }

    /// Counts files and failures of what passes the display filter from now on, or no longer.
    pub fn narrow(&mut self, wanted: bool) {
        match (wanted && self.listing.filter().is_some(), self.narrowed.is_some()) {
            (true, false) => self.narrowed = Some(Box::new(Narrowed::new(&self.history))),
            (false, true) => self.narrowed = None,
            _ => {}
        }
    }

    /// Whether older opens are still to be examined.
    #[must_use]
    pub fn is_examining(&self) -> bool {
        let (listing, history) = (&self.listing, &self.history);
        listing.is_examining(history) || self.narrowed.as_ref().is_some_and(|n| n.is_behind(listing, history))
    }

    /// Examines some of the older opens after a change of the filter; false when all are done.
    pub fn examine(&mut self, most: usize) -> bool {
        let (history, processes) = (&self.history, &mut self.processes);
        self.listing.examine(history, most, |seq, event| {
            if let Some(process) = history.process(seq) {
                processes.add_match(process, event.process());
            }
        });
        if let Some(narrowed) = &mut self.narrowed {
            narrowed.catch_up(&self.listing, history, most);
        }
        self.is_examining()
    }
}

#[cfg(test)]
mod tests;
