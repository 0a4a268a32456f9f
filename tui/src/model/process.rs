//! One process: what the kernel counted of it, and what its records told.

use probe_common::{COMM_LEN, ProcessKey};

use super::histogram::Histogram;
use super::rate::{Rate, Spark};

/// A rate may change by this share before its row changes its place.
const STEADY: f64 = 0.2;

/// No record yet.
pub(super) const NONE: u64 = u64::MAX;

/// What retired and folded processes add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// How many processes.
    pub processes: u64,
    /// Their opens.
    pub opens: u64,
    /// Their failures.
    pub failed: u64,
}

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its identity.
    pub key: ProcessKey,
    /// Its name, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Real uid.
    pub uid: u32,
    /// Its parent.
    pub ppid: u32,
    /// When the first open was seen, boot clock, ns.
    pub first_ns: u64,
    /// When the last one was, boot clock, ns.
    pub last_ns: u64,
    /// When it was found to have exited, boot clock, ns.
    pub exited_ns: Option<u64>,
    /// Opens per second, smoothed.
    pub rate: Rate,
    /// The rate by which it has its place: it follows [`Process::rate`] in steps, so that rows do not flutter.
    pub place: f64,
    /// Its last samples.
    pub spark: Spark,
    /// Durations.
    pub latency: Histogram,
    /// Longest duration, ns.
    pub latency_max_ns: u64,
    /// Sum of the durations, ns.
    pub latency_ns: u64,
    /// Records lost.
    pub lost: u64,
    /// Failures seen, by errno: as records came, not the kernel's count.
    pub errnos: Vec<(i32, u64)>,
    /// What its retired children and theirs add up to.
    pub gone: Option<Box<Retired>>,
    pub(super) opens: u64,
    pub(super) failed: u64,
    pub(super) seen: u64,
    pub(super) seen_failed: u64,
    pub(super) matched: u64,
    pub(super) epoch: u32,
    pub(super) sampled: u64,
    pub(super) active: bool,
    pub(super) counted: bool,
    pub(super) last_seq: u64,
    pub(super) last_path: Box<[u8]>,
}

impl Process {
    pub(super) fn new(key: ProcessKey, comm: [u8; COMM_LEN], uid: u32, ppid: u32, now_ns: u64) -> Self {
        Self {
            key,
            comm,
            uid,
            ppid,
            first_ns: now_ns,
            last_ns: now_ns,
            exited_ns: None,
            rate: Rate::default(),
            place: 0.0,
            spark: Spark::default(),
            latency: Histogram::default(),
            latency_max_ns: 0,
            latency_ns: 0,
            lost: 0,
            errnos: Vec::new(),
            gone: None,
            opens: 0,
            failed: 0,
            seen: 0,
            seen_failed: 0,
            matched: 0,
            epoch: 0,
            sampled: 0,
            active: false,
            counted: false,
            last_seq: NONE,
            last_path: Box::default(),
        }
    }

    /// Its name, without padding.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.comm.split(|b| *b == 0).next().unwrap_or_default()
    }

    /// Opens: the kernel's count, or what was seen where that is ahead of the last reading.
    #[must_use]
    pub fn opens(&self) -> u64 {
        self.opens.max(self.seen)
    }

    /// Those of them that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.max(self.seen_failed)
    }

    /// Takes a new place where the rate is far from the one that it had its place by.
    pub(super) fn settle_place(&mut self) {
        let now = self.rate.per_second();
        if now <= 0.0 || (now - self.place).abs() > STEADY * now.max(self.place) {
            self.place = now;
        }
    }

    /// Share of failures, 0 to 1.
    #[must_use]
    pub fn failed_share(&self) -> f64 {
        if self.opens() == 0 { 0.0 } else { self.failed() as f64 / self.opens() as f64 }
    }

    /// The sequence number of its last open.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        (self.last_seq != NONE).then_some(self.last_seq)
    }

    /// The path of its last open, kept since the record left the history.
    #[must_use]
    pub fn kept_path(&self) -> &[u8] {
        &self.last_path
    }
}
