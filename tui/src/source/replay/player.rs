//! The replay without a clock: inputs one after the other, the account made whole where the recording is not.

use std::fmt;

use crate::error::Error;
use crate::event::Event;
use crate::recording::payload::{CountersFrame, IndexEntry};
use crate::recording::{Damage, Item, Reader};
use crate::session::{Session, clock};
use crate::source::{Batch, CaptureChange, Counters, Input};

/// Damages, and changes of the capture, kept one by one; more are only counted.
const DAMAGES_KEPT: usize = 100;

/// What is to be said of a recording beyond its content: empty when it is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What the recording is called: escaped.
    pub name: String,
    /// Where the file ends without having been closed, bytes.
    pub cut: Option<u64>,
    /// How far into the session the replay came, ns: said with the cut.
    pub reached_ns: u64,
    /// What could not be read, the first hundred.
    pub damages: Vec<Damage>,
    /// How many there are in all.
    pub damage_count: u64,
    /// Records in what could not be read, as far as it is known.
    pub missing_records: u64,
    /// Records that the recorder had to leave out, in its own words.
    pub dropped_records: u64,
    /// To what the capture was changed, and how far into the session, ns; the first hundred times.
    pub captures: Vec<(u64, String)>,
}

impl Report {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cut.is_none() && self.damage_count == 0 && self.dropped_records == 0 && self.captures.is_empty()
    }
}

/// One line for each thing, without a line end behind the last.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for (after_ns, capture) in &self.captures {
            lines.push(format!(
                "the capture was changed {} into the session, to: {capture}",
                clock(*after_ns / 1_000_000_000)
            ));
        }
        for damage in &self.damages {
            lines.push(format!("{} is damaged: {damage}", self.name));
        }
        let more = self.damage_count.saturating_sub(self.damages.len() as u64);
        if more > 0 {
            lines.push(format!("{} is damaged in {more} more places", self.name));
        }
        if self.missing_records > 0 {
            lines.push(format!("{} opens could not be read: they are counted as lost", self.missing_records));
        }
        if self.dropped_records > 0 {
            lines.push(format!(
                "the recorder could not keep up or could not write: {} opens are not in {}, and counted as lost",
                self.dropped_records, self.name
            ));
        }
        if let Some(at) = self.cut {
            lines.push(format!(
                "{} is cut off at byte {at}, {} into the session: it was replayed up to there",
                self.name,
                clock(self.reached_ns / 1_000_000_000)
            ));
        }
        f.write_str(&lines.join("\n"))
    }
}

/// Replays a recording step by step.
pub struct Player {
    reader: Reader,
    /// Records that were read and not handed over yet, from `next` on.
    batch: Batch,
    next: usize,
    /// What was read and lies behind the time asked for.
    ahead: Option<Item>,
    /// No open that was handed over returned later, boot clock, ns.
    at_ns: u64,
    handed_over: u64,
    counters: Option<Box<Counters>>,
    dropped: u64,
    ended: bool,
    /// The counters before the end were handed over.
    closing: bool,
    /// It was stopped before its end.
    stopped: bool,
    report: Report,
}

impl Player {
    /// From the recording's beginning.
    #[must_use]
    pub fn new(reader: Reader) -> Self {
        let report = Report { name: reader.name().to_owned(), ..Report::default() };
        let at_ns = reader.session().session.start_ns;
        Self {
            reader,
            batch: Batch::default(),
            next: 0,
            ahead: None,
            at_ns,
            handed_over: 0,
            counters: None,
            dropped: 0,
            ended: false,
            closing: false,
            stopped: false,
            report,
        }
    }

    /// The session that was recorded.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.reader.session().session
    }

    /// Bytes of the recording that were read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.reader.offset()
    }

    /// How far the replay is, boot clock, ns: no open handed over so far returned later.
    #[must_use]
    pub fn at_ns(&self) -> u64 {
        self.at_ns
    }

    /// Records handed over since the beginning.
    #[must_use]
    pub fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// Whether [`Input::End`] was handed over.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// What is to be said of the recording, as far as it was read.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        report.reached_ns = self.at_ns.saturating_sub(self.session().start_ns);
        report.missing_records = self.reader.missing_records();
        report.dropped_records = self.dropped;
        report
    }

    /// Where records are, and when: for the scrub bar. Costs a pass over the file when it has no index of its own.
    /// Goes back to the beginning.
    ///
    /// # Errors
    /// When the recording can only be read forwards, or reading fails.
    pub fn index(&mut self) -> Result<Vec<IndexEntry>, Error> {
        let index = self.reader.index()?;
        self.rewind()?;
        Ok(index)
    }

    /// Whether [`Player::rewind`] and [`Player::index`] can work.
    #[must_use]
    pub fn can_rewind(&self) -> bool {
        self.reader.can_seek()
    }

    /// Goes back to the beginning. The consumer has to be told with [`Input::Restart`].
    ///
    /// # Errors
    /// When the recording can only be read forwards, or reading fails.
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.reader.rewind()?;
        self.batch.clear();
        (self.next, self.ahead, self.at_ns) = (0, None, self.session().start_ns);
        (self.handed_over, self.counters, self.dropped) = (0, None, 0);
        (self.ended, self.closing, self.stopped) = (false, false, false);
        self.report = Report { name: self.reader.name().to_owned(), ..Report::default() };
        Ok(())
    }

    /// Ends it here, though there is more: what comes next are counters as of now, and [`Input::End`].
    pub fn stop(&mut self) {
        if !self.ended {
            self.batch.clear();
            (self.next, self.stopped, self.closing) = (0, true, false);
            self.ahead = Some(Item::Cut(self.reader.offset()));
        }
    }

    /// When the next input happened, boot clock, ns; `None` at the end. Reads ahead where it must.
    ///
    /// # Errors
    /// When reading fails.
    pub fn next_ns(&mut self) -> Result<Option<u64>, Error> {
        self.look_ahead()?;
        if let Some(record) = self.pending().next() {
            return Ok(Some(returned_ns(record).max(self.at_ns)));
        }
        Ok(match &self.ahead {
            Some(Item::Counters(frame)) => Some(frame.counters.at_ns.max(self.at_ns)),
            Some(Item::Capture(change)) => Some(change.at_ns.max(self.at_ns)),
            Some(_) => Some(self.at_ns),
            None => None,
        })
    }

    /// The next input that happened up to `until_ns` (boot clock), with at most `most` records if it is a batch.
    /// `None` when there is none up to then, or none at all: [`Player::ended`] tells.
    ///
    /// # Errors
    /// When reading fails: not for what the bytes are. What was replayed so far stands.
    pub fn next_input(&mut self, until_ns: u64, most: usize) -> Result<Option<Input>, Error> {
        match self.next_ns()? {
            Some(at) if at <= until_ns => {}
            _ => return Ok(None),
        }
        if self.next < self.batch.len() {
            return Ok(Some(Input::Batch(self.take_batch(until_ns, most))));
        }
        Ok(match self.ahead.take() {
            Some(Item::Counters(frame)) => Some(self.take_counters(*frame)),
            Some(Item::Facts(facts)) => Some(Input::Facts(facts)),
            Some(Item::Stacks(stacks)) => Some(Input::Stacks(stacks)),
            Some(Item::Capture(change)) => Some(self.take_capture(change)),
            Some(end) => Some(self.end(end)),
            None => None,
        })
    }

    fn pending(&self) -> impl Iterator<Item = &[u8]> {
        self.batch.records().skip(self.next)
    }

    /// Reads until there is something to hand over.
    fn look_ahead(&mut self) -> Result<(), Error> {
        while self.next >= self.batch.len() && self.ahead.is_none() && !self.ended {
            match self.reader.next_item()? {
                Some(Item::Records(batch, _)) => (self.batch, self.next) = (batch, 0),
                Some(Item::Damage(damage)) => {
                    self.report.damage_count += 1;
                    if self.report.damages.len() < DAMAGES_KEPT {
                        self.report.damages.push(damage);
                    }
                }
                Some(Item::Cut(at)) => {
                    self.report.cut = Some(at);
                    self.ahead = Some(Item::Cut(at));
                }
                Some(Item::End(end)) => {
                    self.dropped = self.dropped.max(end.dropped);
                    self.ahead = Some(Item::End(end));
                }
                Some(item) => self.ahead = Some(item),
                None => self.ahead = Some(Item::Cut(self.reader.offset())),
            }
        }
        Ok(())
    }

    fn take_batch(&mut self, until_ns: u64, most: usize) -> Batch {
        if self.next == 0 && most >= self.batch.len() && until_ns == u64::MAX {
            // The whole chunk: nothing to copy.
            let batch = std::mem::take(&mut self.batch);
            self.at_ns = batch.records().map(returned_ns).fold(self.at_ns, u64::max);
            self.handed_over += batch.len() as u64;
            return batch;
        }
        let (mut batch, mut at_ns, mut count) = (Batch::default(), self.at_ns, 0);
        for record in self.batch.records().skip(self.next).take(most) {
            let returned = returned_ns(record).max(at_ns);
            if returned > until_ns {
                break;
            }
            at_ns = returned;
            batch.push(record);
            count += 1;
        }
        self.next += count;
        (self.at_ns, self.handed_over) = (at_ns, self.handed_over + count as u64);
        batch
    }

    fn take_counters(&mut self, frame: CountersFrame) -> Input {
        let mut counters = frame.counters;
        self.at_ns = self.at_ns.max(counters.at_ns);
        self.dropped = self.dropped.max(frame.dropped);
        self.counters = Some(Box::new(Counters { processes: Vec::new(), ..counters.clone() }));
        // What the recorder had to leave out is lost to whoever reads the recording.
        counters.totals.losses.dropped = counters.totals.losses.dropped.saturating_add(self.dropped);
        Input::Counters(Box::new(counters))
    }

    fn take_capture(&mut self, change: Box<CaptureChange>) -> Input {
        self.at_ns = self.at_ns.max(change.at_ns);
        if self.report.captures.len() < DAMAGES_KEPT {
            let after_ns = self.at_ns.saturating_sub(self.session().start_ns);
            self.report.captures.push((after_ns, change.words.clone()));
        }
        Input::Capture(change)
    }

    /// The end; before it, where the recording is not whole, counters with which the account adds up.
    fn end(&mut self, item: Item) -> Input {
        let whole = self.report.cut.is_none() && self.report.damage_count == 0 && self.counters.is_some();
        let whole = whole && !self.stopped;
        if whole || self.closing {
            self.ended = true;
            return Input::End;
        }
        self.closing = true;
        self.ahead = Some(item);
        let mut counters = self.counters.take().unwrap_or_default();
        counters.at_ns = self.at_ns;
        let totals = &mut counters.totals;
        totals.losses.dropped = totals.losses.dropped.saturating_add(self.dropped);
        let known = self.handed_over.saturating_add(totals.losses.lost());
        // The last counters may be from before the last records, or from after some that are gone.
        totals.opens = match self.stopped {
            true => known,
            false => totals.opens.max(known.saturating_add(self.reader.missing_records())),
        };
        totals.losses.dropped = totals.losses.dropped.saturating_add(totals.opens - known);
        Input::Counters(counters)
    }
}

/// When an open returned, boot clock, ns; 0 for bytes that are no record.
fn returned_ns(record: &[u8]) -> u64 {
    Event::decode(record).map_or(0, |event| event.start_ns().saturating_add(event.header().duration_ns))
}
