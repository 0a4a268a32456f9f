//! The summary as text, JSON and CSV.
//!
//! JSON is one object: `attach`, `kernel`, `hostname`, `capture`, `captures` (when it was changed on the way: each later
//! one with `after_ns`, how far into the session it began), `duration_ns`, `exact` (the counts are the kernel's),
//! `totals`, `losses`, `processes`, `others` (when not every process has a row), `paths`. Counts are `opens`, `failed`,
//! `lost` (counted, but not in the stream), `errors` (failures by name; `unseen` are those the stream did not have),
//! `latency_ns` with `total`, `p50`, `p90`, `p99` (upper bounds of log2 buckets) and `max`. A path has `opens`, and `error`: the
//! true count is between `opens` − `error` and `opens`. With stacks a process has `stacks`: those with most opens, each
//! with `opens`, `failed`, `user` and `kernel` (arrays of frames, innermost first; `null` where there is none); and
//! `stacks_rest`, its opens by other stacks or before stacks were taken.

use std::collections::HashMap;

use probe_common::ProcessKey;
use rustc_hash::FxHashMap;

use super::{Count, Counts, PREFIX, Row, SortKey, Summary, counts::comm, process_prefix};
use crate::{
    errno,
    escape::escaped,
    headless::{
        csv::push_field,
        json::push_string,
        push_number, stacked,
        text::{left, right},
        time::push_duration,
    },
    model::stacks::StackRow,
    session::Session,
    source::Class,
};

/// The table, sorted and cut.
pub(super) struct Table<'a> {
    summary: &'a Summary,
    session: &'a Session,
    rows: Vec<(ProcessKey, &'a Row)>,
    others: Option<Others>,
    paths: HashMap<[u8; PREFIX], Vec<(&'a [u8], Count)>>,
    stacks: FxHashMap<ProcessKey, Vec<StackRow<'a>>>,
}

/// Stacks of each process that JSON has.
const JSON_STACKS: usize = 20;

/// The processes without a row here.
struct Others {
    processes: u64,
    /// What they counted together.
    counts: Counts,
    /// Their failures in the stream by errno.
    errors: Vec<(i32, u64)>,
}

const QUANTILES: [u8; 3] = [50, 90, 99];

/// The losses of a class, with what the line about them begins with. Those of the first add up to `lost`.
const LOSSES: [(Class, &str); 5] = [
    (Class::Lost, "losses:"),
    (Class::Unfollowed, "not captured:"),
    (Class::Marked, "incomplete:"),
    (Class::Told, "told elsewhere:"),
    (Class::Stack, "stacks:"),
];

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

    pub(super) fn text(&self, out: &mut Vec<u8>) {
        let summary = self.summary;
        let totals = &summary.totals;
        let seconds = self.duration_ns() / 1_000_000_000;
        out.extend_from_slice(b"opentop summary: ");
        push_number(out, totals.opens);
        out.extend_from_slice(b" opens in ");
        push_duration(out, self.duration_ns());
        if let Some(rate) = totals.opens.checked_div(seconds) {
            out.extend_from_slice(b" (");
            push_number(out, rate);
            out.extend_from_slice(b"/s)");
        }
        out.extend_from_slice(b", ");
        push_number(out, totals.failed);
        out.extend_from_slice(b" failed (");
        push_percent(out, totals);
        out.extend_from_slice(b"), ");
        push_number(out, self.summary.losses.lost());
        out.extend_from_slice(b" lost; ");
        let session = self.session;
        let about =
            [session.attach.name(), "kernel", &session.kernel, "on", &session.hostname, "capture", &session.capture];
        out.extend_from_slice(about.map(|word| escaped(word.as_bytes())).join(" ").as_bytes());
        out.push(b'\n');
        for (at_ns, capture) in &self.summary.captures {
            let line = format!("capture from {} on: {}\n", session.clock(*at_ns), escaped(capture.as_bytes()));
            out.extend_from_slice(line.as_bytes());
        }
        if !self.summary.totals_from_kernel {
            out.extend_from_slice(
                b"counted in the stream of opens, not in the kernel: what was lost or filtered is not in it\n",
            );
        }
        for (class, words) in LOSSES {
            let mut missing = self.summary.losses.of(class).filter(|loss| loss.count > 0).peekable();
            if missing.peek().is_none() {
                continue;
            }
            out.extend_from_slice(words.as_bytes());
            for loss in missing {
                out.push(b' ');
                out.extend_from_slice(loss.name.as_bytes());
                out.push(b' ');
                push_number(out, loss.count);
            }
            out.push(b'\n');
        }
        out.extend_from_slice(b"\n    PID USER     COMM                OPENS   FAILED  FAIL%    TIME    <P50    <P90    <P99     MAX ERRORS\n");
        for (key, row) in &self.rows {
            right(out, 7, |out| push_number(out, key.tgid));
            out.push(b' ');
            left(out, 8, |out| out.extend_from_slice(self.user(row.uid).as_bytes()));
            out.push(b' ');
            left(out, 15, |out| out.extend_from_slice(escaped(comm(&row.comm)).as_bytes()));
            text_counts(out, &row.counts, &row.errors);
            for (path, count) in self.paths(key) {
                text_path(out, path, *count, 42);
            }
            for stack in self.stacks(key, row, summary.options.paths).0 {
                right(out, 42, |out| push_number(out, stack.opens.opens));
                out.extend_from_slice(b" by ");
                out.extend_from_slice(stack.line().as_bytes());
                out.push(b'\n');
            }
        }
        if let Some(Others { processes, counts, errors }) = &self.others {
            let name = if *processes > 0 { format!("({processes} others)") } else { "(others)".to_owned() };
            left(out, 32, |out| out.extend_from_slice(format!("      - -        {name}").as_bytes()));
            text_counts(out, counts, errors);
        }
        left(out, 32, |out| out.extend_from_slice(b"        -        (all)"));
        let all: Vec<_> = self.summary.errors.iter().map(|(errno, count)| (*errno, *count)).collect();
        text_counts(out, totals, &all);
        let top = self.summary.paths.top(self.summary.options.paths);
        if !top.is_empty() {
            out.extend_from_slice(b"\n     OPENS PATH\n");
            for (path, count) in top {
                text_path(out, path, count, 10);
            }
        }
    }

    pub(super) fn json(&self, out: &mut Vec<u8>) {
        let summary = self.summary;
        out.push(b'{');
        let session = self.session;
        for (name, value) in [
            ("attach", session.attach.name()),
            ("kernel", session.kernel.as_str()),
            ("hostname", session.hostname.as_str()),
            ("capture", session.capture.as_str()),
        ] {
            push_string(out, name);
            out.push(b':');
            push_string(out, &escaped(value.as_bytes()));
            out.push(b',');
        }
        if !summary.captures.is_empty() {
            out.extend_from_slice(b"\"captures\":[");
            push_list(out, summary.captures.iter(), |out, (at_ns, capture)| {
                out.extend_from_slice(b"{\"after_ns\":");
                push_number(out, at_ns.saturating_sub(session.start_ns));
                out.extend_from_slice(b",\"capture\":");
                push_string(out, &escaped(capture.as_bytes()));
                out.push(b'}');
            });
            out.extend_from_slice(b"],");
        }
        out.extend_from_slice(b"\"duration_ns\":");
        push_number(out, self.duration_ns());
        out.extend_from_slice(if summary.totals_from_kernel { b",\"exact\":true" } else { b",\"exact\":false" });
        out.extend_from_slice(b",\n\"totals\":{");
        let all: Vec<_> = summary.errors.iter().map(|(errno, count)| (*errno, *count)).collect();
        json_counts(out, &summary.totals, &all);
        out.extend_from_slice(b",\"histogram\":[");
        push_list(out, summary.totals.histogram.iter(), |out, count| push_number(out, *count));
        out.extend_from_slice(b"]},\n\"losses\":{");
        push_list(out, summary.losses.table().iter(), |out, loss| {
            push_string(out, loss.name);
            out.push(b':');
            push_number(out, loss.count);
        });
        out.extend_from_slice(b"},\n\"processes\":[");
        push_list(out, self.rows.iter(), |out, (key, row)| {
            out.extend_from_slice(b"\n{");
            for (name, value) in [("pid", key.tgid), ("ppid", row.ppid), ("uid", row.uid)] {
                push_string(out, name);
                out.push(b':');
                push_number(out, value);
                out.push(b',');
            }
            if let Some(user) = summary.users.get(&row.uid) {
                out.extend_from_slice(b"\"user\":");
                push_string(out, &escaped(user));
                out.push(b',');
            }
            out.extend_from_slice(b"\"comm\":");
            push_string(out, &escaped(comm(&row.comm)));
            out.extend_from_slice(if row.exited { b",\"exited\":true," } else { b",\"exited\":false," });
            json_counts(out, &row.counts, &row.errors);
            out.extend_from_slice(b",\"paths\":[");
            push_list(out, self.paths(key).iter(), |out, (path, count)| json_path(out, path, *count));
            out.push(b']');
            if summary.options.stacks {
                let (stacks, rest) = self.stacks(key, row, JSON_STACKS);
                out.extend_from_slice(b",\"stacks\":[");
                push_list(out, stacks.iter(), json_stack);
                out.extend_from_slice(b"],\"stacks_rest\":");
                push_number(out, rest);
            }
            out.push(b'}');
        });
        out.extend_from_slice(b"],\n");
        if let Some(Others { processes, counts, errors }) = &self.others {
            out.extend_from_slice(b"\"others\":{\"processes\":");
            push_number(out, *processes);
            out.push(b',');
            json_counts(out, counts, errors);
            out.extend_from_slice(b"},\n");
        }
        out.extend_from_slice(b"\"paths\":[");
        let top = summary.paths.top(summary.options.paths);
        push_list(out, top.iter(), |out, (path, count)| json_path(out, path, *count));
        out.extend_from_slice(b"]}\n");
    }

    pub(super) fn csv(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"pid,ppid,uid,user,comm,exited,opens,failed,lost,errors,total_ns,p50_ns,p90_ns,p99_ns,max_ns,\
              path,path_opens,path_error",
        );
        out.extend_from_slice(if self.summary.options.stacks { b",stack,stack_opens\r\n" } else { b"\r\n" });
        for (key, row) in &self.rows {
            for number in [key.tgid, row.ppid, row.uid] {
                push_number(out, number);
                out.push(b',');
            }
            let user = self.summary.users.get(&row.uid).map(|user| escaped(user)).unwrap_or_default();
            push_field(out, &user);
            out.push(b',');
            push_field(out, &escaped(comm(&row.comm)));
            out.extend_from_slice(if row.exited { b",true," } else { b",false," });
            csv_counts(out, &row.counts, &row.errors);
            out.push(b',');
            match self.paths(key).first() {
                Some((path, count)) => {
                    push_field(out, &escaped(path));
                    for number in [count.count, count.error] {
                        out.push(b',');
                        push_number(out, number);
                    }
                }
                None => out.extend_from_slice(b",,"),
            }
            if self.summary.options.stacks {
                out.push(b',');
                match self.stacks(key, row, 1).0 {
                    [stack, ..] => {
                        push_field(out, &stack.folded());
                        out.push(b',');
                        push_number(out, stack.opens.opens);
                    }
                    [] => out.push(b','),
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        if let Some(Others { counts, errors, .. }) = &self.others {
            out.extend_from_slice(b",,,,(others),,");
            csv_counts(out, counts, errors);
            out.extend_from_slice(if self.summary.options.stacks { b",,,,,\r\n" } else { b",,,\r\n" });
        }
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

fn push_percent(out: &mut Vec<u8>, counts: &Counts) {
    let tenths = counts.failed_tenths();
    push_number(out, tenths / 10);
    out.push(b'.');
    push_number(out, tenths % 10);
    out.push(b'%');
}

/// The columns behind the name, to the end of the line.
fn text_counts(out: &mut Vec<u8>, counts: &Counts, failures: &[(i32, u64)]) {
    out.push(b' ');
    right(out, 9, |out| push_number(out, counts.opens));
    out.push(b' ');
    right(out, 8, |out| push_number(out, counts.failed));
    out.push(b' ');
    right(out, 6, |out| push_percent(out, counts));
    let quantiles = QUANTILES.map(|percent| counts.quantile(percent));
    let longest = counts.quantile(100);
    for ns in [Some(counts.latency_ns)].into_iter().chain(quantiles).chain([longest]) {
        out.push(b' ');
        right(out, 7, |out| match ns {
            Some(ns) => push_duration(out, ns),
            None => out.push(b'-'),
        });
    }
    for (name, count) in errors(counts, failures) {
        out.push(b' ');
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        push_number(out, count);
    }
    out.push(b'\n');
}

/// A path under its count, which is right-aligned to `column`.
fn text_path(out: &mut Vec<u8>, path: &[u8], count: Count, column: usize) {
    right(out, column, |out| {
        if count.error > 0 {
            push_number(out, count.count.saturating_sub(count.error));
            out.extend_from_slice(b"..");
        }
        push_number(out, count.count);
    });
    out.push(b' ');
    out.extend_from_slice(escaped(path).as_bytes());
    out.push(b'\n');
}

fn push_list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, mut push: impl FnMut(&mut Vec<u8>, T)) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push(out, item);
    }
}

fn json_counts(out: &mut Vec<u8>, counts: &Counts, failures: &[(i32, u64)]) {
    for (name, value) in [("opens", counts.opens), ("failed", counts.failed), ("lost", counts.lost)] {
        push_string(out, name);
        out.push(b':');
        push_number(out, value);
        out.push(b',');
    }
    out.extend_from_slice(b"\"errors\":{");
    push_list(out, errors(counts, failures).iter(), |out, (name, count)| {
        push_string(out, name);
        out.push(b':');
        push_number(out, *count);
    });
    out.extend_from_slice(b"},\"latency_ns\":{\"total\":");
    push_number(out, counts.latency_ns);
    for (name, percent) in [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)] {
        out.push(b',');
        push_string(out, name);
        out.push(b':');
        match counts.quantile(percent) {
            Some(ns) => push_number(out, ns),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

fn json_path(out: &mut Vec<u8>, path: &[u8], count: Count) {
    out.extend_from_slice(b"{\"path\":");
    push_string(out, &escaped(path));
    out.extend_from_slice(b",\"opens\":");
    push_number(out, count.count);
    out.extend_from_slice(b",\"error\":");
    push_number(out, count.error);
    out.push(b'}');
}

fn json_stack(out: &mut Vec<u8>, stack: &StackRow<'_>) {
    out.extend_from_slice(b"{\"opens\":");
    push_number(out, stack.opens.opens);
    out.extend_from_slice(b",\"failed\":");
    push_number(out, stack.opens.failed);
    for (key, stack) in [("user", stack.user), ("kernel", stack.kernel)] {
        out.extend_from_slice(format!(",\"{key}\":").as_bytes());
        match stack {
            Some(stack) => stacked::json(out, stack),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}

fn csv_counts(out: &mut Vec<u8>, counts: &Counts, failures: &[(i32, u64)]) {
    for number in [counts.opens, counts.failed, counts.lost] {
        push_number(out, number);
        out.push(b',');
    }
    let words: Vec<_> = errors(counts, failures).iter().map(|(name, count)| format!("{name}={count}")).collect();
    push_field(out, &words.join("|"));
    out.push(b',');
    push_number(out, counts.latency_ns);
    for percent in [50, 90, 99, 100] {
        out.push(b',');
        if let Some(ns) = counts.quantile(percent) {
            push_number(out, ns);
        }
    }
}
