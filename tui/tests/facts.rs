//! Who the processes are: told by the machine that recorded, and shown on any other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::path::Path;

use common::{Ended, opentop, pty::Pty};
use opentop::{
    event::RecordBuilder,
    recording::{Item, Options, Reader, Recorder},
    source::{Batch, Counters, ProcessFacts},
};
use probe_common::{ProcessCounts, ProcessKey};

/// A user that this machine does not have, under root's neighbour's number.
const UID: u32 = 1;

fn record(path: &Path) {
    let session = common::recorded::session(1, 0);
    let mut recorder = Recorder::create(path, &Options::default(), &session).unwrap();
    let key = ProcessKey { start_ns: 7, tgid: 70, reserved: 0 };
    let mut builder = RecordBuilder::new(70, "job", "/etc/job.conf").at(1_000);
    builder.header.process_start_ns = key.start_ns;
    (builder.header.ppid, builder.header.uid) = (60, UID);
    let mut batch = Batch::default();
    batch.push(&builder.build());
    recorder.offer(&batch);
    let facts = |tgid, start_ns, ppid, exe: &str, line: &str| ProcessFacts {
        tgid,
        start_ns,
        ppid,
        uid: UID,
        user: b"maria-elsewhere".to_vec(),
        exe: exe.into(),
        command_line: line.into(),
    };
    recorder.offer_facts(&[
        facts(1, 0, 0, "/sbin/init", "init\0"),
        facts(60, 0, 1, "/usr/bin/dash", "sh\0-c\0job\0"),
        facts(70, key.start_ns, 60, "/opt/job", "job\0--config\0/etc/job.conf\0"),
    ]);
    let mut comm = [0; 16];
    comm[..3].copy_from_slice(b"job");
    let zeroed: ProcessCounts = bytemuck::Zeroable::zeroed();
    let counts = ProcessCounts { opens: 1, uid: UID, ppid: 60, comm, ..zeroed };
    let mut counters = Counters { at_ns: 2_000, processes: vec![(key, counts)], ..Counters::default() };
    counters.totals.opens = 1;
    recorder.offer_counters(&counters);
    recorder.finish().unwrap();
}

#[test]
fn a_recording_made_elsewhere_shows_that_machines_users_parents_and_command_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    record(&path);
    for format in ["text", "json", "csv"] {
        let out = opentop().args(["summary", "--format", format, "-r"]).arg(&path).output().unwrap();
        let ended = Ended::of(out);
        // The table for people cuts what is longer than its column.
        assert!(ended.stdout.contains("maria-"), "{format}: {}", ended.stdout);
        assert!(!ended.stdout.contains("daemon"), "this machine's name for it: {}", ended.stdout);
    }
    for (filter, shown) in [("user:maria-elsewhere", 1), ("!user:maria-elsewhere", 0)] {
        let mut command = opentop();
        let out = command.args(["trace", "-f", filter, "-r"]).arg(&path).output().unwrap();
        assert_eq!(Ended::of(out).account()[1], shown, "{filter}");
    }
    let mut pty = Pty::start(opentop().arg("-r").arg(&path), 120, 40);
    pty.wait_for("the process", |screen| screen.contains("/etc/job.conf"));
    pty.keys("\r");
    let page = pty.wait_for("its page", |screen| screen.contains("parents"));
    for shown in ["maria-elsewhere (1)", "job --config /etc/job.conf", "/opt/job", "dash 60 ← init 1"] {
        assert!(page.contains(shown), "{shown} is not in\n{page}");
    }
    pty.keys_alone("\x1b");
    pty.wait_for("the way back", |screen| !screen.contains("Esc goes back"));
    pty.keys("/user:maria-elsewhere\r");
    pty.wait_for("a filter by that user", |screen| {
        screen.contains("filter user:maria-elsewhere") && screen.contains("job.conf")
    });
    pty.keys("q");
    assert_eq!(pty.wait().code(), Some(0));
}

#[test]
fn a_live_recording_holds_who_the_processes_were() {
    require_live!();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    let script = "cat /etc/hostname >/dev/null; exec sleep 2.4";
    let ended = Ended::of(
        opentop()
            .args(["trace", "-o", "/dev/null", "-w"])
            .arg(&path)
            .args(["--", "sh", "-c", script])
            .output()
            .unwrap(),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mut reader = Reader::open(&path).unwrap();
    let mut facts = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        if let Item::Facts(more) = item {
            facts.extend(more);
        }
    }
    // It was the shell first, and is known by what it became.
    let of_the_command = facts.iter().rfind(|f| f.command_line == b"sleep\x002.4\0");
    let job = of_the_command.unwrap_or_else(|| panic!("no command line among {facts:#?}"));
    assert!(job.start_ns > 0 && job.exe.ends_with(b"sleep") && job.user == b"root", "{job:?}");
    let parent = facts.iter().find(|f| f.tgid == job.ppid).unwrap();
    assert!(parent.exe.ends_with(b"opentop"), "{parent:?}");
}
