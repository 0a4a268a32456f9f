//! The recorder, the reader and the replay together: what goes in comes out, whatever happens in between.

mod faults;
mod hostile;
mod round_trip;

use std::io;
use std::sync::{Arc, Mutex};

use probe_common::{ProcessCounts, ProcessKey};

use super::format::put_bytes;
use super::payload::{CountersFrame, SessionFrame};
use super::writer::{Medium, Writer};
use super::{Item, Reader};
use crate::event::RecordBuilder;
use crate::session::{AttachKind, RouteState, Session};
use crate::source::{Batch, Counters, ProcessFacts};

pub(super) fn session() -> Session {
    Session {
        attach: AttachKind::Kprobe,
        reason: "first choice".into(),
        kernel: "6.1.0-18".into(),
        hostname: "box".into(),
        wall_offset_ns: -5,
        start_ns: 1_000,
        routes: vec![
            RouteState { name: "openat", blind: None },
            RouteState { name: "io_uring", blind: Some("no such function".into()) },
        ],
        capture: "comm:nginx".into(),
        ring_bytes: 4096,
    }
}

pub(super) fn batch(records: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::default();
    for record in records {
        batch.push(record);
    }
    batch
}

pub(super) fn record(n: u64) -> Vec<u8> {
    RecordBuilder::new(n as u32 % 50 + 1, "cc1", format!("/usr/include/{n}.h")).at(2_000 + n * 1_000).build()
}

pub(super) fn counters(opens: u64, at_ns: u64) -> Counters {
    let mut counts: ProcessCounts = bytemuck::Zeroable::zeroed();
    (counts.opens, counts.comm) = (opens, *b"cc1\0\0\0\0\0\0\0\0\0\0\0\0\0");
    counts.histogram[10] = opens;
    let mut counters = Counters { at_ns, processes: vec![], ..Counters::default() };
    counters.processes.push((ProcessKey { start_ns: 1, tgid: 7, reserved: 0 }, counts));
    counters.totals.opens = opens;
    counters.totals.histogram[10] = opens;
    counters
}

pub(super) fn facts(tgid: u32) -> ProcessFacts {
    ProcessFacts {
        tgid,
        start_ns: 1,
        ppid: 1,
        uid: 33,
        user: b"www-data".to_vec(),
        exe: b"/usr/bin/cc1".to_vec(),
        command_line: b"cc1\0-O2\0".to_vec(),
    }
}

/// A disk in memory, which has room for so many bytes or fails at a certain write.
#[derive(Clone, Default)]
pub(super) struct Disk(pub(super) Arc<Mutex<DiskState>>);

#[derive(Default)]
pub(super) struct DiskState {
    pub(super) bytes: Vec<u8>,
    pub(super) room: Option<usize>,
    pub(super) refuses_cutting: bool,
    pub(super) writes: usize,
}

impl Disk {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }
}

impl Medium for Disk {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.writes += 1;
        let at = offset as usize;
        let fits = disk.room.map_or(bytes.len(), |room| bytes.len().min(room.saturating_sub(at)));
        let len = disk.bytes.len().max(at + fits);
        disk.bytes.resize(len, 0);
        disk.bytes[at..at + fits].copy_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::Error::from_raw_os_error(libc::ENOSPC)) } else { Ok(()) }
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        if disk.refuses_cutting {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        disk.bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of `chunks` frames of 10 records each, with counters and facts between them, closed; and its records.
pub(super) fn small_file(chunks: u64) -> (Vec<u8>, Vec<Vec<u8>>) {
    let disk = Disk::default();
    let frame = SessionFrame { session: session(), part: 1, writer: "test".into() };
    let mut writer = Writer::begin(Box::new(disk.clone()), *b"markers!", &frame).unwrap();
    let mut all = Vec::new();
    for chunk in 0..chunks {
        let records: Vec<_> = (chunk * 10..chunk * 10 + 10).map(record).collect();
        let mut raw = Vec::new();
        records.iter().for_each(|record| put_bytes(&mut raw, record));
        writer.records(&raw, 10, 3_000 + (chunk * 10 + 9) * 1_000).unwrap();
        writer.facts(&[facts(chunk as u32)]).unwrap();
        let counters = counters((chunk + 1) * 10, 3_500 + (chunk * 10 + 9) * 1_000);
        writer.counters(&CountersFrame { counters, dropped: 0, last: chunk + 1 == chunks }).unwrap();
        all.extend(records);
    }
    writer.end(0).unwrap();
    (disk.bytes(), all)
}

pub(super) fn items(bytes: Vec<u8>) -> Result<Vec<Item>, crate::error::Error> {
    let mut reader = Reader::from_bytes(bytes, "test")?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    Ok(items)
}

pub(super) fn records_of(items: &[Item]) -> Vec<Vec<u8>> {
    let batches = items.iter().filter_map(|item| match item {
        Item::Records(batch, _) => Some(batch),
        _ => None,
    });
    batches.flat_map(|batch| batch.records().map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}
