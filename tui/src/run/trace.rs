//! `opentop trace`: a line for each open, written once per batch.
//!
//! What a line looks like is `headless`'s; which opens come is the probe's and the display filter's.

use std::{ffi::OsString, io::IsTerminal as _, path::Path, process::ExitCode};

use rustc_hash::FxHashMap;

use super::{
    Capture, Plan,
    account::Account,
    child::Streams,
    output::{self, Output, Reader},
    user,
};
use crate::{
    cli::TraceArgs,
    error::{Error, Kind},
    escape::escaped,
    filter::{Filter, Recorded},
    headless::{
        self,
        stacked::{self, Stacked},
    },
    model::processes::MAX_PROCESSES,
    recording::{Item, Reader as Recording},
    source::{Batch, Input},
};

/// Written when this many bytes have come together, though more batches are waiting.
const FULL: usize = 256 << 10;

/// Runs `opentop trace`; `typed` is the whole command line.
///
/// # Errors
/// Whatever keeps it from starting or from writing.
pub fn trace(args: &TraceArgs, typed: &[OsString]) -> Result<ExitCode, Error> {
    let (wanted, recording) = (args.display.filter.as_deref(), args.capture.recording.read.as_deref());
    let filter = filter(wanted, recording)?;
    let invoker = user::invoker();
    if args.format.is_binary() && args.output.is_none() && std::io::stdout().is_terminal() {
        let why = "--format parquet is nothing for a terminal: give -o FILE, or send it to a file or a pipe";
        return Err(Error::new(Kind::Usage, why));
    }
    if args.format.is_binary() && args.capture.stacks {
        let why = "--format parquet has no room for stacks: json, csv and text have them";
        return Err(Error::new(Kind::Usage, why));
    }
    let output = Output::open(args.output.as_deref(), invoker.as_ref())?;
    let progress = args.output.is_some() || !std::io::stdout().is_terminal();
    let plan = Plan {
        args: &args.capture,
        typed,
        streams: Streams::default(),
        stacks: super::stacks_of(&args.capture),
        invoker,
        measure: false,
        who: false,
        progress,
    };
    let mut capture = Capture::start(plan)?;
    capture.introduce();
    let filter = late_filter(wanted, recording, filter)?;
    let mut lines = Lines {
        writer: headless::Writer::new(args.format, &capture.session),
        format: args.format,
        stacked: args.capture.stacks.then(Stacked::default),
        filter,
        buffer: Vec::with_capacity(2 * FULL),
        output,
        account: Account::default(),
    };
    let handle = capture.runtime.handle().clone();
    match handle.block_on(lines.run(&mut capture))? {
        Reader::Present => Ok(capture.finish(&lines.account)),
        // Whoever read has seen enough: no complaint, and no account to somebody who has gone.
        Reader::Gone => Ok(capture.leave()),
    }
}

/// A format that cannot be begun or ended.
fn unwritable(why: String) -> Error {
    Error::failed(format!("the output cannot be written in this format: {why}; another --format can"))
}

/// The display filter of `-f`. One that asks for users of a recording is not made here, but by [`late_filter`].
pub(super) fn filter(text: Option<&str>, recording: Option<&Path>) -> Result<Option<Filter>, Error> {
    let Some(text) = text.filter(|text| !asks_for_users(text, recording)) else { return Ok(None) };
    // Who reads from a pipe knows the users only as they come, and must give numbers.
    parsed(text, if recording.is_some() { Some(FxHashMap::default()) } else { None }).map(Some)
}

/// The display filter that asks for users of a recording, where they have the names that they have there; `otherwise`, if
/// it does not. Reads the recording: to be called once privileges are given up.
pub(super) fn late_filter(
    text: Option<&str>,
    recording: Option<&Path>,
    otherwise: Option<Filter>,
) -> Result<Option<Filter>, Error> {
    match (text, recording) {
        (Some(text), Some(path)) if asks_for_users(text, Some(path)) => parsed(text, Some(users(path)?)).map(Some),
        _ => Ok(otherwise),
    }
}

fn asks_for_users(text: &str, recording: Option<&Path>) -> bool {
    text.contains("user") && recording.is_some_and(|path| path.as_os_str() != "-")
}

fn parsed(text: &str, users: Option<FxHashMap<u32, String>>) -> Result<Filter, Error> {
    let parsed = match &users {
        Some(users) => Filter::parse_with(text, &Recorded(users)),
        None => Filter::parse(text),
    };
    parsed.map_err(|e| Error::new(Kind::Usage, format!("--filter cannot be understood:\n{}", e.pointing(text))))
}

/// The users that a recording names.
fn users(path: &Path) -> Result<FxHashMap<u32, String>, Error> {
    let mut reader = Recording::open(path)?;
    let mut users = FxHashMap::default();
    // A pipe that has a name would be used up.
    while let Some(item) = if reader.can_seek() { reader.next_item()? } else { None } {
        let Item::Facts(facts) = item else { continue };
        for fact in facts.into_iter().filter(|fact| !fact.user.is_empty()) {
            if users.len() < MAX_PROCESSES {
                users.insert(fact.uid, escaped(&fact.user));
            }
        }
    }
    Ok(users)
}

/// Opens on their way to the output.
struct Lines {
    writer: headless::Writer,
    format: headless::TraceFormat,
    /// With stacks: opens wait there until theirs are known.
    stacked: Option<Stacked>,
    /// The display filter; `None` shows all.
    filter: Option<Filter>,
    buffer: Vec<u8>,
    output: Output,
    account: Account,
}

impl Lines {
    async fn run(&mut self, capture: &mut Capture) -> Result<Reader, Error> {
        self.writer.header(&mut self.buffer);
        if self.stacked.is_some() {
            stacked::header(self.format, &mut self.buffer);
        }
        loop {
            // Everything that is there is formatted; then, before waiting, written in one piece.
            let input = match capture.next_at_once() {
                Some(input) if self.buffer.len() < FULL => input,
                waiting => {
                    if self.flush()? == Reader::Gone {
                        return Ok(Reader::Gone);
                    }
                    match waiting {
                        Some(input) => input,
                        None => capture.next().await,
                    }
                }
            };
            match input {
                // Nobody reads: what is still to come is for the recording alone, and counts as lost.
                Input::Batch(_) if self.output.is_given_up() => output::drop_it(),
                Input::Batch(batch) => match &mut self.stacked {
                    None => self.batch(&batch),
                    Some(stacked) => {
                        stacked.push(batch);
                        self.batches(false);
                    }
                },
                Input::Stacks(stacks) => {
                    if let Some(stacked) = &mut self.stacked {
                        stacked.learn(*stacks);
                        self.batches(false);
                    }
                }
                Input::Counters(counters) => self.account.totals = counters.totals,
                Input::Capture(change) => self.writer.captured(&change),
                Input::Facts(_) | Input::Restart => {}
                Input::End => {
                    if !self.output.is_given_up() {
                        self.batches(true);
                    }
                    self.writer.finish(&mut self.buffer).map_err(unwritable)?;
                    return self.flush();
                }
            }
        }
    }

    /// The opens of which the stacks are known, or all.
    fn batches(&mut self, all: bool) {
        while let Some(batch) = self.stacked.as_mut().and_then(|stacked| stacked.pop(all)) {
            self.batch(&batch);
        }
    }

    fn batch(&mut self, batch: &Batch) {
        for event in batch.events() {
            match event {
                Ok(event) if self.filter.as_ref().is_some_and(|filter| !filter.matches(&event)) => {
                    self.account.filtered += 1;
                }
                Ok(event) => {
                    self.writer.event(&mut self.buffer, &event);
                    if let Some(stacked) = &self.stacked {
                        stacked.line(self.format, &mut self.buffer, &event);
                    }
                    self.account.shown += 1;
                }
                Err(_) => self.account.undecodable += 1,
            }
        }
    }

    fn flush(&mut self) -> Result<Reader, Error> {
        let reader = self.output.write(&self.buffer)?;
        self.buffer.clear();
        Ok(reader)
    }
}
