//! The kernel's counts: read, added up, and retired, so that the table in the kernel holds the living only.
//!
//! What a process counted is kept here when its row leaves the kernel's table, so all processes together never shrink.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{Array, MapData, PerCpuArray};
use probe_common::{ProcessCounts, ProcessKey, loss};
use rustc_hash::FxHashMap;

use super::{sys, undisturbed::undisturbed};
use crate::source::{Counters, Losses, Totals};

const VALUE: usize = size_of::<ProcessCounts>();

/// Reads the counting maps of one probe.
pub(super) struct CounterReader {
    processes: OwnedFd,
    others: Array<MapData, [u8; VALUE]>,
    losses: PerCpuArray<MapData, u64>,
    /// Opens at the last reading, of the processes in the table.
    seen: FxHashMap<ProcessKey, Seen>,
    /// All that has left the table.
    retired: Totals,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    opens: u64,
    exited: bool,
}

impl CounterReader {
    /// Takes the maps over; `processes` is the descriptor of a hash map of [`ProcessKey`] and [`ProcessCounts`].
    pub(super) fn new(
        processes: OwnedFd,
        others: Array<MapData, [u8; VALUE]>,
        losses: PerCpuArray<MapData, u64>,
    ) -> Self {
        Self { processes, others, losses, seen: FxHashMap::default(), retired: Totals::default() }
    }

    /// Whether the maps can be read: a question for a thread without privileges.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub(super) fn readable(&self) -> io::Result<impl FnOnce() -> bool + Send + use<>> {
        let processes = self.processes.try_clone()?;
        Ok(move || sys::next_key::<ProcessKey>(processes.as_fd(), None).is_ok())
    }

    /// Reads all of it. Processes that changed since the last reading are in the answer; those that are gone and did not
    /// change any more leave the kernel's table.
    ///
    /// # Errors
    /// When the kernel refuses a reading.
    pub(super) fn read(&mut self, at_ns: u64) -> io::Result<Counters> {
        undisturbed(|| self.read_all(at_ns))
    }

    fn read_all(&mut self, at_ns: u64) -> io::Result<Counters> {
        let mut counters = Counters { at_ns, ..Counters::default() };
        let mut seen = FxHashMap::default();
        let mut leaving = Vec::new();
        let mut next = sys::next_key::<ProcessKey>(self.processes.as_fd(), None)?;
        while let Some(key) = next {
            next = sys::next_key(self.processes.as_fd(), Some(&key))?;
            let Some(raw) = sys::lookup::<_, ProcessCounts>(self.processes.as_fd(), &key)? else { continue };
            let mut counts = raw;
            add_histogram(&mut counts);
            add(&mut counters.totals, &counts);
            let last = self.seen.get(&key).copied().unwrap_or_default();
            let now = Seen { opens: counts.opens, exited: counts.exited != 0 };
            if now.opens != last.opens || now.exited != last.exited {
                counters.processes.push((key, counts));
            } else if now.exited {
                leaving.push((key, raw));
                continue;
            }
            seen.insert(key, now);
        }
        self.seen = seen;
        let others = self.others.get(&0, 0).map_err(io::Error::other)?;
        let mut others: ProcessCounts = bytemuck::pod_read_unaligned(&others);
        add_histogram(&mut others);
        if others.opens > 0 {
            add(&mut counters.totals, &others);
            counters.others = Some(others);
        }
        add_totals(&mut counters.totals, &self.retired);
        // From here on these are counted among the retired.
        for (key, last) in leaving {
            let mut counts = self.take(&key, last)?;
            add_histogram(&mut counts);
            add(&mut self.retired, &counts);
        }
        counters.totals.losses = self.losses()?;
        Ok(counters)
    }

    /// Takes a row out of the kernel's table. Before Linux 5.14 that is not one step; the process has exited by then, so
    /// nothing is counted between reading and deleting.
    fn take(&mut self, key: &ProcessKey, last: ProcessCounts) -> io::Result<ProcessCounts> {
        match sys::take(self.processes.as_fd(), key) {
            Ok(counts) => Ok(counts.unwrap_or(last)),
            Err(_) => {
                sys::delete(self.processes.as_fd(), key)?;
                Ok(last)
            }
        }
    }

    fn losses(&self) -> io::Result<Losses> {
        let sum =
            |slot: u32| -> io::Result<u64> { Ok(self.losses.get(&slot, 0).map_err(io::Error::other)?.iter().sum()) };
        Ok(Losses {
            ring_full: sum(loss::RING_FULL)?,
            inflight_full: sum(loss::INFLIGHT_FULL)?,
            no_entry: sum(loss::NO_ENTRY)?,
            no_return: sum(loss::NO_RETURN)?,
            name_unreadable: sum(loss::NAME_UNREADABLE)?,
            name_truncated: sum(loss::NAME_TRUNCATED)?,
            name_bytes: sum(loss::NAME_BYTES)?,
            dir_incomplete: sum(loss::DIR_INCOMPLETE)?,
            process_table_full: sum(loss::PROCESS_TABLE_FULL)?,
            stack_user: sum(loss::STACK_USER)?,
            stack_kernel: sum(loss::STACK_KERNEL)?,
            stack_uncounted: sum(loss::STACK_UNCOUNTED)?,
            scope_full: sum(loss::SCOPE_FULL)?,
            ..Losses::default()
        })
    }
}

/// In the kernel's table `opens` has those of unknown duration only.
fn add_histogram(counts: &mut ProcessCounts) {
    counts.opens += counts.histogram.iter().sum::<u64>();
}

fn add(totals: &mut Totals, counts: &ProcessCounts) {
    totals.opens += counts.opens;
    totals.failed += counts.failed;
    totals.latency_ns = totals.latency_ns.saturating_add(counts.latency_ns);
    totals.latency_max_ns = totals.latency_max_ns.max(counts.latency_max_ns);
    for (sum, n) in totals.histogram.iter_mut().zip(&counts.histogram) {
        *sum += n;
    }
}

fn add_totals(totals: &mut Totals, more: &Totals) {
    totals.opens += more.opens;
    totals.failed += more.failed;
    totals.latency_ns = totals.latency_ns.saturating_add(more.latency_ns);
    totals.latency_max_ns = totals.latency_max_ns.max(more.latency_max_ns);
    for (sum, n) in totals.histogram.iter_mut().zip(&more.histogram) {
        *sum += n;
    }
}
