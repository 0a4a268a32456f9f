//! What lies between the recorder and its thread: the messages, and what both of them see.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use probe_common::{ProcessCounts, ProcessKey};
use rustc_hash::FxHashMap;

use crate::source::{Batch, CaptureChange, Counters, ProcessFacts, Stacks};

/// What goes to the recorder's thread.
#[derive(Debug)]
pub(super) enum Message {
    Batch(Batch),
    Counters(Box<Counters>),
    Facts(Vec<ProcessFacts>),
    Stacks(Box<Stacks>),
    Capture(Box<CaptureChange>),
}

/// What the recorder's thread and its owner both see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) records: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) queued_bytes: AtomicUsize,
    pub(super) failing: AtomicBool,
    pub(super) error: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn set_error(&self, message: String) {
        self.failing.store(true, Ordering::Relaxed);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }
}

/// Brings `into` up to date with `newer`, with its rows in `rows`.
pub(super) fn merge_counters(into: &mut Counters, rows: &mut FxHashMap<ProcessKey, ProcessCounts>, newer: &Counters) {
    into.at_ns = newer.at_ns;
    into.totals = newer.totals;
    into.ring_used = newer.ring_used;
    into.others = newer.others.or(into.others);
    rows.extend(newer.processes.iter().copied());
}
