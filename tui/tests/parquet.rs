//! `opentop trace --format parquet`, queried by DuckDB: the same opens as in the JSON lines.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]
#![cfg(feature = "parquet")]

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Ended, opentop};
use opentop::{
    event::RecordBuilder,
    recording::{Options, Recorder},
    source::{Batch, CaptureChange, Counters},
};

/// More than a row group.
const OPENS: u64 = 150_000;

fn record(path: &Path) {
    let session = common::recorded::session(5, 1_700_000_000_000_000_000);
    let mut recorder = Recorder::create(path, &Options::default(), &session).unwrap();
    let mut counters = Counters::default();
    counters.totals.opens = OPENS;
    let mut batch = Batch::default();
    for n in 0..OPENS {
        let mut builder =
            RecordBuilder::new(n as u32 % 9 + 1, "cc1", format!("{}\x1b[31m.h", n % 100)).dir("/usr/src").at(n * 1_000);
        builder.header.flags = if n % 5 == 0 { (libc::O_WRONLY | libc::O_CREAT) as u32 } else { 0 };
        builder.header.mode = 0o640;
        batch.push(&if n % 3 == 0 { builder.errno(2) } else { builder }.build());
        if n % 1000 == 999 {
            recorder.offer(&batch);
            batch.clear();
        }
    }
    // A hundred seconds on, the capture was another one.
    let words = "uid:0".to_owned();
    recorder.offer_capture(&CaptureChange { at_ns: 100_000_000_005, words, ..CaptureChange::default() });
    recorder.offer_counters(&counters);
    recorder.finish().unwrap();
}

/// A Python that has DuckDB: the one that CI makes, or this machine's.
fn python() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_opentop")).ancestors().nth(2)?;
    [target.join("duckdb/bin/python3"), "python3".into()].into_iter().find(|python| {
        Command::new(python).args(["-c", "import duckdb"]).output().is_ok_and(|out| out.status.success())
    })
}

const QUERIES: &str = r#"
import duckdb, json, sys
parquet, lines = sys.argv[1:3]
answer = lambda query: duckdb.sql(query.replace("FILE", f"'{parquet}'")).fetchall()
print(json.dumps([
    answer("select count(*), count(errno), count(fd), count(mode), count(distinct path) from FILE"),
    answer("select errno, count(*) from FILE group by errno order by errno nulls first"),
    answer("select pid, count(*) from FILE group by pid order by pid"),
    answer("select count(*) from FILE where list_contains(flags, 'O_CREAT') and mode = '0640' and len(marks) = 0"),
    answer("select sum(duration_ns)::bigint, min(time)::varchar, max(time)::varchar, typeof(any_value(time)) from FILE"),
    answer("select path, name, comm, via from FILE where pid = 4 limit 1"),
    # The same opens in the same order as the lines.
    [[list(row) for row in answer("select pid, path, coalesce(errno, '') from FILE")]
     == [[line["pid"], line["path"], line.get("errno", "")] for line in map(json.loads, open(lines))]],
    answer("select decode(key), decode(value) from parquet_kv_metadata(FILE) where decode(key) like 'opentop.capture%' order by 1"),
]))
"#;

#[test]
fn duckdb_counts_in_a_parquet_file_what_the_json_lines_have() {
    let Some(python) = python() else {
        let say =
            b"SKIPPED duckdb_counts_in_a_parquet_file: there is no Python with duckdb here (pip install duckdb)\n";
        return std::io::stderr().write_all(say).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    record(&path("x.otop"));
    for (format, to) in [("parquet", "x.parquet"), ("json", "x.json")] {
        let mut command = opentop();
        command.args(["trace", "--format", format, "-r"]).arg(path("x.otop")).arg("-o").arg(path(to));
        let ended = Ended::of(command.output().unwrap());
        assert_eq!((ended.code, ended.account()), (Some(0), [OPENS, OPENS, 0, 0]), "{ended:?}");
    }
    let query = Command::new(python).args(["-c", QUERIES]).arg(path("x.parquet")).arg(path("x.json")).output().unwrap();
    assert!(query.status.success(), "{}", String::from_utf8_lossy(&query.stderr));
    let answers: serde_json::Value = serde_json::from_slice(&query.stdout).unwrap();
    let failed = OPENS / 3;
    assert_eq!(answers[0], serde_json::json!([[OPENS, failed, OPENS - failed, OPENS / 5, 100]]));
    assert_eq!(answers[1], serde_json::json!([[null, OPENS - failed], ["ENOENT", failed]]));
    assert_eq!(answers[2].as_array().unwrap().len(), 9);
    assert_eq!(answers[3], serde_json::json!([[OPENS / 5]]));
    assert_eq!(answers[4][0][0], OPENS * 1000, "each took a microsecond");
    assert!(answers[4][0][1].as_str().unwrap().starts_with("2023-11-14 22:13:20"), "{answers}");
    assert_eq!(answers[5], serde_json::json!([[r"/usr/src/3\x1b[31m.h", r"3\x1b[31m.h", "cc1", "openat"]]));
    assert_eq!(answers[6], serde_json::json!([true]));
    let captures = serde_json::json!([["opentop.capture", "all"], ["opentop.capture.2", "from 00:01:40 on: uid:0"]]);
    assert_eq!(answers[7], captures);
}

#[test]
fn a_filtered_parquet_file_goes_down_a_pipe_and_never_to_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    record(&path);
    let mut command = opentop();
    let out = command.args(["trace", "--format", "parquet", "-f", "pid:4", "-r"]).arg(&path).output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert!(out.stdout.starts_with(b"PAR1") && out.stdout.ends_with(b"PAR1"));
    let mut pty = common::pty::Pty::start(opentop().args(["trace", "--format", "parquet", "-r"]).arg(&path), 100, 20);
    assert_eq!(pty.wait().code(), Some(2));
    pty.wait_for("what to do", |screen| screen.contains("nothing for a terminal: give -o FILE"));
}

const FLEET: &str = r#"
import duckdb, re, sys
text = open(sys.argv[1]).read()
queries = re.findall(r"```sql\n(.*?)```", text, re.S)
assert len(queries) >= 3, queries
print([len(duckdb.sql(query).fetchall()) for query in queries])
"#;

#[test]
fn the_queries_of_the_page_on_fleets_run_as_they_stand_there() {
    let Some(python) = python() else {
        let say =
            b"SKIPPED the_queries_of_the_page_on_fleets: there is no Python with duckdb here (pip install duckdb)\n";
        return std::io::stderr().write_all(say).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    for host in ["web1", "web2"] {
        let folder = dir.path().join("opens").join(format!("host={host}"));
        std::fs::create_dir_all(&folder).unwrap();
        record(&dir.path().join(format!("{host}.otop")));
        let mut command = opentop();
        command.args(["trace", "--format", "parquet", "-r"]).arg(dir.path().join(format!("{host}.otop")));
        assert!(command.arg("-o").arg(folder.join("incident.parquet")).output().unwrap().status.success());
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fleet.md").canonicalize().unwrap();
    let out = Command::new(python).current_dir(dir.path()).args(["-c", FLEET]).arg(page).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let rows = String::from_utf8(out.stdout).unwrap();
    assert!(rows.starts_with("[20, 0, "), "failures of two hosts, nothing that differs, and what was found: {rows}");
}
