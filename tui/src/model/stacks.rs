//! Opens of each process by the stacks that they came by.
//!
//! Counts are the kernel's, or the stream's with a display filter. Memory is bounded: beyond it the pairs with the fewest
//! opens leave, which then are among the opens of which no stack is told.

use probe_common::ProcessKey;
use rustc_hash::FxHashMap;

use crate::{
    event::Event,
    source::{Book, Frame, Stack, Stacks},
};

/// Most pairs of a process and its stacks.
const PAIRS_MAX: usize = 32 << 10;

/// Opens by one pair of stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opens {
    /// All of them.
    pub opens: u64,
    /// Those that failed.
    pub failed: u64,
}

/// The table in the making.
#[derive(Clone, Debug, Default)]
pub struct ByStack {
    /// The stacks by id.
    pub book: Book,
    pairs: FxHashMap<(ProcessKey, u32, u32), Opens>,
}

/// One row: the same names make the same row, wherever they lay in memory.
#[derive(Clone, Debug)]
pub struct StackRow<'a> {
    /// The user's stack; `None` where there was none, or it is not known.
    pub user: Option<&'a Stack>,
    /// The kernel's stack, in the same way.
    pub kernel: Option<&'a Stack>,
    /// How many.
    pub opens: Opens,
}

impl ByStack {
    /// Takes in stacks that became known, and counts if they are wanted.
    pub fn add(&mut self, stacks: &Stacks, counts: bool) {
        stacks.stacks.iter().for_each(|stack| self.book.learn(stack.clone()));
        for count in stacks.counts.iter().filter(|_| counts) {
            self.count((count.process, count.user, count.kernel), count.opens, count.failed);
        }
    }

    /// Counts an open of the stream.
    pub fn event(&mut self, event: &Event<'_>) {
        let header = event.header();
        if header.user_stack != 0 || header.kernel_stack != 0 {
            self.count((event.process(), header.user_stack, header.kernel_stack), 1, u64::from(event.failed()));
        }
    }

    fn count(&mut self, pair: (ProcessKey, u32, u32), opens: u64, failed: u64) {
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&pair) {
            let mut order: Vec<_> = self.pairs.iter().map(|(pair, count)| (count.opens, *pair)).collect();
            order.sort_unstable();
            for (_, pair) in order.iter().take(PAIRS_MAX / 4) {
                self.pairs.remove(pair);
            }
        }
        let count = self.pairs.entry(pair).or_default();
        count.opens += opens;
        count.failed += failed;
    }

    /// Whether nothing is counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The rows of one process, those with most opens first.
    #[must_use]
    pub fn rows_of(&self, process: &ProcessKey) -> Vec<StackRow<'_>> {
        self.rows(Some(process)).remove(process).unwrap_or_default()
    }

    /// The rows of every process, or of one, those with most opens first.
    #[must_use]
    pub fn rows(&self, one: Option<&ProcessKey>) -> FxHashMap<ProcessKey, Vec<StackRow<'_>>> {
        let mut merged: FxHashMap<(ProcessKey, String), StackRow<'_>> = FxHashMap::default();
        let wanted = self.pairs.iter().filter(|((process, ..), _)| one.is_none_or(|one| one == process));
        for ((process, user, kernel), count) in wanted {
            let (user, kernel) = (self.book.get(*user).map(|s| &**s), self.book.get(*kernel).map(|s| &**s));
            let mut names = String::new();
            for stack in [user, kernel] {
                if let Some(stack) = stack {
                    stack.fold_into(&mut names);
                }
                names.push('\n');
            }
            let none = StackRow { user, kernel, opens: Opens::default() };
            let row = merged.entry((*process, names)).or_insert(none);
            row.opens.opens += count.opens;
            row.opens.failed += count.failed;
        }
        let mut order: Vec<_> = merged.into_iter().collect();
        // The same table for the same counts.
        order.sort_unstable_by(|(a, x), (b, y)| y.opens.opens.cmp(&x.opens.opens).then(a.1.cmp(&b.1)));
        let mut rows: FxHashMap<ProcessKey, Vec<StackRow<'_>>> = FxHashMap::default();
        for ((process, _), row) in order {
            rows.entry(process).or_default().push(row);
        }
        rows
    }
}

impl StackRow<'_> {
    /// In one line for people: `open64 < read_config < main`.
    #[must_use]
    pub fn line(&self) -> String {
        let frames = self.user.or(self.kernel).map_or(&[][..], |stack| &stack.frames);
        let names: Vec<String> = frames.iter().map(Frame::name).collect();
        if names.is_empty() { "(no stack)".to_owned() } else { names.join(" < ") }
    }

    /// As flame graphs take it: the user's frames, outermost first, then the kernel's.
    #[must_use]
    pub fn folded(&self) -> String {
        let mut out = String::new();
        for stack in [self.user, self.kernel].into_iter().flatten() {
            if !out.is_empty() {
                out.push(';');
            }
            stack.fold_into(&mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::RecordBuilder, source::StackCount};

    fn process(tgid: u32) -> ProcessKey {
        ProcessKey { start_ns: 1, tgid, reserved: 0 }
    }

    fn stack(id: u32, function: &str) -> Stack {
        let frame = |name: &str| Frame { function: name.as_bytes().into(), ..Frame::unknown(u64::from(id)) };
        Stack { id, named: true, frames: vec![frame(function), frame("main")], ..Stack::default() }
    }

    fn count(tgid: u32, user: u32, kernel: u32, opens: u64) -> StackCount {
        StackCount { process: process(tgid), user, kernel, opens, failed: 1 }
    }

    #[test]
    fn the_same_names_make_the_same_row_and_counts_add_up() {
        let mut by_stack = ByStack::default();
        let stacks = vec![stack(1, "load"), stack(2, "load"), stack(3, "save")];
        let counts = vec![count(7, 1, 0, 5), count(7, 2, 0, 6), count(7, 3, 0, 10), count(8, 3, 0, 1)];
        by_stack.add(&Stacks { stacks, counts }, true);
        by_stack.add(&Stacks { stacks: Vec::new(), counts: vec![count(7, 1, 0, 2)] }, true);
        let rows = by_stack.rows_of(&process(7));
        let told: Vec<_> = rows.iter().map(|row| (row.line(), row.opens.opens, row.opens.failed)).collect();
        assert_eq!(told, [("load < main".to_owned(), 13, 3), ("save < main".to_owned(), 10, 1)]);
        assert_eq!(rows[0].folded(), "main;load");
        assert_eq!(by_stack.rows(None).len(), 2);
    }

    #[test]
    fn opens_of_the_stream_are_counted_by_what_they_name() {
        let mut by_stack = ByStack::default();
        let mut builder = RecordBuilder::new(7, "x", "/x").errno(2);
        by_stack.event(&Event::decode(&builder.build()).unwrap());
        assert!(by_stack.is_empty());
        builder.header.user_stack = 1;
        by_stack.event(&Event::decode(&builder.build()).unwrap());
        by_stack.add(&Stacks { stacks: vec![stack(1, "load")], counts: vec![count(7, 1, 0, 99)] }, false);
        assert_eq!(by_stack.rows_of(&process(7))[0].opens, Opens { opens: 1, failed: 1 });
    }

    #[test]
    fn the_pairs_with_the_fewest_opens_leave_first() {
        let mut by_stack = ByStack::default();
        by_stack.add(&Stacks { stacks: Vec::new(), counts: vec![count(7, 1, 0, 1000)] }, true);
        let counts = (0..40_000).map(|user| count(8, user, 0, 1)).collect();
        by_stack.add(&Stacks { stacks: Vec::new(), counts }, true);
        assert!(by_stack.pairs.len() <= PAIRS_MAX);
        assert_eq!(by_stack.rows_of(&process(7))[0].opens.opens, 1000);
    }
}
