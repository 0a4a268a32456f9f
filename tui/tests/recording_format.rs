//! A reader of recordings written from docs/recording-format.md alone: it uses nothing of opentop's own reader. When it
//! no longer reads what opentop writes, either the document or the program is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

use std::collections::BTreeMap;

use opentop::{
    event::RecordBuilder,
    recording::{Options, Recorder},
    session::{AttachKind, RouteState, Session},
    source::{
        Batch, CaptureChange, Class, Counters, Frame as StackFrame, Losses, ProcessFacts, Stack, StackCount, Stacks,
    },
};

/// CRC-32 of zlib and PNG, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }
    fn uint(&mut self, width: usize) -> u64 {
        self.take(width).iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
    fn bytes(&mut self) -> &'a [u8] {
        let len = self.uint(4) as usize;
        self.take(len)
    }
    fn text(&mut self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }
    fn list(&mut self) -> Vec<u64> {
        (0..self.uint(1)).map(|_| self.uint(8)).collect()
    }
    /// opens, failed, comm, histogram
    fn row(&mut self) -> (u64, u64, Vec<u8>, Vec<u64>) {
        let (opens, failed) = (self.uint(8), self.uint(8));
        self.take(5 * 8 + 3 * 4);
        (opens, failed, self.take(16).to_vec(), self.list())
    }
}

struct Frame {
    offset: u64,
    kind: u64,
    count: u64,
    time: u64,
    ordinal: u64,
    payload: Vec<u8>,
}

fn frames(file: &[u8]) -> Vec<Frame> {
    let mut bytes = Bytes(file);
    assert_eq!(bytes.take(8), [0x8f, 0x4f, 0x54, 0x4f, 0x50, 0x0d, 0x0a, 0x1a]);
    assert_eq!((bytes.uint(2), bytes.uint(1), bytes.uint(1)), (1, 1, 1));
    let marker = bytes.take(8);
    assert_eq!(bytes.uint(4), u64::from(crc(&file[..20])));
    let mut frames = Vec::new();
    while !bytes.0.is_empty() {
        let offset = (file.len() - bytes.0.len()) as u64;
        let mut header = Bytes(bytes.take(48));
        assert_eq!(u64::from(crc(&header.0[..44])), Bytes(&header.0[44..]).uint(4));
        assert_eq!(header.take(8), marker);
        let (kind, codec, zero, count) = (header.uint(1), header.uint(1), header.uint(2), header.uint(4));
        let (time, ordinal) = (header.uint(8), header.uint(8));
        let (stored, raw, payload_crc) = (header.uint(4), header.uint(4), header.uint(4));
        assert_eq!(zero, 0);
        assert!(stored <= 1_048_576 && raw <= 1_048_576);
        let payload = bytes.take(stored as usize);
        assert_eq!(payload_crc, u64::from(crc(payload)));
        let payload = match codec {
            0 => payload.to_vec(),
            1 => zstd::bulk::decompress(payload, raw as usize).unwrap(),
            other => panic!("codec {other}"),
        };
        assert_eq!(payload.len() as u64, raw);
        frames.push(Frame { offset, kind, count, time, ordinal, payload });
    }
    frames
}

/// What the document says after some words, up to the end of that sentence: a list by commas.
fn listed(after: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recording-format.md");
    let text = std::fs::read_to_string(path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, rest) = text.split_once(after).unwrap_or_else(|| panic!("the document says nothing of {after:?}"));
    rest.split('.').next().unwrap().split(", ").map(|name| name.trim().to_owned()).collect()
}

#[test]
fn a_reader_written_from_the_document_reads_what_opentop_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    let session = Session {
        attach: AttachKind::Fentry,
        reason: "kprobe: not in this kernel".into(),
        kernel: "6.12.1".into(),
        hostname: "box".into(),
        wall_offset_ns: -77,
        start_ns: 1_000,
        routes: vec![RouteState { name: "io_uring", blind: Some("why not".into()) }],
        capture: "uid>=1000".into(),
        ring_bytes: 65_536,
    };
    let mut recorder = Recorder::create(&path, &Options::default(), &session).unwrap();
    let records: Vec<_> = (0..4_000u64)
        .map(|n| RecordBuilder::new(9, "make", format!("{n}.o")).dir("/home/u/proj").at(2_000 + n).build())
        .collect();
    let mut batch = Batch::default();
    records.iter().for_each(|record| batch.push(record));
    recorder.offer(&batch);
    let mut counters = Counters { at_ns: 9_000_000, ring_used: 12, ..Counters::default() };
    (counters.totals.opens, counters.totals.failed) = (4_005, 3);
    (counters.totals.losses.ring_full, counters.totals.losses.process_table_full) = (5, 6);
    let mut row: probe_common::ProcessCounts = bytemuck::Zeroable::zeroed();
    (row.opens, row.failed, row.comm) = (4_005, 3, *b"make\0\0\0\0\0\0\0\0\0\0\0\0");
    row.histogram[9] = 4_005;
    counters.processes.push((probe_common::ProcessKey { start_ns: 1, tgid: 9, reserved: 0 }, row));
    recorder.offer_counters(&counters);
    recorder.offer_facts(&[ProcessFacts {
        tgid: 9,
        start_ns: 1,
        ppid: 4,
        uid: 1000,
        user: b"u".to_vec(),
        exe: b"/usr/bin/make".to_vec(),
        command_line: b"make\0-j2\0".to_vec(),
    }]);
    let process = probe_common::ProcessKey { start_ns: 1, tgid: 9, reserved: 0 };
    let main = StackFrame {
        address: 0x40_1010,
        function: b"main"[..].into(),
        offset: 0x10,
        module: b"make"[..].into(),
        source: b"main.c:7"[..].into(),
        inlined: false,
    };
    let helper = StackFrame { function: b"helper"[..].into(), inlined: true, ..main.clone() };
    recorder.offer_stacks(&Stacks {
        stacks: vec![Stack { id: 3, kernel: false, tgid: 9, start_ns: 1, named: true, frames: vec![helper, main] }],
        counts: vec![StackCount { process, user: 3, kernel: 0, opens: 40, failed: 2 }],
    });
    recorder.offer_capture(&CaptureChange {
        at_ns: 7_000,
        text: "failed".into(),
        words: "command, failed".into(),
        refused: None,
    });
    recorder.finish().unwrap();

    let file = std::fs::read(&path).unwrap();
    let frames = frames(&file);
    let of_kind = |kind| frames.iter().filter(move |frame| frame.kind == kind);
    assert_eq!(frames.iter().map(|frame| frame.kind).filter(|kind| *kind > 9).count(), 0);
    assert!(frames.windows(2).all(|pair| pair[0].time <= pair[1].time));

    let mut first = Bytes(&frames[0].payload);
    assert_eq!(frames[0].kind, 1);
    assert!(first.text().starts_with("opentop "));
    let texts: Vec<_> = (0..5).map(|_| first.text()).collect();
    assert_eq!(texts, ["fentry", "kprobe: not in this kernel", "6.12.1", "box", "uid>=1000"]);
    assert_eq!((first.uint(8) as i64, first.uint(8), first.uint(4), first.uint(4)), (-77, 1_000, 65_536, 1));
    assert_eq!((first.uint(1), first.text(), first.uint(1), first.text()), (1, "io_uring".into(), 1, "why not".into()));
    assert!(first.0.is_empty());

    let (mut read, mut by_offset) = (Vec::new(), BTreeMap::new());
    for frame in of_kind(2) {
        assert_eq!(frame.ordinal, read.len() as u64);
        by_offset.insert(frame.offset, (frame.time, frame.ordinal));
        let mut bytes = Bytes(&frame.payload);
        for _ in 0..frame.count {
            let record = bytes.bytes();
            let (name_len, dir_len) = (Bytes(&record[4..]).uint(2) as usize, Bytes(&record[6..]).uint(2) as usize);
            assert_eq!(record.len(), 104 + name_len + dir_len);
            assert_eq!(&record[104 + name_len..], b"proj/u/home/");
            assert_eq!(Bytes(&record[40..]).uint(4), 9);
            assert_eq!(&record[84..88], b"make");
            assert!(frame.time >= Bytes(&record[8..]).uint(8) + Bytes(&record[16..]).uint(8));
            read.push(record.to_vec());
        }
        assert!(bytes.0.is_empty());
    }
    assert_eq!(read, records);

    let mut bytes = Bytes(&of_kind(3).next_back().unwrap().payload);
    assert_eq!((bytes.uint(1), bytes.uint(8), bytes.uint(8), bytes.uint(8)), (1, 9_000_000, 0, 12));
    assert_eq!((bytes.uint(8), bytes.uint(8), bytes.uint(8), bytes.uint(8)), (4_005, 3, 0, 0));
    assert_eq!(bytes.list().len(), 32);
    let (losses, named) = (bytes.list(), listed("Losses, in order:"));
    let counted = named.iter().zip(&losses).filter(|(_, count)| **count > 0);
    let counted: Vec<_> = counted.map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!((counted, losses.len()), (vec![("ring full", 5), ("process table full", 6)], named.len()));
    let unrecorded = listed("Opens that are in no record:");
    assert!(unrecorded.iter().all(|name| named.contains(name)), "{unrecorded:?} are not all among {named:?}");
    assert_eq!(unrecorded.len(), Losses::default().of(Class::Lost).count());
    assert_eq!((bytes.uint(1), bytes.uint(4)), (0, 1));
    assert_eq!((bytes.uint(8), bytes.uint(4)), (1, 9));
    let (opens, failed, comm, histogram) = bytes.row();
    assert_eq!((opens, failed, &comm[..5], histogram[9]), (4_005, 3, &b"make\0"[..], 4_005));
    assert!(bytes.0.is_empty());

    let mut bytes = Bytes(&of_kind(4).next().unwrap().payload);
    assert_eq!((bytes.uint(8), bytes.uint(4), bytes.uint(4), bytes.uint(4)), (1, 9, 4, 1000));
    assert_eq!((bytes.bytes(), bytes.bytes(), bytes.bytes()), (&b"u"[..], &b"/usr/bin/make"[..], &b"make\0-j2\0"[..]));

    let stacks = of_kind(7).next().unwrap();
    let mut bytes = Bytes(&stacks.payload);
    assert_eq!((stacks.count, bytes.uint(4), bytes.uint(4), bytes.uint(8)), (1, 3, 9, 1));
    assert_eq!((bytes.uint(1), bytes.uint(2)), (2, 2));
    for (function, inlined) in [(&b"helper"[..], 1), (b"main", 0)] {
        assert_eq!((bytes.uint(8), bytes.uint(8), bytes.uint(1)), (0x40_1010, 0x10, inlined));
        let mut name = || {
            let len = bytes.uint(1) as usize;
            bytes.take(len)
        };
        assert_eq!((name(), name(), name()), (function, &b"make"[..], &b"main.c:7"[..]));
    }
    assert!(bytes.0.is_empty());

    let counts = of_kind(8).next().unwrap();
    let mut bytes = Bytes(&counts.payload);
    assert_eq!((counts.count, bytes.uint(8), bytes.uint(4)), (1, 1, 9));
    assert_eq!((bytes.uint(4), bytes.uint(4), bytes.uint(8), bytes.uint(8)), (3, 0, 40, 2));
    assert!(bytes.0.is_empty());

    let capture = of_kind(9).next().unwrap();
    let mut bytes = Bytes(&capture.payload);
    assert_eq!((capture.count, capture.ordinal, bytes.uint(8)), (1, 4_000, 7_000));
    assert_eq!((bytes.text(), bytes.text()), ("failed".into(), "command, failed".into()));
    assert!(bytes.0.is_empty());

    let end = frames.last().unwrap();
    assert_eq!((end.kind, end.offset), (6, file.len() as u64 - 72));
    let mut end = Bytes(&end.payload);
    let (index, records_there, not_recorded) = (end.uint(8), end.uint(8), end.uint(8));
    assert_eq!((records_there, not_recorded), (4_000, 0));
    let index = frames.iter().find(|frame| frame.offset == index).unwrap();
    assert_eq!((index.kind, index.count), (5, by_offset.len() as u64));
    let mut bytes = Bytes(&index.payload);
    for _ in 0..index.count {
        let (offset, time, ordinal) = (bytes.uint(8), bytes.uint(8), bytes.uint(8));
        assert_eq!(by_offset.get(&offset), Some(&(time, ordinal)));
    }
}
