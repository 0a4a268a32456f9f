//! The summary as a whole.

use probe_common::{ProcessCounts, marks};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    event::RecordBuilder,
    headless::{
        csv,
        tests::{records, session},
    },
    source::Totals,
};

fn feed(summary: &mut Summary, builder: &RecordBuilder, times: u64) {
    let record = builder.build();
    for _ in 0..times {
        summary.event(&Event::decode(&record).unwrap());
    }
}

fn rendered(summary: &Summary, format: Format) -> String {
    let mut out = Vec::new();
    summary.render(&mut out, format, &session());
    String::from_utf8(out).unwrap()
}

fn json(summary: &Summary) -> Value {
    serde_json::from_str(&rendered(summary, Format::Json)).unwrap()
}

/// The kernel's counts of a process, each open 1 µs.
fn kernel(tgid: u32, comm: &[u8], opens: u64, failed: u64) -> (ProcessKey, ProcessCounts) {
    let mut counts: ProcessCounts = bytemuck::Zeroable::zeroed();
    (counts.opens, counts.failed) = (opens, failed);
    (counts.latency_ns, counts.latency_max_ns) = (opens * 1000, 1000);
    counts.histogram[9] = opens;
    counts.comm[..comm.len()].copy_from_slice(comm);
    (ProcessKey { start_ns: 1, tgid, reserved: 0 }, counts)
}

fn counters(processes: Vec<(ProcessKey, ProcessCounts)>) -> Counters {
    let mut totals = Totals::default();
    for (_, counts) in &processes {
        totals.opens += counts.opens;
        totals.failed += counts.failed;
        totals.latency_ns += counts.latency_ns;
        totals.latency_max_ns = totals.latency_max_ns.max(counts.latency_max_ns);
        totals.histogram[9] += counts.opens;
    }
    Counters { at_ns: 2_000_000_000, totals, processes, ..Counters::default() }
}

fn sample(options: Options) -> Summary {
    let mut summary = Summary::new(options);
    feed(&mut summary, &RecordBuilder::new(42, "nginx", "/etc/nginx.conf"), 3);
    feed(&mut summary, &RecordBuilder::new(42, "nginx", "/missing").errno(libc::ENOENT), 2);
    feed(&mut summary, &RecordBuilder::new(7, "sh", "/bin/ls"), 1);
    let mut at = counters(vec![kernel(42, b"nginx", 10, 3), kernel(7, b"sh", 1, 0)]);
    at.totals.losses.ring_full = 5;
    summary.counters(&at);
    summary.facts(&[ProcessFacts { uid: 0, user: b"root".to_vec(), ..ProcessFacts::default() }]);
    summary
}

#[test]
fn the_kernels_counts_stand_in_the_table_and_the_stream_names_errors_and_paths() {
    assert_eq!(
        rendered(&sample(Options::default()), Format::Text),
        "\
opentop summary: 11 opens in 2.00s (5/s), 3 failed (27.2%), 5 lost; kprobe kernel 6.1.0 on host capture all
losses: ring_full 5

    PID USER     COMM                OPENS   FAILED  FAIL%    TIME    <P50    <P90    <P99     MAX ERRORS
     42 root     nginx                  10        3  30.0%  10.0us  1.00us  1.00us  1.00us  1.00us ENOENT 2 unseen 1
                                         3 /etc/nginx.conf
                                         2 /missing
      7 root     sh                      1        0   0.0%  1.00us  1.00us  1.00us  1.00us  1.00us
                                         1 /bin/ls
        -        (all)                  11        3  27.2%  11.0us  1.00us  1.00us  1.00us  1.00us ENOENT 2 unseen 1

     OPENS PATH
         3 /etc/nginx.conf
         2 /missing
         1 /bin/ls
"
    );
}

#[test]
fn json_says_the_same() {
    let json = json(&sample(Options::default()));
    assert_eq!(json["exact"], true);
    assert_eq!(json["totals"]["opens"], 11);
    assert_eq!(json["losses"]["ring_full"], 5);
    let nginx = &json["processes"][0];
    assert_eq!((&nginx["pid"], &nginx["comm"], &nginx["user"]), (&42.into(), &"nginx".into(), &"root".into()));
    assert_eq!(nginx["errors"], serde_json::json!({"ENOENT": 2, "unseen": 1}));
    assert_eq!(
        nginx["latency_ns"],
        serde_json::json!({"total": 10000, "p50": 1000, "p90": 1000, "p99": 1000, "max": 1000})
    );
    assert_eq!(nginx["paths"][0], serde_json::json!({"path": "/etc/nginx.conf", "opens": 3, "error": 0}));
    assert_eq!(json.get("others"), None);
    assert_eq!(json["paths"].as_array().unwrap().len(), 3);
}

#[test]
fn a_capture_that_was_changed_is_told_with_its_time() {
    let mut summary = sample(Options::default());
    let change = |words: &str, refused: Option<&str>| CaptureChange {
        at_ns: session().start_ns + 62_500_000_000,
        words: words.into(),
        refused: refused.map(str::to_owned),
        ..CaptureChange::default()
    };
    summary.captured(&change("comm:\u{1b}x", None));
    summary.captured(&change("uid:0", Some("no memory")));
    let text = rendered(&summary, Format::Text);
    let lines: Vec<&str> = text.lines().take(3).collect();
    assert!(lines[0].ends_with("capture all"), "{text}");
    assert_eq!(lines[1..], ["capture from 00:01:02 on: comm:\\x1bx", "losses: ring_full 5"]);
    let json = json(&summary);
    assert_eq!(json["capture"], "all");
    assert_eq!(json["captures"], serde_json::json!([{"after_ns": 62_500_000_000_u64, "capture": "comm:\\x1bx"}]));
    summary.restart();
    assert!(!rendered(&summary, Format::Text).contains("from 00:01:02"));
}

#[test]
fn csv_has_a_row_per_process() {
    let rows = csv::read(&rendered(&sample(Options { top: Some(1), ..Options::default() }), Format::Csv));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let column = |name: &str| rows[0].iter().position(|c| c == name).unwrap();
    assert_eq!(rows[1][column("opens")], "10");
    assert_eq!(rows[1][column("errors")], "ENOENT=2|unseen=1");
    assert_eq!(rows[2][column("comm")], "(others)");
    assert_eq!(rows[2][column("opens")], "1");
}

#[test]
fn processes_beyond_the_top_share_a_row() {
    let json = json(&sample(Options { top: Some(1), sort: SortKey::Pid, ..Options::default() }));
    assert_eq!(json["processes"].as_array().unwrap().len(), 1);
    assert_eq!(json["processes"][0]["pid"], 7);
    assert_eq!(json["others"]["processes"], 1);
    assert_eq!(json["others"]["opens"], 10);
    assert_eq!(json["others"]["errors"]["ENOENT"], 2);
    let text = rendered(&sample(Options { top: Some(0), ..Options::default() }), Format::Text);
    assert!(text.contains("(2 others)"), "{text}");
}

#[test]
fn each_key_sorts() {
    let mut summary = Summary::new(Options::default());
    let (mut slow, mut many, mut bad) = (kernel(3, b"b", 1, 0), kernel(2, b"c", 9, 1), kernel(1, b"a", 5, 5));
    slow.1.latency_max_ns = 1 << 30;
    slow.1.latency_ns = 1 << 30;
    slow.1.histogram = [0; 32];
    slow.1.histogram[30] = 1;
    (many.1.uid, bad.1.uid) = (1, 2);
    summary.counters(&counters(vec![slow, many, bad]));
    for (key, first) in [
        (SortKey::Opens, 2),
        (SortKey::Failed, 1),
        (SortKey::Time, 3),
        (SortKey::P99, 3),
        (SortKey::Max, 3),
        (SortKey::Pid, 1),
        (SortKey::Comm, 1),
    ] {
        summary.options.sort = key;
        assert_eq!(json(&summary)["processes"][0]["pid"], first, "{key:?}");
    }
}

#[test]
fn a_filtered_summary_counts_what_it_is_given() {
    let mut summary = Summary::new(Options { counts: CountsFrom::Stream, ..Options::default() });
    feed(&mut summary, &RecordBuilder::new(42, "nginx", "/x").errno(2), 4);
    summary.counters(&counters(vec![kernel(42, b"nginx", 1000, 100)]));
    let json = json(&summary);
    assert_eq!(json["exact"], false);
    assert_eq!(json["totals"]["opens"], 4);
    assert_eq!(json["processes"][0]["failed"], 4);
    assert!(rendered(&summary, Format::Text).contains("counted in the stream"));
}

#[test]
fn a_later_counter_replaces_an_earlier_one() {
    let mut summary = Summary::new(Options::default());
    summary.counters(&counters(vec![kernel(1, b"a", 5, 0), kernel(2, b"b", 7, 0)]));
    let mut later = counters(vec![kernel(1, b"a", 6, 0)]);
    later.totals.opens = 13;
    summary.counters(&later);
    let json = json(&summary);
    assert_eq!(json["processes"][0]["opens"], 7);
    assert_eq!(json["processes"][1]["opens"], 6);
    assert_eq!(json.get("others"), None);
}

#[test]
fn more_processes_than_rows_are_still_counted_exactly() {
    let mut summary = Summary::new(Options::default());
    let mut opens = 0;
    for tgid in 0..100_000_u32 {
        let mut process = kernel(tgid, b"short", 2, 0);
        process.1.exited = 1;
        opens += 2;
        let mut at = counters(vec![process]);
        at.totals.opens = opens;
        summary.counters(&at);
    }
    assert!(summary.rows.len() <= ROWS_MAX);
    let json = json(&summary);
    let rows = json["processes"].as_array().unwrap();
    let shown: u64 = rows.iter().map(|row| row["opens"].as_u64().unwrap()).sum();
    assert_eq!(shown + json["others"]["opens"].as_u64().unwrap(), 200_000);
    assert_eq!(rows.len() as u64 + json["others"]["processes"].as_u64().unwrap(), 100_000);
}

#[test]
fn a_restart_forgets() {
    let mut summary = sample(Options::default());
    summary.restart();
    assert_eq!(json(&summary)["totals"]["opens"], 0);
}

proptest! {
    #[test]
    fn the_stream_adds_up_in_every_format(records in proptest::collection::vec(records(), 0..60), top in proptest::option::of(0_usize..5)) {
        let mut summary = Summary::new(Options { top, counts: CountsFrom::Stream, paths: 2, ..Options::default() });
        let (mut failed, mut readable) = (0, 0);
        for record in &records {
            let event = Event::decode(record).unwrap();
            summary.event(&event);
            failed += u64::from(event.failed() && !event.has(marks::RESULT_UNKNOWN));
            readable += u64::from(!event.has(marks::NAME_UNREADABLE));
        }
        let json = json(&summary);
        prop_assert_eq!(json["totals"]["opens"].as_u64(), Some(records.len() as u64));
        prop_assert_eq!(json["totals"]["failed"].as_u64(), Some(failed));
        let named: u64 = json["totals"]["errors"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
        prop_assert_eq!(named, failed);
        let rows = json["processes"].as_array().unwrap();
        let others = json.get("others").map_or(0, |o| o["opens"].as_u64().unwrap());
        prop_assert_eq!(rows.iter().map(|row| row["opens"].as_u64().unwrap()).sum::<u64>() + others, records.len() as u64);
        prop_assert!(json["paths"].as_array().unwrap().iter().map(|p| p["opens"].as_u64().unwrap()).sum::<u64>() <= readable);
        let text = rendered(&summary, Format::Text);
        prop_assert!(!text.replace('\n', "").chars().any(char::is_control));
        let csv = csv::read(&rendered(&summary, Format::Csv));
        prop_assert!(csv.iter().all(|row| row.len() == csv[0].len()));
        prop_assert_eq!(csv.len() - 1, rows.len() + usize::from(json.get("others").is_some()));
    }
}
