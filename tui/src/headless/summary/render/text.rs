//! The summary for people: columns, and below a process its most opened paths.

use super::{Others, Table, errors};
use crate::{
    escape::escaped,
    headless::{
        push_number,
        summary::{Count, Counts, counts::comm},
        text::{left, right},
        time::push_duration,
    },
    source::Class,
};

const QUANTILES: [u8; 3] = [50, 90, 99];

/// The losses of a class, with what the line about them begins with. Those of the first add up to `lost`.
const LOSSES: [(Class, &str); 5] = [
    (Class::Lost, "losses:"),
    (Class::Unseen, "not captured:"),
    (Class::Marked, "incomplete:"),
    (Class::Told, "told elsewhere:"),
    (Class::Stack, "stacks:"),
];

impl Table<'_> {
    pub(in super::super) fn text(&self, out: &mut Vec<u8>) {
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
