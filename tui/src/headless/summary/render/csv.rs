//! The summary as CSV: a row for each process, with its most opened path.

use super::{Others, Table, errors};
use crate::{
    escape::escaped,
    headless::{
        csv::push_field,
        push_number,
        summary::{Counts, counts::comm},
    },
};

impl Table<'_> {
    pub(in super::super) fn csv(&self, out: &mut Vec<u8>) {
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
