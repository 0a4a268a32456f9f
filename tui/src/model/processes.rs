//! The process table: what the kernel counted, joined with what was seen.
//!
//! Counts are the kernel's (exact whatever the ring lost); until they first arrive, what was seen stands in. Exited
//! processes stay for a while, then retire into one sum, so that the table is bounded and its total stays exact.

use std::collections::VecDeque;

use probe_common::{COMM_LEN, ProcessCounts, ProcessKey};
use rustc_hash::FxHashMap;

use super::histogram::Histogram;
use super::rate::{Rate, Spark};
use crate::event::Event;
use crate::source::ProcessFacts;

/// Most processes kept. Beyond it the exited retire early, then the quietest.
pub const MAX_PROCESSES: usize = 131_072;

/// No record yet.
const NONE: u64 = u64::MAX;

/// Longest last path kept of a process whose last record has left the history, bytes: its end is what names the file.
const LAST_PATH: usize = 256;

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
    /// What is known of it from /proc, once it is.
    pub facts: Option<Box<ProcessFacts>>,
    opens: u64,
    failed: u64,
    seen: u64,
    seen_failed: u64,
    matched: u64,
    epoch: u32,
    sampled: u64,
    active: bool,
    counted: bool,
    last_seq: u64,
    last_path: Box<[u8]>,
}

impl Process {
    fn new(key: ProcessKey, comm: [u8; COMM_LEN], uid: u32, ppid: u32, now_ns: u64) -> Self {
        Self {
            key,
            comm,
            uid,
            ppid,
            first_ns: now_ns,
            last_ns: now_ns,
            exited_ns: None,
            rate: Rate::default(),
            spark: Spark::default(),
            latency: Histogram::default(),
            latency_max_ns: 0,
            latency_ns: 0,
            lost: 0,
            errnos: Vec::new(),
            facts: None,
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

/// All processes.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    index: FxHashMap<ProcessKey, u32>,
    slab: Vec<Option<Process>>,
    free: Vec<u32>,
    active: Vec<u32>,
    exited: VecDeque<(u64, ProcessKey)>,
    retired: Retired,
    epoch: u32,
    round: u64,
    last: Option<(ProcessKey, u32)>,
    new_uids: Vec<u32>,
}

impl Processes {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// What retired processes add up to.
    #[must_use]
    pub fn retired(&self) -> Retired {
        self.retired
    }

    /// Number of the last sampling round, for [`Spark::at`].
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The process at an index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&Process> {
        self.slab.get(index as usize)?.as_ref()
    }

    /// The index of a key.
    #[must_use]
    pub fn index(&self, key: &ProcessKey) -> Option<u32> {
        self.index.get(key).copied()
    }

    /// The process of a key.
    #[must_use]
    pub fn by_key(&self, key: &ProcessKey) -> Option<&Process> {
        self.get(*self.index.get(key)?)
    }

    /// The newest process with a pid.
    #[must_use]
    pub fn by_pid(&self, pid: u32) -> Option<&Process> {
        self.iter().map(|(_, p)| p).filter(|p| p.key.tgid == pid).max_by_key(|p| p.key.start_ns)
    }

    /// Every process with its index, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Process)> {
        (0..).zip(&self.slab).filter_map(|(i, p)| Some((i, p.as_ref()?)))
    }

    /// Opens of a process that passed the display filter.
    #[must_use]
    pub fn matched(&self, process: &Process) -> u64 {
        if process.epoch == self.epoch { process.matched } else { 0 }
    }

    /// Forgets what passed: the display filter changed.
    pub fn reset_matches(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Counts an older open that passes the display filter.
    pub fn add_match(&mut self, index: u32) {
        let epoch = self.epoch;
        if let Some(process) = self.get_mut(index) {
            bump_match(process, epoch);
        }
    }

    /// Uids that turned up since the last call.
    pub fn take_new_uids(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.new_uids)
    }

    /// Takes in one open; gives the index of its process.
    pub fn event(&mut self, event: &Event<'_>) -> u32 {
        let header = event.header();
        let key = event.process();
        let index = match self.last {
            // Opens come in runs of the same process.
            Some((last, index)) if last == key => index,
            _ => self.find_or_insert(key, || Process::new(key, header.comm, header.uid, header.ppid, header.start_ns)),
        };
        self.last = Some((key, index));
        let Some(process) = self.slab.get_mut(index as usize).and_then(Option::as_mut) else { return index };
        process.seen += 1;
        process.last_ns = process.last_ns.max(header.start_ns.saturating_add(header.duration_ns));
        if !process.counted && header.tid == header.tgid {
            process.comm = header.comm;
        }
        if let Some(errno) = event.errno() {
            process.seen_failed += 1;
            let known = process.errnos.iter().position(|(e, _)| *e == errno);
            if let Some((_, count)) = known.and_then(|at| process.errnos.get_mut(at)) {
                *count += 1;
            } else if process.errnos.len() < 160 {
                // 133 errnos exist; whatever else a broken record holds must not grow this.
                process.errnos.push((errno, 1));
            }
        }
        if !process.active {
            process.active = true;
            self.active.push(index);
        }
        index
    }

    /// Notes the record of an open just taken in, and whether it passes the display filter.
    pub fn recorded(&mut self, index: u32, seq: u64, passes: bool) {
        let epoch = self.epoch;
        if let Some(process) = self.get_mut(index) {
            process.last_seq = seq;
            if passes {
                bump_match(process, epoch);
            }
        }
    }

    /// Keeps the path of a process whose last record leaves the history.
    pub fn evicted(&mut self, index: u32, seq: u64, record: &[u8]) {
        let Some(process) = self.get_mut(index) else { return };
        if process.last_seq != seq {
            return;
        }
        process.last_seq = NONE;
        if let Ok(event) = Event::decode(record) {
            let mut path = Vec::new();
            event.path_into(&mut path);
            let cut = path.len().saturating_sub(LAST_PATH);
            process.last_path = path.get(cut..).unwrap_or_default().into();
        }
    }

    /// Takes in the kernel's counts of one process, read at `at_ns`.
    pub fn counts(&mut self, key: ProcessKey, counts: &ProcessCounts, at_ns: u64) {
        let index =
            self.find_or_insert(key, || Process::new(key, counts.comm, counts.uid, counts.ppid, counts.last_ns));
        let Some(process) = self.slab.get_mut(index as usize).and_then(Option::as_mut) else { return };
        process.counted = true;
        process.comm = counts.comm;
        process.opens = counts.opens;
        process.failed = counts.failed;
        process.lost = counts.lost;
        process.latency_ns = counts.latency_ns;
        process.latency_max_ns = counts.latency_max_ns;
        process.latency.set(&counts.histogram);
        process.last_ns = process.last_ns.max(counts.last_ns);
        if counts.exited != 0 && process.exited_ns.is_none() {
            process.exited_ns = Some(at_ns);
            self.exited.push_back((at_ns, key));
        }
        if !process.active {
            process.active = true;
            self.active.push(index);
        }
    }

    /// Takes in what became known of a process; of one that is not in the table, nothing is kept.
    pub fn facts(&mut self, facts: &ProcessFacts) {
        let Some(index) = self.index.get(&facts.key()).copied() else { return };
        if let Some(process) = self.get_mut(index) {
            if process.ppid == 0 {
                process.ppid = facts.ppid;
            }
            process.facts = Some(Box::new(facts.clone()));
        }
    }

    /// Brings the rates up to date with what happened in the last `seconds`, and retires what exited before
    /// `retire_before_ns`.
    pub fn sample(&mut self, seconds: f64, retire_before_ns: u64) {
        self.round += 1;
        let mut active = std::mem::take(&mut self.active);
        active.retain(|index| {
            let Some(process) = self.slab.get_mut(*index as usize).and_then(Option::as_mut) else { return false };
            if !process.active {
                return false;
            }
            let opens = process.opens();
            let count = opens.saturating_sub(process.sampled);
            process.sampled = opens;
            process.rate.sample(count, seconds);
            process.spark.set(self.round, (count as f64 / seconds) as f32);
            process.active = count > 0 || process.rate.per_second() > 0.0;
            process.active
        });
        self.active = active;
        while self.exited.front().is_some_and(|(at, _)| *at < retire_before_ns) {
            self.retire_oldest_exited();
        }
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut Process> {
        self.slab.get_mut(index as usize)?.as_mut()
    }

    fn find_or_insert(&mut self, key: ProcessKey, new: impl FnOnce() -> Process) -> u32 {
        if let Some(index) = self.index.get(&key) {
            return *index;
        }
        if self.index.len() >= MAX_PROCESSES && !self.retire_oldest_exited() {
            self.retire_quietest();
        }
        let process = new();
        if !self.new_uids.contains(&process.uid) {
            self.new_uids.push(process.uid);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slab.push(None);
                (self.slab.len() - 1) as u32
            }
        };
        if let Some(slot) = self.slab.get_mut(index as usize) {
            *slot = Some(process);
        }
        self.index.insert(key, index);
        index
    }

    fn retire_oldest_exited(&mut self) -> bool {
        match self.exited.pop_front() {
            Some((_, key)) => {
                self.retire(key);
                true
            }
            None => false,
        }
    }

    /// Retires the sixteenth of the processes that was quiet for longest, so that this is rarely needed again.
    fn retire_quietest(&mut self) {
        let mut by_age: Vec<_> = self.iter().map(|(_, p)| (p.last_ns, p.key)).collect();
        let part = by_age.len() / 16;
        if part < by_age.len() {
            by_age.select_nth_unstable(part);
        }
        for (_, key) in by_age.into_iter().take(part.max(1)) {
            self.retire(key);
        }
    }

    fn retire(&mut self, key: ProcessKey) {
        let Some(index) = self.index.remove(&key) else { return };
        if let Some(process) = self.slab.get_mut(index as usize).and_then(Option::take) {
            self.retired.processes += 1;
            self.retired.opens += process.opens();
            self.retired.failed += process.failed();
        }
        self.free.push(index);
        if self.last.is_some_and(|(last, _)| last == key) {
            self.last = None;
        }
    }
}

fn bump_match(process: &mut Process, epoch: u32) {
    if process.epoch != epoch {
        (process.epoch, process.matched) = (epoch, 0);
    }
    process.matched += 1;
}
