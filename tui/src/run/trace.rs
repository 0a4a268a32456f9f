//! `opentop trace`: a line for each open, written once per batch.
//!
//! What a line looks like is `headless`'s; which opens come is the probe's and the display filter's.

use std::{ffi::OsString, io::IsTerminal as _, process::ExitCode};

use super::{
    Capture, Plan,
    account::Account,
    child::Streams,
    output::{Output, Reader},
    signals, user,
};
use crate::{
    cli::TraceArgs,
    error::{Error, Kind},
    filter::Filter,
    headless,
    source::{Batch, Input},
};

/// Written when this many bytes have come together, though more batches are waiting.
const FULL: usize = 256 << 10;

/// Runs `opentop trace`; `typed` is the whole command line.
///
/// # Errors
/// Whatever keeps it from starting or from writing.
pub fn trace(args: &TraceArgs, typed: &[OsString]) -> Result<ExitCode, Error> {
    let filter = filter(args.display.filter.as_deref())?;
    let invoker = user::invoker();
    if args.format.is_binary() && args.output.is_none() && std::io::stdout().is_terminal() {
        let why = "--format parquet is nothing for a terminal: give -o FILE, or send it to a file or a pipe";
        return Err(Error::new(Kind::Usage, why));
    }
    let output = Output::open(args.output.as_deref(), invoker.as_ref())?;
    let progress = args.output.is_some() || !std::io::stdout().is_terminal();
    let plan =
        Plan { args: &args.capture, typed, streams: Streams::default(), invoker, measure: false, who: false, progress };
    let mut capture = Capture::start(plan)?;
    capture.introduce();
    let mut lines = Lines {
        writer: headless::Writer::new(args.format, &capture.session),
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

/// The display filter of `-f`.
pub(super) fn filter(text: Option<&str>) -> Result<Option<Filter>, Error> {
    let Some(text) = text else { return Ok(None) };
    Filter::parse(text)
        .map(Some)
        .map_err(|e| Error::new(Kind::Usage, format!("--filter cannot be understood:\n{}", e.pointing(text))))
}

/// Opens on their way to the output.
struct Lines {
    writer: headless::Writer,
    /// The display filter; `None` shows all.
    filter: Option<Filter>,
    buffer: Vec<u8>,
    output: Output,
    account: Account,
}

impl Lines {
    async fn run(&mut self, capture: &mut Capture) -> Result<Reader, Error> {
        self.writer.header(&mut self.buffer);
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
                Input::Batch(_) if signals::output_is_given_up() => {}
                Input::Batch(batch) => self.batch(&batch),
                Input::Counters(counters) => self.account.totals = counters.totals,
                Input::Facts(_) | Input::Stacks(_) | Input::Capture(_) | Input::Restart => {}
                Input::End => {
                    self.writer.finish(&mut self.buffer).map_err(unwritable)?;
                    return self.flush();
                }
            }
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
