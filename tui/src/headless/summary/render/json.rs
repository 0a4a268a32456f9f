//! The summary as JSON.
//!
//! One object: `attach`, `kernel`, `hostname`, `capture`, `captures` (when it was changed on the way: each later
//! one with `after_ns`, how far into the session it began), `duration_ns`, `exact` (the counts are the kernel's),
//! `totals`, `losses`, `processes`, `others` (when not every process has a row), `paths`. Counts are `opens`, `failed`,
//! `lost` (counted, but not in the stream), `errors` (failures by name; `unseen` are those the stream did not have),
//! `latency_ns` with `total`, `p50`, `p90`, `p99` (upper bounds of log2 buckets) and `max`. A path has `opens`, and `error`: the
//! true count is between `opens` − `error` and `opens`. With stacks a process has `stacks`: those with most opens, each
//! with `opens`, `failed`, `user` and `kernel` (arrays of frames, innermost first; `null` where there is none); and
//! `stacks_rest`, its opens by other stacks or before stacks were taken.

use super::{Others, Table, errors};
use crate::{
    escape::escaped,
    headless::{
        json::push_string,
        push_number, stacked,
        summary::{Count, Counts, counts::comm},
    },
    model::stacks::StackRow,
};

/// Stacks of each process that JSON has.
const JSON_STACKS: usize = 20;

impl Table<'_> {
    pub(in super::super) fn json(&self, out: &mut Vec<u8>) {
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
