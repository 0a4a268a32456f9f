//! The order of the process table: which rows come first by a column.
//!
//! Only as many rows as are looked at are sorted; the rest of a hundred thousand is passed over once.

use std::cmp::Ordering;

use super::processes::{Process, Processes};

/// What the process table can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// Process id.
    Pid,
    /// Name of the user.
    User,
    /// Name of the process.
    Comm,
    /// Opens that passed the display filter.
    Matched,
    /// Opens.
    Opens,
    /// Opens per second.
    Rate,
    /// Share of failures.
    Failed,
    /// The duration that 99 % of the opens stayed within.
    P99,
    /// Time of the last open.
    Last,
}

impl Column {
    /// Whether the greatest come first unless reversed.
    #[must_use]
    pub fn descends(self) -> bool {
        !matches!(self, Self::Pid | Self::User | Self::Comm)
    }
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub column: Column,
    /// Against the column's usual direction.
    pub reversed: bool,
}

/// Indices of the first `k` processes that pass `keep`, in order, and how many pass in all.
pub fn first(
    processes: &Processes,
    sort: Sort,
    k: usize,
    keep: impl Fn(&Process) -> bool,
    user: impl Fn(u32) -> String,
) -> (Vec<u32>, usize) {
    if sort.column == Column::User {
        let mut names = rustc_hash::FxHashMap::default();
        for (_, p) in processes.iter() {
            names.entry(p.uid).or_insert_with(|| user(p.uid));
        }
        let name = |p: &Process| names.get(&p.uid).map_or("", String::as_str);
        return by(processes, sort, k, keep, |a, b| name(a).cmp(name(b)));
    }
    if sort.column == Column::Comm {
        return by(processes, sort, k, keep, |a, b| a.name().cmp(b.name()));
    }
    // Numbers are gathered first: comparing must not run all over the memory.
    let mut rows: Vec<(u64, u64, u32, u32)> = processes
        .iter()
        .filter(|(_, p)| keep(p))
        .map(|(index, p)| (number(processes, sort.column, p), p.opens(), p.key.tgid, index))
        .collect();
    let total = rows.len();
    let descending = sort.column.descends() != sort.reversed;
    let order = |a: &(u64, u64, u32, u32), b: &(u64, u64, u32, u32)| {
        let by = if descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) };
        by.then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)).then(a.3.cmp(&b.3))
    };
    cut_and_sort(&mut rows, k, order);
    (rows.into_iter().map(|row| row.3).collect(), total)
}

fn by(
    processes: &Processes,
    sort: Sort,
    k: usize,
    keep: impl Fn(&Process) -> bool,
    compare: impl Fn(&Process, &Process) -> Ordering,
) -> (Vec<u32>, usize) {
    let mut rows: Vec<(u32, &Process)> = processes.iter().filter(|(_, p)| keep(p)).collect();
    let total = rows.len();
    cut_and_sort(&mut rows, k, |(_, a), (_, b)| {
        let by = compare(a, b);
        let by = if sort.reversed { by.reverse() } else { by };
        by.then(b.opens().cmp(&a.opens())).then(a.key.cmp(&b.key))
    });
    (rows.into_iter().map(|(index, _)| index).collect(), total)
}

fn cut_and_sort<T>(rows: &mut Vec<T>, k: usize, order: impl Fn(&T, &T) -> Ordering) {
    if k < rows.len() {
        rows.select_nth_unstable_by(k, &order);
        rows.truncate(k);
    }
    rows.sort_unstable_by(&order);
}

pub(super) fn number(processes: &Processes, column: Column, p: &Process) -> u64 {
    match column {
        Column::Pid => u64::from(p.key.tgid),
        Column::Opens => p.opens(),
        Column::Matched => processes.matched(p),
        // Rounded to a tenth, as shown: rows that read the same must not change places.
        Column::Rate => (p.place * 10.0).round() as u64,
        Column::Failed => (p.failed_share() * 1000.0).round() as u64,
        Column::P99 => p.latency.percentile(0.99, p.latency_max_ns).unwrap_or(0),
        Column::Last => p.last_ns,
        Column::User | Column::Comm => 0,
    }
}
