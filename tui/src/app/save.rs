//! The list with the keys as text: what `o` writes to a file. Every byte from outside is escaped.

use std::fmt::Write as _;

use super::App;
use super::focus::{Focus, focus};
use super::settle::order_rows;
use crate::escape::escaped;
use crate::headless::{Format, Writer};

/// The name of the list and its text; `None` where there is no list.
pub(super) fn list(app: &mut App) -> Option<(&'static str, Vec<u8>)> {
    match focus(app) {
        Focus::Processes => {
            // What came since the last sample is in it, too.
            app.processes.stale = true;
            order_rows(app, usize::MAX);
            Some(("processes", processes(app).into_bytes()))
        }
        Focus::Opens => Some(("opens", opens(app))),
        Focus::Files => {
            let mut out = String::from("OPENS\tFAILED\tPATH\n");
            for row in &app.files.rows {
                let _ = writeln!(out, "{}\t{}\t{}", row.opens, row.failed, escaped(&row.path));
            }
            Some(("files", out.into_bytes()))
        }
        Focus::Failures => {
            let mut out = String::from("FAILED\tERROR\tNAME\tFOUND AT\tTRIED\n");
            for row in &app.failures.rows {
                let errno = crate::errno::name(row.errno).map_or_else(|| row.errno.to_string(), str::to_owned);
                let found = row.found.as_ref().map_or_else(|| "-".to_owned(), |path| escaped(path));
                let _ = write!(out, "{}\t{errno}\t{}\t{found}\t", row.count, escaped(&row.name));
                let tried: Vec<String> = row.places.iter().map(|(path, _)| escaped(path)).collect();
                let _ = writeln!(out, "{}", tried.join("\t"));
            }
            Some(("failures", out.into_bytes()))
        }
        Focus::Text => None,
    }
}

fn processes(app: &App) -> String {
    let model = app.model();
    let mut out = String::from("PID\tPPID\tUSER\tCOMM\tOPENS\tOPENS/s\tFAILED\tP99_NS\n");
    for process in app.processes.rows.iter().filter_map(|index| model.processes.get(*index)) {
        let p99 = process.latency.percentile(0.99, process.latency_max_ns);
        let _ = writeln!(
            out,
            "{}\t{}\t{}\t{}\t{}\t{:.1}\t{}\t{}",
            process.key.tgid,
            process.ppid,
            escaped(app.user(process.uid).as_bytes()),
            escaped(process.name()),
            process.opens(),
            process.rate.per_second(),
            process.failed(),
            p99.map_or_else(|| "-".to_owned(), |ns| ns.to_string()),
        );
    }
    out
}

/// Lines as `opentop trace` writes them.
fn opens(app: &App) -> Vec<u8> {
    let model = app.model();
    let mut writer = Writer::new(Format::Text, &app.session);
    let mut out = Vec::new();
    writer.header(&mut out);
    for row in 0..model.listing.len(&model.history) {
        if let Some(event) = model.listing.seq(&model.history, row).and_then(|seq| model.history.get(seq)) {
            writer.event(&mut out, &event);
        }
    }
    out
}
