//! The process table as a tree: children under their parents, with what each and all its descendants add up to.
//!
//! Parents that have opened nothing are not in the table; their children stand at the root.

use std::cmp::Ordering;

use probe_common::ProcessKey;
use rustc_hash::{FxHashMap, FxHashSet};

use super::order::{Column, Sort, number};
use super::processes::{Process, Processes};

/// Levels whose lines can be told from each other; deeper ones look like this one.
const LEVELS: u16 = 64;

/// What a process and its descendants add up to, those that have retired with them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// How many processes.
    pub processes: u64,
    /// Their opens.
    pub opens: u64,
    /// Those that failed.
    pub failed: u64,
    /// Kept opens that pass the display filter.
    pub matched: u64,
    /// Opens per second, smoothed.
    pub rate: f64,
    /// The rate that the order goes by.
    pub(super) place: f64,
    shown: bool,
}

impl Sum {
    fn of(processes: &Processes, process: &Process, shown: bool) -> Self {
        let gone = process.gone.as_deref().copied().unwrap_or_default();
        Self {
            processes: 1 + gone.processes,
            opens: process.opens() + gone.opens,
            failed: process.failed() + gone.failed,
            matched: processes.matched(process),
            rate: process.rate.per_second(),
            place: process.place,
            shown,
        }
    }

    fn add(&mut self, child: &Self) {
        self.processes += child.processes;
        self.opens += child.opens;
        self.failed += child.failed;
        self.matched += child.matched;
        self.rate += child.rate;
        self.place += child.place;
        self.shown |= child.shown;
    }

    /// Share of failures, 0 to 1.
    #[must_use]
    pub fn failed_share(&self) -> f64 {
        if self.opens == 0 { 0.0 } else { self.failed as f64 / self.opens as f64 }
    }
}

/// A row of the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch {
    /// The process.
    pub index: u32,
    /// Ancestors in the table.
    pub depth: u16,
    /// For each level the bit is set when more is to come below on it: bit 0 is the children of the root.
    pub lines: u64,
    /// Whether it has children.
    pub parent: bool,
    /// Whether they are folded away.
    pub folded: bool,
    /// What it adds up to.
    pub sum: Sum,
}

impl Branch {
    /// Whether a sibling comes below it.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.depth > 0 && self.lines >> (self.depth - 1).min(LEVELS - 1) & 1 == 1
    }
}

/// A process in the making of the tree.
struct Node<'a> {
    index: u32,
    process: &'a Process,
    parent: Option<u32>,
    /// Children whose sums are not in yet.
    waiting: u32,
    sum: Sum,
}

/// All rows that are not folded away, in order: those that pass `keep`, and their ancestors.
pub fn rows(
    processes: &Processes,
    sort: Sort,
    folded: &FxHashSet<ProcessKey>,
    keep: impl Fn(&Process) -> bool,
    user: impl Fn(u32) -> String,
) -> Vec<Branch> {
    let mut nodes: Vec<Node<'_>> = Vec::with_capacity(processes.len());
    let mut node_of = vec![u32::MAX; processes.end()];
    for (index, process) in processes.iter() {
        if let Some(slot) = node_of.get_mut(index as usize) {
            *slot = nodes.len() as u32;
        }
        let sum = Sum::of(processes, process, keep(process));
        nodes.push(Node { index, process, parent: None, waiting: 0, sum });
    }
    for at in 0..nodes.len() {
        let parent = nodes.get(at).and_then(|node| processes.parent(node.process));
        let parent = parent.and_then(|index| node_of.get(index as usize).copied()).filter(|node| *node != u32::MAX);
        let Some(parent) = parent else { continue };
        if let Some(node) = nodes.get_mut(parent as usize) {
            node.waiting += 1;
        }
        if let Some(node) = nodes.get_mut(at) {
            node.parent = Some(parent);
        }
    }
    add_up(&mut nodes);
    let mut names: FxHashMap<u32, String> = FxHashMap::default();
    if sort.column == Column::User {
        for node in &nodes {
            names.entry(node.process.uid).or_insert_with(|| user(node.process.uid));
        }
    }
    unfold(processes, &nodes, sort, &names, folded)
}

/// Leaves first: no node is added to its parent before all its own children have been added to it.
fn add_up(nodes: &mut [Node<'_>]) {
    let mut ready: Vec<usize> = (0..nodes.len()).filter(|at| nodes.get(*at).is_some_and(|n| n.waiting == 0)).collect();
    while let Some(at) = ready.pop() {
        let Some((parent, sum)) = nodes.get(at).and_then(|node| Some((node.parent? as usize, node.sum))) else {
            continue;
        };
        let Some(node) = nodes.get_mut(parent) else { continue };
        node.sum.add(&sum);
        node.waiting -= 1;
        if node.waiting == 0 {
            ready.push(parent);
        }
    }
}

fn unfold(
    processes: &Processes,
    nodes: &[Node<'_>],
    sort: Sort,
    names: &FxHashMap<u32, String>,
    folded: &FxHashSet<ProcessKey>,
) -> Vec<Branch> {
    let mut children: Vec<(Option<u32>, u32)> =
        (0..).zip(nodes).filter(|(_, node)| node.sum.shown).map(|(at, node)| (node.parent, at)).collect();
    children.sort_unstable();
    let family = |parent: Option<u32>| {
        let from = children.partition_point(|(of, _)| *of < parent);
        let to = children.partition_point(|(of, _)| *of <= parent);
        let mut family: Vec<u32> = children.get(from..to).unwrap_or_default().iter().map(|(_, at)| *at).collect();
        // The last comes off the stack first.
        family.sort_unstable_by(|a, b| match (nodes.get(*a as usize), nodes.get(*b as usize)) {
            (Some(a), Some(b)) => compare(processes, sort, names, a, b).reverse(),
            _ => Ordering::Equal,
        });
        family
    };
    let has_children = |at: u32| children.binary_search_by(|(of, _)| of.cmp(&Some(at))).is_ok();
    let mut rows = Vec::new();
    // What is still to be shown: the node, its depth, the lines of the levels above it.
    let mut stack: Vec<(u32, u16, u64)> = family(None).into_iter().map(|at| (at, 0, 0)).collect();
    while let Some((at, depth, lines)) = stack.pop() {
        let Some(node) = nodes.get(at as usize) else { continue };
        let parent = has_children(at);
        let shut = parent && folded.contains(&node.process.key);
        rows.push(Branch { index: node.index, depth, lines, parent, folded: shut, sum: node.sum });
        if parent && !shut {
            let bit = 1 << depth.min(LEVELS - 1);
            // The first of them on the stack is the last on the screen: nothing comes below it on its level.
            let below = family(Some(at)).into_iter().enumerate();
            stack.extend(below.map(|(n, child)| (child, depth + 1, if n == 0 { lines & !bit } else { lines | bit })));
        }
    }
    rows
}

fn compare(processes: &Processes, sort: Sort, names: &FxHashMap<u32, String>, a: &Node<'_>, b: &Node<'_>) -> Ordering {
    let (p, q) = (a.process, b.process);
    let value = |node: &Node<'_>| match sort.column {
        Column::Opens => node.sum.opens,
        Column::Matched => node.sum.matched,
        Column::Rate => (node.sum.place * 10.0).round() as u64,
        Column::Failed => (node.sum.failed_share() * 1000.0).round() as u64,
        column => number(processes, column, node.process),
    };
    let by = match sort.column {
        Column::User => names.get(&p.uid).cmp(&names.get(&q.uid)),
        Column::Comm => p.name().cmp(q.name()),
        _ => value(a).cmp(&value(b)),
    };
    let by = if sort.column.descends() != sort.reversed { by.reverse() } else { by };
    by.then(b.sum.opens.cmp(&a.sum.opens)).then(p.key.tgid.cmp(&q.key.tgid)).then(a.index.cmp(&b.index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, RecordBuilder};
    use proptest::prelude::*;

    const BY_OPENS: Sort = Sort { column: Column::Opens, reversed: false };

    fn family(links: &[(u32, u32, usize)]) -> Processes {
        let mut processes = Processes::default();
        for (pid, ppid, opens) in links {
            let mut record = RecordBuilder::new(*pid, "x", "/f");
            (record.header.ppid, record.header.process_start_ns) = (*ppid, u64::from(*pid));
            let record = record.build();
            for _ in 0..*opens {
                processes.event(&Event::decode(&record).unwrap());
            }
        }
        processes
    }

    fn shown(processes: &Processes, folded: &FxHashSet<ProcessKey>) -> Vec<(u32, u16, u64)> {
        rows(processes, BY_OPENS, folded, |_| true, |uid| uid.to_string())
            .iter()
            .map(|row| (processes.get(row.index).unwrap().key.tgid, row.depth, row.sum.opens))
            .collect()
    }

    #[test]
    fn children_stand_under_their_parents_and_sums_go_all_the_way_up() {
        let processes = family(&[(1, 0, 1), (5, 1, 2), (7, 5, 4), (8, 5, 8), (6, 1, 3), (9, 99, 1)]);
        let all = [(1, 0, 18), (5, 1, 14), (8, 2, 8), (7, 2, 4), (6, 1, 3), (9, 0, 1)];
        assert_eq!(shown(&processes, &FxHashSet::default()), all);
        let folded = FxHashSet::from_iter([processes.by_pid(5).unwrap().key]);
        assert_eq!(shown(&processes, &folded), [(1, 0, 18), (5, 1, 14), (6, 1, 3), (9, 0, 1)]);
    }

    #[test]
    fn a_filter_keeps_the_ancestors_of_what_passes() {
        let processes = family(&[(1, 0, 1), (5, 1, 2), (7, 5, 4), (6, 1, 3)]);
        let rows = rows(&processes, BY_OPENS, &FxHashSet::default(), |p| p.key.tgid == 7, |_| String::new());
        let pids: Vec<u32> = rows.iter().map(|row| processes.get(row.index).unwrap().key.tgid).collect();
        assert_eq!(pids, [1, 5, 7]);
    }

    #[test]
    fn a_younger_process_with_the_pid_of_the_parent_is_not_the_parent() {
        let processes = family(&[(5, 9, 1), (9, 0, 1)]);
        assert_eq!(shown(&processes, &FxHashSet::default()), [(5, 0, 1), (9, 0, 1)]);
    }

    proptest! {
        #[test]
        fn every_process_is_in_the_tree_once_and_the_roots_add_up_to_all(
            links in proptest::collection::vec((1u32..40, 0u32..40, 1usize..4), 0..80),
        ) {
            let processes = family(&links);
            let rows = rows(&processes, BY_OPENS, &FxHashSet::default(), |_| true, |_| String::new());
            let mut seen: Vec<u32> = rows.iter().map(|row| row.index).collect();
            seen.sort_unstable();
            let mut all: Vec<u32> = processes.iter().map(|(index, _)| index).collect();
            all.sort_unstable();
            prop_assert_eq!(seen, all);
            let roots: u64 = rows.iter().filter(|row| row.depth == 0).map(|row| row.sum.opens).sum();
            prop_assert_eq!(roots, links.iter().map(|(_, _, opens)| *opens as u64).sum::<u64>());
        }
    }
}
