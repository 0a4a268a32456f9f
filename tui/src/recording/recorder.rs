//! The recorder: a thread of its own behind a bounded queue, so that a slow disk never stalls the capture.
//!
//! What it can't keep up with is dropped, counted, and told in the file and by [`Recorder::stats`]. When a write fails
//! (a full disk) the file ends with the last whole frame, the recorder goes on counting, and goes on writing as soon
//! as writing works again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use rustc_hash::FxHashMap;

use super::file::Options;
use super::queue::{Message, Shared, merge_counters};
use super::worker::{Files, Worker};
use crate::error::{Error, in_words};
use crate::session::Session;
use crate::source::{Batch, CaptureChange, Counters, Input, ProcessFacts, Stacks};

/// Messages in the queue.
const QUEUE_MESSAGES: usize = 1024;

/// Bytes of records in the queue: a second of a very busy machine.
const QUEUE_BYTES: usize = 32 << 20;

/// Facts kept back while the queue is full.
const FACTS_BACK: usize = 16 * 1024;

/// Stacks, and counts by stack, kept back while the queue is full.
const STACKS_BACK: usize = 16 * 1024;

/// How a recording stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records written.
    pub records: u64,
    /// Records that are not in the recording: the writer could not keep up, or writing failed.
    pub dropped: u64,
    /// Bytes written, over all files.
    pub bytes: u64,
    /// Files begun.
    pub files: u64,
    /// Whether the last write failed. It is tried again: this may become false again.
    pub failing: bool,
    /// The latest failure in words, with the file's name; stays when writing works again.
    pub error: Option<String>,
}

/// A recording in the making.
pub struct Recorder {
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    path: PathBuf,
    /// Counters that found the queue full: merged, as each names only what changed since the one before.
    counters_back: Option<Box<Counters>>,
    facts_back: Vec<ProcessFacts>,
    stacks_back: Box<Stacks>,
    /// The last capture that found the queue full: those before it were in force for no record.
    capture_back: Option<Box<CaptureChange>>,
}

impl Recorder {
    /// Makes the file and starts the thread. With rotation the first file is numbered, too.
    ///
    /// # Errors
    /// When the file can't be made or its header can't be written.
    pub fn create(path: &Path, options: &Options, session: &Session) -> Result<Self, Error> {
        Self::begin(Self::first_file(path, options)?, path, options, session)
    }

    /// Makes the first file alone, for whoever has privileges to give up before the rest: no thread is started.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn first_file(path: &Path, options: &Options) -> Result<File, Error> {
        super::file::create(&super::file::part_path(path, options.rotate.is_some(), 1), options)
    }

    /// Starts the thread on a file that [`Recorder::first_file`] made.
    ///
    /// # Errors
    /// When its header can't be written.
    pub fn begin(first: File, path: &Path, options: &Options, session: &Session) -> Result<Self, Error> {
        Self::with_files(Files::new(first, path, options, session), path)
    }

    pub(super) fn with_files(files: Files, path: &Path) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let worker = Worker::start(files, Arc::clone(&shared))?;
        let (queue, messages) = sync_channel(QUEUE_MESSAGES);
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                crate::run::fault::point("recorder");
                worker.run(&messages);
            })
            .map_err(|error| Error::failed(format!("cannot start the recorder's thread: {}", in_words(&error))))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            shared,
            path: path.to_owned(),
            counters_back: None,
            facts_back: Vec::new(),
            stacks_back: Box::default(),
            capture_back: None,
        })
    }

    /// Records whatever a source hands over. Never waits.
    pub fn offer_input(&mut self, input: &Input) {
        match input {
            Input::Batch(batch) => self.offer(batch),
            Input::Counters(counters) => self.offer_counters(counters),
            Input::Facts(facts) => self.offer_facts(facts),
            Input::Stacks(stacks) => self.offer_stacks(stacks),
            Input::Capture(change) => self.offer_capture(change),
            Input::Restart | Input::End => {}
        }
    }

    /// Records opens. Never waits: what the queue has no room for is counted as dropped.
    pub fn offer(&mut self, batch: &Batch) {
        if batch.is_empty() {
            return;
        }
        self.send_capture();
        let (records, bytes) = (batch.len() as u64, batch.byte_len());
        let queued = self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued.saturating_add(bytes) <= QUEUE_BYTES && self.send(Message::Batch(batch.clone())).is_ok() {
            return;
        }
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shared.dropped.fetch_add(records, Ordering::Relaxed);
    }

    /// Records counters. Never waits: what the queue has no room for now is merged into the next.
    pub fn offer_counters(&mut self, counters: &Counters) {
        let counters = match self.counters_back.take() {
            None => Box::new(counters.clone()),
            Some(mut back) => {
                let mut rows: FxHashMap<_, _> = back.processes.drain(..).collect();
                merge_counters(&mut back, &mut rows, counters);
                back.processes = rows.into_iter().collect();
                back
            }
        };
        if let Err(Message::Counters(counters)) = self.send(Message::Counters(counters)) {
            self.counters_back = Some(counters);
        }
    }

    /// Records facts. Never waits: what the queue has no room for now is kept for the next time.
    pub fn offer_facts(&mut self, facts: &[ProcessFacts]) {
        let mut all = std::mem::take(&mut self.facts_back);
        all.extend(facts.iter().take(FACTS_BACK.saturating_sub(all.len())).cloned());
        if all.is_empty() {
            return;
        }
        if let Err(Message::Facts(facts)) = self.send(Message::Facts(all)) {
            self.facts_back = facts;
        }
    }

    /// Records stacks and opens by stack. Never waits: what the queue has no room for now is kept for the next time.
    pub fn offer_stacks(&mut self, stacks: &Stacks) {
        let mut all = std::mem::take(&mut self.stacks_back);
        all.stacks.extend(stacks.stacks.iter().take(STACKS_BACK.saturating_sub(all.stacks.len())).cloned());
        all.counts.extend(stacks.counts.iter().take(STACKS_BACK.saturating_sub(all.counts.len())));
        if all.is_empty() {
            return;
        }
        if let Err(Message::Stacks(stacks)) = self.send(Message::Stacks(all)) {
            self.stacks_back = stacks;
        }
    }

    /// Records that the capture is another one from here on; nothing where it was refused. Never waits: what the queue has
    /// no room for now goes before the next records.
    pub fn offer_capture(&mut self, change: &CaptureChange) {
        if change.refused.is_none() {
            self.capture_back = Some(Box::new(change.clone()));
            self.send_capture();
        }
    }

    fn send_capture(&mut self) {
        if let Some(change) = self.capture_back.take()
            && let Err(Message::Capture(change)) = self.send(Message::Capture(change))
        {
            self.capture_back = Some(change);
        }
    }

    fn send(&self, message: Message) -> Result<(), Message> {
        let Some(queue) = &self.queue else { return Err(message) };
        queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(message) | TrySendError::Disconnected(message) => message,
        })
    }

    /// How it stands.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.shared;
        Stats {
            records: shared.records.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed),
            bytes: shared.bytes.load(Ordering::Relaxed),
            files: shared.files.load(Ordering::Relaxed),
            failing: shared.failing.load(Ordering::Relaxed),
            error: shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Whether the last write failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    /// Ends it: writes what is queued, the last counters, the index and the end, and waits until all is on the disk.
    ///
    /// # Errors
    /// When not everything could be written: with the file, the reason, and what is in the file all the same.
    pub fn finish(mut self) -> Result<Stats, Error> {
        self.close();
        let stats = self.stats();
        match &stats.error {
            Some(error) if stats.failing || stats.dropped > 0 => Err(Error::failed(format!(
                "{error}. The recording holds {} opens, {} are missing; `opentop -r` replays what it holds",
                stats.records, stats.dropped
            ))),
            _ => Ok(stats),
        }
    }

    fn close(&mut self) {
        // What was kept back goes in now: here waiting is right.
        if let Some(queue) = self.queue.take() {
            if let Some(change) = self.capture_back.take() {
                let _ = queue.send(Message::Capture(change));
            }
            if let Some(counters) = self.counters_back.take() {
                let _ = queue.send(Message::Counters(counters));
            }
            if !self.facts_back.is_empty() {
                let _ = queue.send(Message::Facts(std::mem::take(&mut self.facts_back)));
            }
            if !self.stacks_back.is_empty() {
                let _ = queue.send(Message::Stacks(std::mem::take(&mut self.stacks_back)));
            }
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            let name = crate::escape::escaped(self.path.as_os_str().as_encoded_bytes());
            self.shared
                .set_error(format!("the recorder of {name} ended early by a fault of its own: please report it"));
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close();
    }
}
