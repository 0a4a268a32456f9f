//! The summary as text, JSON and CSV: the table that all three show, sorted and cut. Each format is a file of its own.

mod csv;
mod json;
mod text;

use std::collections::HashMap;

use probe_common::ProcessKey;
use rustc_hash::FxHashMap;

use super::{Count, Counts, PREFIX, Row, SortKey, Summary, process_prefix};
use crate::{errno, escape::escaped, model::stacks::StackRow, session::Session};

/// The table, sorted and cut.
pub(super) struct Table<'a> {
    summary: &'a Summary,
    session: &'a Session,
    rows: Vec<(ProcessKey, &'a Row)>,
    others: Option<Others>,
    paths: HashMap<[u8; PREFIX], Vec<(&'a [u8], Count)>>,
    stacks: FxHashMap<ProcessKey, Vec<StackRow<'a>>>,
}

/// The processes without a row here.
struct Others {
    processes: u64,
    /// What they counted together.
    counts: Counts,
    /// Their failures in the stream by errno.
    errors: Vec<(i32, u64)>,
}

impl<'a> Table<'a> {
    pub(super) fn new(summary: &'a Summary, session: &'a Session) -> Self {
        let mut rows: Vec<_> = summary.rows.iter().map(|(key, row)| (*key, row)).collect();
        sort(&mut rows, summary.options.sort);
        let shown = summary.options.top.unwrap_or(usize::MAX).min(rows.len());
        let hidden = rows.len() - shown;
        rows.truncate(shown);
        let mut known = Counts::default();
        let mut errors = summary.errors.clone();
        for (_, row) in &rows {
            known.add(&row.counts);
            for (errno, count) in &row.errors {
                if let Some(all) = errors.get_mut(errno) {
                    *all = all.saturating_sub(*count);
                }
            }
        }
        let mut rest = summary.totals.without(&known);
        // Losses of no process in particular are told in the totals.
        if hidden == 0 && summary.folded == 0 {
            rest.lost = 0;
        }
        let processes = summary.folded + hidden as u64;
        let errors: Vec<_> = errors.into_iter().filter(|(_, count)| *count > 0).collect();
        let others = (processes > 0 || rest.opens > 0).then_some(Others { processes, counts: rest, errors });
        let mut paths: HashMap<[u8; PREFIX], Vec<(&[u8], Count)>> =
            rows.iter().map(|(key, _)| (process_prefix(key), Vec::new())).collect();
        for (key, count) in summary.process_paths.iter() {
            if let Some((prefix, path)) = key.split_first_chunk::<PREFIX>()
                && let Some(list) = paths.get_mut(prefix)
            {
                list.push((path, count));
            }
        }
        for list in paths.values_mut() {
            list.sort_unstable_by(|(a, x), (b, y)| y.count.cmp(&x.count).then(a.cmp(b)));
            list.truncate(summary.options.paths);
        }
        let stacks = if summary.options.stacks { summary.by_stack.rows(None) } else { FxHashMap::default() };
        Self { summary, session, rows, others, paths, stacks }
    }

    /// Its stacks with most opens, up to `most`, and the opens of none of them.
    fn stacks(&self, key: &ProcessKey, row: &Row, most: usize) -> (&[StackRow<'a>], u64) {
        let rows = self.stacks.get(key).map_or(&[][..], |rows| rows.get(..most).unwrap_or(rows));
        let told: u64 = rows.iter().map(|row| row.opens.opens).sum();
        (rows, row.counts.opens.saturating_sub(told))
    }

    fn paths(&self, key: &ProcessKey) -> &[(&'a [u8], Count)] {
        self.paths.get(&process_prefix(key)).map_or(&[], Vec::as_slice)
    }

    fn duration_ns(&self) -> u64 {
        self.summary.last_ns.saturating_sub(self.session.start_ns)
    }

    fn user(&self, uid: u32) -> String {
        self.summary.users.get(&uid).map_or_else(|| uid.to_string(), |user| escaped(user))
    }
}

fn sort(rows: &mut [(ProcessKey, &Row)], by: SortKey) {
    rows.sort_unstable_by(|(a, x), (b, y)| {
        let (c, d) = (&x.counts, &y.counts);
        let order = match by {
            SortKey::Opens => d.opens.cmp(&c.opens),
            SortKey::Failed => d.failed.cmp(&c.failed),
            SortKey::Time => d.latency_ns.cmp(&c.latency_ns),
            SortKey::P99 => d.quantile(99).cmp(&c.quantile(99)),
            SortKey::Max => d.latency_max_ns.cmp(&c.latency_max_ns),
            SortKey::Pid => a.tgid.cmp(&b.tgid),
            SortKey::Comm => x.comm.cmp(&y.comm),
        };
        // The same table for the same counts.
        order.then(d.opens.cmp(&c.opens)).then(a.tgid.cmp(&b.tgid)).then(a.start_ns.cmp(&b.start_ns))
    });
}

/// Failures by name, most frequent first, and what the stream did not have.
fn errors(counts: &Counts, errors: &[(i32, u64)]) -> Vec<(String, u64)> {
    let mut sorted = errors.to_vec();
    sorted.sort_unstable_by(|(a, x), (b, y)| y.cmp(x).then(a.cmp(b)));
    let seen: u64 = errors.iter().map(|(_, count)| count).sum();
    let named = sorted
        .into_iter()
        .map(|(errno, count)| (errno::name(errno).map_or_else(|| errno.to_string(), str::to_owned), count));
    let unseen = counts.failed.saturating_sub(seen);
    named.chain((unseen > 0).then(|| ("unseen".to_owned(), unseen))).collect()
}
