//! The recorder's thread: gathers records into chunks, writes them in time, and goes from file to file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use probe_common::{ProcessCounts, ProcessKey};
use rustc_hash::FxHashMap;

use super::file::{self, Options, Rotate};
use super::format::{PAYLOAD_MAX, put_bytes};
use super::payload::{CountersFrame, SessionFrame};
use super::queue::{Message, Shared, merge_counters};
use super::rebase::Rebase;
use super::writer::{Medium, Writer, random_marker};
use crate::error::{Error, in_words};
use crate::escape::Escaped;
use crate::event::Event;
use crate::session::Session;
use crate::source::{Batch, CaptureChange, Counters, ProcessFacts, Stack, Stacks};

/// A chunk of records is written when it has this many bytes, before compression.
const CHUNK_BYTES: usize = 256 * 1024;

/// Whatever there is is written at least this often: what a crash can take.
const INTERVAL: Duration = Duration::from_secs(1);

/// Facts written again into each file of a rotation, at most.
const FACTS_KEPT: usize = 16 * 1024;

/// Stacks written again into each file of a rotation, at most; and kept while there is no file to write to.
const STACKS_KEPT: usize = 16 * 1024;

/// Opens the medium of a part.
type Open = Box<dyn FnMut(&Path) -> Result<Box<dyn Medium>, Error> + Send>;

/// The files of a recording, one after the other.
pub(super) struct Files {
    base: PathBuf,
    rotate: Option<Rotate>,
    session: Session,
    part: u32,
    open: Open,
}

impl Files {
    pub(super) fn new(first: std::fs::File, path: &Path, options: &Options, session: &Session) -> Self {
        let options = options.clone();
        let rotate = options.rotate;
        let mut first = Some(first);
        let open = move |path: &Path| {
            let file = first.take().map_or_else(|| file::create(path, &options), Ok)?;
            Ok(Box::new(file) as Box<dyn Medium>)
        };
        Self::opened_by(path, rotate, session, Box::new(open))
    }

    pub(super) fn opened_by(path: &Path, rotate: Option<Rotate>, session: &Session, open: Open) -> Self {
        Self { base: path.to_owned(), rotate, session: session.clone(), part: 0, open }
    }

    fn path(&self) -> PathBuf {
        file::part_path(&self.base, self.rotate.is_some(), self.part)
    }

    fn next(&mut self) -> Result<Writer, Error> {
        self.part += 1;
        let path = self.path();
        let medium = (self.open)(&path)?;
        let frame = SessionFrame {
            session: self.session.clone(),
            part: self.part,
            writer: concat!("opentop ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        Writer::begin(medium, random_marker(), &frame).map_err(|error| failure(&path, &error))
    }
}

fn failure(path: &Path, error: &std::io::Error) -> Error {
    let name = Escaped(path.as_os_str().as_encoded_bytes());
    Error::failed(format!("cannot write the recording {name}: {}", in_words(error)))
}

/// Whether counters are the last ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    No,
    /// Of a file that another one follows.
    File,
    /// Of the session: exact as they are.
    Session,
}

/// The thread's state.
pub(super) struct Worker {
    files: Files,
    /// `None` when the next file could not be made: tried again at each interval.
    writer: Option<Writer>,
    /// Bytes in files that are closed.
    closed_bytes: u64,
    began: Instant,
    flushed: Instant,
    chunk: Vec<u8>,
    chunk_count: u32,
    time_ns: u64,
    counters: Option<Counters>,
    rows: FxHashMap<ProcessKey, ProcessCounts>,
    facts: Vec<ProcessFacts>,
    facts_known: FxHashMap<ProcessKey, ProcessFacts>,
    /// A capture that could not be written yet.
    capture: Option<Box<CaptureChange>>,
    stacks: Stacks,
    /// By id, with rotation: the records of the next file name stacks of this one.
    stacks_known: FxHashMap<u32, Stack>,
    rebase: Rebase,
    /// Records that came so far, and those of them (and of the queue's) dropped in files before this one.
    offered: u64,
    dropped_before: u64,
    shared: Arc<Shared>,
}

impl Worker {
    pub(super) fn start(mut files: Files, shared: Arc<Shared>) -> Result<Self, Error> {
        let writer = files.next()?;
        shared.files.fetch_add(1, Ordering::Relaxed);
        shared.bytes.store(writer.byte_len(), Ordering::Relaxed);
        let now = Instant::now();
        Ok(Self {
            files,
            writer: Some(writer),
            closed_bytes: 0,
            began: now,
            flushed: now,
            chunk: Vec::with_capacity(CHUNK_BYTES + 16 * 1024),
            chunk_count: 0,
            time_ns: 0,
            counters: None,
            rows: FxHashMap::default(),
            facts: Vec::new(),
            facts_known: FxHashMap::default(),
            capture: None,
            stacks: Stacks::default(),
            stacks_known: FxHashMap::default(),
            rebase: Rebase::default(),
            offered: 0,
            dropped_before: 0,
            shared,
        })
    }

    /// Until the other end of the queue is gone.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(INTERVAL.saturating_sub(self.flushed.elapsed())) {
                Ok(Message::Batch(batch)) => self.batch(&batch),
                Ok(Message::Counters(newer)) => {
                    let counters = self.counters.get_or_insert_default();
                    merge_counters(counters, &mut self.rows, &newer);
                }
                Ok(Message::Facts(facts)) => self.facts.extend(facts),
                Ok(Message::Stacks(stacks)) => {
                    self.stacks.stacks.extend(stacks.stacks);
                    self.stacks.counts.extend(stacks.counts);
                }
                Ok(Message::Capture(change)) => {
                    // What came before it was captured as before.
                    self.write_chunk();
                    self.files.session.capture.clone_from(&change.words);
                    self.capture = Some(change);
                    self.write_capture();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.flushed.elapsed() >= INTERVAL {
                self.flush();
            }
            self.rotate_if_due();
        }
        self.write_capture();
        self.write_chunk();
        self.write_facts();
        self.write_stacks();
        self.write_counters(Last::Session);
        self.end_file();
    }

    fn batch(&mut self, batch: &Batch) {
        self.shared.queued_bytes.fetch_sub(batch.byte_len(), Ordering::Relaxed);
        self.offered += batch.len() as u64;
        for record in batch.records() {
            // Nothing the probe sends is near that; a chunk must stay within a frame.
            if record.len() > PAYLOAD_MAX / 4 {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if let Ok(event) = Event::decode(record) {
                let returned = event.start_ns().saturating_add(event.header().duration_ns);
                self.time_ns = self.time_ns.max(returned);
            }
            put_bytes(&mut self.chunk, record);
            self.chunk_count += 1;
            if self.chunk.len() >= CHUNK_BYTES {
                self.write_chunk();
            }
        }
    }

    fn flush(&mut self) {
        self.flushed = Instant::now();
        if self.writer.is_none() {
            self.next_file();
        }
        self.write_capture();
        self.write_chunk();
        self.write_facts();
        self.write_stacks();
        self.write_counters(Last::No);
    }

    fn write_chunk(&mut self) {
        if self.chunk_count == 0 {
            return;
        }
        let count = self.chunk_count;
        let written = match &mut self.writer {
            Some(writer) => writer.records(&self.chunk, count, self.time_ns),
            None => Err(std::io::Error::other("there is no file to write to")),
        };
        match written {
            Ok(()) => self.shared.records.fetch_add(u64::from(count), Ordering::Relaxed),
            Err(_) => self.shared.dropped.fetch_add(u64::from(count), Ordering::Relaxed),
        };
        self.told(written);
        self.chunk.clear();
        self.chunk_count = 0;
    }

    /// A capture that could not be written is tried again; the header of a next file names it, too.
    fn write_capture(&mut self) {
        let (Some(change), Some(writer)) = (self.capture.take(), &mut self.writer) else { return };
        let written = writer.capture(&change);
        if written.is_err() {
            self.capture = Some(change);
        }
        self.told(written);
    }

    /// Facts that could not be written are kept and tried again, as far as there is room for them.
    fn write_facts(&mut self) {
        if self.facts.is_empty() {
            return;
        }
        let Some(writer) = &mut self.writer else { return self.facts.truncate(FACTS_KEPT) };
        let written = writer.facts(&self.facts);
        if written.is_err() {
            self.facts.truncate(FACTS_KEPT);
        } else {
            let facts = std::mem::take(&mut self.facts);
            if self.files.rotate.is_some() {
                let room = FACTS_KEPT.saturating_sub(self.facts_known.len());
                self.facts_known.extend(facts.into_iter().take(room).map(|facts| (facts.key(), facts)));
            }
        }
        self.told(written);
    }

    /// Stacks that could not be written are kept and tried again, as far as there is room for them.
    fn write_stacks(&mut self) {
        if self.stacks.is_empty() {
            return;
        }
        let written = match &mut self.writer {
            Some(writer) => writer.stacks(&self.stacks.stacks).and_then(|()| writer.stack_counts(&self.stacks.counts)),
            None => Err(std::io::Error::other("there is no file to write to")),
        };
        if written.is_err() {
            self.stacks.stacks.truncate(STACKS_KEPT);
            self.stacks.counts.truncate(STACKS_KEPT);
        } else {
            let stacks = std::mem::take(&mut self.stacks).stacks;
            if self.files.rotate.is_some() {
                let room = STACKS_KEPT.saturating_sub(self.stacks_known.len());
                self.stacks_known.extend(stacks.into_iter().take(room).map(|stack| (stack.id, stack)));
            }
        }
        self.told(written);
    }

    /// Counters that could not be written stay merged, and are tried again.
    fn write_counters(&mut self, last: Last) {
        let (Some(counters), Some(writer)) = (&self.counters, &mut self.writer) else { return };
        let mut frame = CountersFrame { counters: counters.clone(), dropped: 0, last: last != Last::No };
        frame.counters.processes = self.rows.iter().map(|(key, counts)| (*key, *counts)).collect();
        // The same session gives the same file.
        frame.counters.processes.sort_unstable_by_key(|(key, _)| *key);
        self.rebase.apply(&mut frame.counters);
        frame.dropped = self.shared.dropped.load(Ordering::Relaxed).saturating_sub(self.dropped_before);
        if last == Last::File {
            // The counters were read some time before or after the last record: where a file ends although the session
            // goes on, the records say what belongs to it.
            let lost = frame.counters.totals.losses.lost();
            frame.counters.totals.opens = writer.record_count() + frame.dropped + lost;
        }
        let written = writer.counters(&frame);
        if written.is_ok() {
            if self.files.rotate.is_some() {
                self.facts_known.retain(|key, _| self.rows.get(key).is_none_or(|counts| counts.exited == 0));
                self.rebase.remember(&self.rows, counters);
            }
            self.rows.clear();
        }
        self.told(written);
    }

    fn told(&mut self, written: std::io::Result<()>) {
        match written {
            Ok(()) => {
                self.shared.failing.store(false, Ordering::Relaxed);
                let here = self.writer.as_ref().map_or(0, Writer::byte_len);
                self.shared.bytes.store(self.closed_bytes + here, Ordering::Relaxed);
            }
            // Why there is no file is what next_file said.
            Err(_) if self.writer.is_none() => {}
            Err(error) => self.shared.set_error(failure(&self.files.path(), &error).message),
        }
    }

    fn end_file(&mut self) {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        if let Some(writer) = &mut self.writer {
            let written = writer.end(dropped.saturating_sub(self.dropped_before));
            self.told(written);
        }
    }

    fn rotate_if_due(&mut self) {
        let Some(writer) = &self.writer else { return };
        let due = match self.files.rotate {
            None => false,
            Some(Rotate::Size(size)) => writer.byte_len() >= size,
            Some(Rotate::Time(time)) => self.began.elapsed() >= time,
        };
        if !due {
            return;
        }
        self.write_chunk();
        self.write_facts();
        self.write_stacks();
        self.write_counters(Last::File);
        self.end_file();
        self.closed_bytes += self.writer.take().map_or(0, |writer| writer.byte_len());
        // Every open that was handed over belongs to the files so far, and so does every loss counted until now.
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let queue_dropped = dropped.saturating_sub(self.dropped_of_offered());
        self.rebase.begin(self.offered + queue_dropped);
        // The next file begins here: nobody wants to sit through the files before it.
        let counted = self.counters.as_ref().map_or(0, |counters| counters.at_ns);
        self.files.session.start_ns = self.files.session.start_ns.max(self.time_ns).max(counted);
        self.dropped_before = dropped;
        self.next_file();
    }

    /// Dropped records that had come through the queue.
    fn dropped_of_offered(&self) -> u64 {
        let (written, waiting) = (self.shared.records.load(Ordering::Relaxed), u64::from(self.chunk_count));
        self.offered.saturating_sub(written).saturating_sub(waiting)
    }

    fn next_file(&mut self) {
        self.began = Instant::now();
        match self.files.next() {
            Ok(writer) => {
                self.writer = Some(writer);
                self.shared.files.fetch_add(1, Ordering::Relaxed);
                // Its header has it.
                self.capture = None;
                // Each file is complete by itself: what is known of living processes stands in each.
                self.facts.splice(..0, self.facts_known.drain().map(|(_, facts)| facts));
                self.write_facts();
                self.stacks.stacks.splice(..0, self.stacks_known.drain().map(|(_, stack)| stack));
                self.write_stacks();
                self.told(Ok(()));
            }
            Err(error) => self.shared.set_error(error.message),
        }
    }
}
