//! The exact table at the end: per process opens, failures by errno, latencies and the most opened paths; the same in
//! all; and every loss. Pure: it is fed the opens and the kernel's counters and renders what they say.
//!
//! Opens, failures and latencies come from the kernel's counters and are exact whatever the ring lost. Errors by name
//! and paths come from the stream: where the kernel counted more failures than came through, the rest is `unseen`.
//! Paths are counted by a [`Sketch`]: exact until it is full, then with a bound on the error.
//! Latency quantiles are upper bounds (see [`quantile`]), the maximum is exact.
//!
//! Opens by stack are the kernel's count, too, exact whatever the ring lost; see [`crate::model::stacks`].
//!
//! Memory is bounded: at most [`ROWS_MAX`] processes have a row. Those with the fewest opens leave first, the exited
//! before the living; what they counted is in the row of all others, which is what the totals have and the rows have not.

mod counts;
mod render;
mod sketch;

use std::collections::{BTreeMap, HashMap};

use probe_common::{COMM_LEN, ProcessKey, marks};
use rustc_hash::FxBuildHasher;

pub use counts::quantile;
pub use sketch::{Count, Sketch};

use super::Format;
use crate::{
    event::Event,
    model::stacks::ByStack,
    session::Session,
    source::{CaptureChange, Counters, Losses, ProcessFacts, Stacks},
};
use counts::Counts;

/// Most processes with a row of their own: as many as the hash table of 2¹⁵ buckets holds before it doubles.
pub const ROWS_MAX: usize = 28_672;

/// Most changes of the capture that are told: more than anybody types, and a bound all the same.
pub(super) const CAPTURES_MAX: usize = 100;

/// What the table is sorted by; the largest first, pids and names the smallest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SortKey {
    /// Opens.
    #[default]
    Opens,
    /// Failures.
    Failed,
    /// Time spent in opens.
    Time,
    /// 99th percentile of the latency.
    P99,
    /// Longest open.
    Max,
    /// Process.
    Pid,
    /// Name.
    Comm,
}

/// Where opens, failures and latencies are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountsFrom {
    /// In the kernel: exact, all of the capture.
    #[default]
    Kernel,
    /// In the stream: only the opens that [`Summary::event`] is given, which is what a display filter asks for.
    Stream,
}

/// How to sum up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Order of the processes.
    pub sort: SortKey,
    /// How many processes to show; the others share a row. `None`: all.
    pub top: Option<usize>,
    /// How many paths to show, of each process and in all.
    pub paths: usize,
    /// Where the counts come from.
    pub counts: CountsFrom,
    /// Whether to tell by which stacks opens came.
    pub stacks: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { sort: SortKey::Opens, top: None, paths: 3, counts: CountsFrom::Kernel, stacks: false }
    }
}

/// The table in the making.
#[derive(Clone, Debug)]
pub struct Summary {
    options: Options,
    rows: HashMap<ProcessKey, Row, FxBuildHasher>,
    /// In all, from the kernel once it told, else from the stream.
    totals: Counts,
    totals_from_kernel: bool,
    losses: Losses,
    errors: BTreeMap<i32, u64>,
    /// When the counters were read, or the last open began, boot clock, ns.
    last_ns: u64,
    /// Processes whose row was let go.
    folded: u64,
    users: HashMap<u32, Vec<u8>, FxBuildHasher>,
    /// From when on what else was captured: boot clock, ns, and words for the header.
    captures: Vec<(u64, String)>,
    paths: Sketch,
    /// Keys are [`process_prefix`] and the path.
    process_paths: Sketch,
    by_stack: ByStack,
    scratch: Vec<u8>,
}

/// One process.
#[derive(Clone, Debug, Default)]
struct Row {
    counts: Counts,
    from_kernel: bool,
    exited: bool,
    uid: u32,
    ppid: u32,
    comm: [u8; COMM_LEN],
    /// Failures in the stream by errno: few kinds each.
    errors: Vec<(i32, u64)>,
}

const PREFIX: usize = 12;

fn process_prefix(key: &ProcessKey) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    let bytes = key.start_ns.to_le_bytes().into_iter().chain(key.tgid.to_le_bytes());
    for (slot, byte) in prefix.iter_mut().zip(bytes) {
        *slot = byte;
    }
    prefix
}

impl Summary {
    /// An empty table.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            rows: HashMap::default(),
            totals: Counts::default(),
            totals_from_kernel: false,
            losses: Losses::default(),
            errors: BTreeMap::new(),
            last_ns: 0,
            folded: 0,
            users: HashMap::default(),
            captures: Vec::new(),
            paths: Sketch::new(7 << 10, 4 << 20),
            process_paths: Sketch::new(24 << 10, 8 << 20),
            by_stack: ByStack::default(),
            scratch: Vec::new(),
        }
    }

    /// Forgets everything: a replay starts again.
    pub fn restart(&mut self) {
        *self = Self::new(self.options);
    }

    /// Takes in one open.
    pub fn event(&mut self, event: &Event<'_>) {
        let key = event.process();
        if self.options.counts == CountsFrom::Stream {
            self.by_stack.event(event);
        }
        if !self.rows.contains_key(&key) {
            self.make_room();
        }
        self.last_ns = self.last_ns.max(event.start_ns());
        let row = self.rows.entry(key).or_default();
        if !row.from_kernel {
            row.counts.event(event);
            let header = event.header();
            (row.comm, row.uid, row.ppid) = (header.comm, header.uid, header.ppid);
        }
        if !self.totals_from_kernel {
            self.totals.event(event);
        }
        if let Some(errno) = event.errno().filter(|_| !event.has(marks::RESULT_UNKNOWN)) {
            *self.errors.entry(errno).or_default() += 1;
            match row.errors.iter_mut().find(|(known, _)| *known == errno) {
                Some((_, count)) => *count += 1,
                None => row.errors.push((errno, 1)),
            }
        }
        if !event.has(marks::NAME_UNREADABLE) && self.options.paths > 0 {
            self.scratch.clear();
            self.scratch.extend_from_slice(&process_prefix(&key));
            event.path_into(&mut self.scratch);
            self.process_paths.add(&self.scratch);
            self.paths.add(self.scratch.get(PREFIX..).unwrap_or_default());
        }
    }

    /// Takes in what became known of stacks.
    pub fn stacks(&mut self, stacks: &Stacks) {
        self.by_stack.add(stacks, self.options.counts == CountsFrom::Kernel);
    }

    /// Takes in that another capture began. The first `CAPTURES_MAX` are kept.
    pub fn captured(&mut self, change: &CaptureChange) {
        if change.refused.is_none() && self.captures.len() < CAPTURES_MAX {
            self.captures.push((change.at_ns, change.words.clone()));
        }
    }

    /// Takes in the kernel's counters, which replace those that came before, process by process.
    pub fn counters(&mut self, counters: &Counters) {
        self.last_ns = self.last_ns.max(counters.at_ns);
        self.losses = counters.totals.losses;
        if self.options.counts == CountsFrom::Stream {
            return;
        }
        self.totals = Counts::from(&counters.totals);
        self.totals_from_kernel = true;
        for (key, counts) in &counters.processes {
            if !self.rows.contains_key(key) {
                self.make_room();
            }
            let row = self.rows.entry(*key).or_default();
            row.counts = Counts::from(counts);
            row.from_kernel = true;
            row.exited = counts.exited != 0;
            (row.comm, row.uid, row.ppid) = (counts.comm, counts.uid, counts.ppid);
        }
    }

    /// Takes in what is known of processes: the names of their users.
    pub fn facts(&mut self, facts: &[ProcessFacts]) {
        for fact in facts.iter().filter(|fact| !fact.user.is_empty()) {
            // Far more users than a machine has; a bound all the same.
            if self.users.len() < 4096 {
                self.users.insert(fact.uid, fact.user.clone());
            }
        }
    }

    /// Appends the table.
    pub fn render(&self, out: &mut Vec<u8>, format: Format, session: &Session) {
        let table = render::Table::new(self, session);
        match format {
            Format::Text => table.text(out),
            Format::Json => table.json(out),
            Format::Csv => table.csv(out),
        }
    }

    /// Lets a quarter of the rows go when there are too many.
    fn make_room(&mut self) {
        if self.rows.len() < ROWS_MAX {
            return;
        }
        let mut order: Vec<_> = self.rows.iter().map(|(key, row)| (!row.exited, row.counts.opens, *key)).collect();
        order.sort_unstable();
        for (_, _, key) in order.iter().take(ROWS_MAX / 4) {
            self.rows.remove(key);
            self.folded += 1;
        }
    }
}

#[cfg(test)]
mod tests;
