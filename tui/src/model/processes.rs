//! The process table: what the kernel counted, joined with what was seen.
//!
//! Counts are the kernel's (exact whatever the ring lost); until they first arrive, what was seen stands in. Exited
//! processes stay for a while, the last [`MAX_EXITED`] of them, then retire into one sum, so that the table is bounded and
//! its total stays exact.

use std::collections::VecDeque;

use probe_common::{ProcessCounts, ProcessKey};
use rustc_hash::FxHashMap;

use super::process::NONE;
pub use super::process::{Process, Retired};
use super::slab::Slab;
use crate::event::Event;

/// Most processes kept. Beyond it the exited retire early, then the quietest.
pub const MAX_PROCESSES: usize = 131_072;

/// Most exited processes kept: with a thousand short ones a second there is no end to them, and their rows are what the
/// memory of a busy hour goes to. As many as the kernel's own table has rows.
pub const MAX_EXITED: usize = 16_384;

/// Longest last path kept of a process whose last record has left the history, bytes: its end is what names the file.
const LAST_PATH: usize = 256;

/// All processes.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    index: FxHashMap<ProcessKey, u32>,
    /// The newest process of each pid.
    pids: FxHashMap<u32, u32>,
    slab: Slab<Process>,
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

    /// Number of the last sampling round, for `Spark::at`.
    #[must_use]
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The process at an index.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&Process> {
        self.slab.get(index)
    }

    /// One more than the highest index there can be.
    #[must_use]
    pub fn end(&self) -> usize {
        self.slab.end()
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
        self.get(*self.pids.get(&pid)?)
    }

    /// The index of a process's parent, while it is in the table. A parent is older than its children: a younger process
    /// only has the parent's pid.
    #[must_use]
    pub fn parent(&self, process: &Process) -> Option<u32> {
        let index = *self.pids.get(&process.ppid)?;
        let parent = self.get(index)?.key;
        ((parent.start_ns, parent.tgid) < (process.key.start_ns, process.key.tgid)).then_some(index)
    }

    /// Every process with its index, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Process)> {
        self.slab.iter()
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

    /// Counts an older open of `key` that passes the display filter. The index that it came with may be another's by now:
    /// those of retired processes are used again.
    pub fn add_match(&mut self, index: u32, key: ProcessKey) {
        let epoch = self.epoch;
        if let Some(process) = self.get_mut(index).filter(|process| process.key == key) {
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
        let Some(process) = self.slab.get_mut(index) else { return index };
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
        let Some(process) = self.slab.get_mut(index) else { return };
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
        if self.exited.len() > MAX_EXITED {
            self.retire_oldest_exited();
        }
    }

    /// Brings the rates up to date with what happened in the last `seconds`, and retires what exited before
    /// `retire_before_ns`.
    pub fn sample(&mut self, seconds: f64, retire_before_ns: u64) {
        self.round += 1;
        let mut active = std::mem::take(&mut self.active);
        active.retain(|index| {
            let Some(process) = self.slab.get_mut(*index) else { return false };
            // One whose place another had until it retired may be here a second time.
            if !process.active || process.spark.round() == self.round {
                return false;
            }
            let opens = process.opens();
            let count = opens.saturating_sub(process.sampled);
            process.sampled = opens;
            if count == 0 && process.exited_ns.is_some() {
                // It opens no more. Its last second would else stand above what goes on: many short ones fill the screen.
                process.rate = super::rate::Rate::default();
            } else {
                process.rate.sample(count, seconds);
            }
            process.settle_place();
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
        self.slab.get_mut(index)
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
        let index = self.slab.insert(process);
        let newest = self.pids.get(&key.tgid).and_then(|other| self.slab.get(*other));
        if newest.is_none_or(|other| other.key.start_ns <= key.start_ns) {
            self.pids.insert(key.tgid, index);
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
        if self.pids.get(&key.tgid) == Some(&index) {
            self.pids.remove(&key.tgid);
        }
        if let Some(process) = self.slab.take(index) {
            self.retired.processes += 1;
            self.retired.opens += process.opens();
            self.retired.failed += process.failed();
            self.inherit(&process);
        }
        if self.last.is_some_and(|(last, _)| last == key) {
            self.last = None;
        }
    }

    /// A tree's sums must not shrink when a child retires: they stay with its parent.
    fn inherit(&mut self, child: &Process) {
        let Some(parent) = self.parent(child).and_then(|index| self.get_mut(index)) else { return };
        let gone = parent.gone.get_or_insert_default();
        gone.processes += 1;
        gone.opens += child.opens();
        gone.failed += child.failed();
        if let Some(more) = &child.gone {
            gone.processes += more.processes;
            gone.opens += more.opens;
            gone.failed += more.failed;
        }
    }
}

fn bump_match(process: &mut Process, epoch: u32) {
    if process.epoch != epoch {
        (process.epoch, process.matched) = (epoch, 0);
    }
    process.matched += 1;
}
