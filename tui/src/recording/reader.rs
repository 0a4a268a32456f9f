//! Reads a recording: from its beginning to wherever it ends, past damage, whatever the bytes.
//!
//! Nothing in a file makes it allocate more than a few times [`super::format::PAYLOAD_MAX`]; it never panics; and it never passes over
//! anything in silence: what is missing is an [`Item::Damage`] or an [`Item::Cut`] with its place.

use std::fmt;
use std::io;

use super::format::{Cursor, FrameHeader, HEADER_LEN, Order, Prelude, codec, kind, swap_record};
use super::payload::{self, CountersFrame, End, IndexEntry, SessionFrame};
use super::window::Window;
use crate::error::{Error, in_words};
use crate::source::{Batch, CaptureChange, ProcessFacts, Stacks};

/// What a recording consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Records, and until when they returned (boot clock, ns).
    Records(Batch, u64),
    /// Counters.
    Counters(Box<CountersFrame>),
    /// Facts on processes.
    Facts(Vec<ProcessFacts>),
    /// Stacks, or opens by stack.
    Stacks(Box<Stacks>),
    /// The capture is another one from here on.
    Capture(Box<CaptureChange>),
    /// Something that can't be read and was passed over.
    Damage(Damage),
    /// The recording was closed properly, and this is its end. The last item.
    End(End),
    /// It was not: the file ends here, at this byte. The last item.
    Cut(u64),
}

/// Bytes that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where they begin in the file.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// What is wrong with them.
    pub why: &'static str,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at offset {} were skipped: {}", self.bytes, self.offset, self.why)
    }
}

/// Reads one recording.
pub struct Reader {
    pub(super) window: Window,
    pub(super) name: String,
    pub(super) prelude: Prelude,
    pub(super) session: SessionFrame,
    /// Bytes of the whole file, where that can be known.
    pub(super) len: Option<u64>,
    pub(super) done: bool,
    /// Where the frame after the session begins.
    pub(super) first_frame: u64,
    /// Records that came before, by the frames' own numbers.
    pub(super) ordinal: u64,
    pub(super) missing: u64,
    pub(super) decompressor: zstd::bulk::Decompressor<'static>,
    /// An item found behind a gap, after the gap was told.
    pub(super) waiting: Option<Item>,
}

impl Reader {
    /// The session that was recorded.
    #[must_use]
    pub fn session(&self) -> &SessionFrame {
        &self.session
    }

    /// What the recording is called in messages: escaped.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the next item begins, bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// Bytes of the whole recording; `None` where it can only be read forwards. It may grow meanwhile.
    #[must_use]
    pub fn byte_len(&self) -> Option<u64> {
        self.len
    }

    /// Records that were in frames that could not be read, as far as the frames behind them tell.
    #[must_use]
    pub fn missing_records(&self) -> u64 {
        self.missing
    }

    /// The next item; `None` behind the last one ([`Item::End`] or [`Item::Cut`]).
    ///
    /// # Errors
    /// When reading fails: not for what the bytes are.
    pub fn next_item(&mut self) -> Result<Option<Item>, Error> {
        if let Some(item) = self.waiting.take() {
            return Ok(Some(item));
        }
        self.step().map_err(|error| {
            Error::failed(format!(
                "cannot read the recording {} at byte {}: {}",
                self.name,
                self.window.offset(),
                in_words(&error)
            ))
        })
    }

    fn step(&mut self) -> io::Result<Option<Item>> {
        let mut gap: Option<Damage> = None;
        while !self.done {
            let start = self.window.offset();
            let have = self.window.fill(HEADER_LEN)?;
            if have == 0 {
                self.done = true;
                return Ok(Some(self.after(gap, Item::Cut(start))));
            }
            let why = match FrameHeader::decode(self.prelude.marker, self.window.ahead(HEADER_LEN)) {
                None if have < HEADER_LEN && self.prelude.marker.starts_with(self.window.ahead(8)) => {
                    return Ok(Some(self.cut(gap)));
                }
                None => {
                    self.window.skip_to(self.prelude.marker)?;
                    "the frame's header is damaged"
                }
                Some(header) => {
                    let len = HEADER_LEN + header.stored_len as usize;
                    let have = self.window.fill(len)?;
                    self.note(&header);
                    if have < len && self.window.find(self.prelude.marker, 1).is_none() {
                        self.miss(&header);
                        return Ok(Some(self.cut(gap)));
                    }
                    match self.payload(&header) {
                        Some(raw) => {
                            self.window.advance(len);
                            match self.item(&header, &raw) {
                                // A kind that this build does not know.
                                Ok(None) => continue,
                                Ok(Some(item)) => return Ok(Some(self.after(gap, item))),
                                Err(why) => {
                                    self.miss(&header);
                                    why
                                }
                            }
                        }
                        None => {
                            self.miss(&header);
                            if have < len {
                                // Bytes are missing from its middle: what follows is nearer than its length says.
                                self.window.skip_to(self.prelude.marker)?;
                                "the frame is not whole"
                            } else {
                                // By its length: looking for frames within a payload would let a crafted file keep
                                // the reader busy without end.
                                self.window.advance(len);
                                "the frame's checksum does not fit"
                            }
                        }
                    }
                }
            };
            let bytes = self.window.offset() - start;
            match &mut gap {
                Some(gap) => gap.bytes += bytes,
                None => gap = Some(Damage { offset: start, bytes, why }),
            }
        }
        Ok(None)
    }

    /// Takes note of the records that the frames before this one held.
    fn note(&mut self, header: &FrameHeader) {
        self.missing = self.missing.saturating_add(header.ordinal.saturating_sub(self.ordinal));
        self.ordinal = self.ordinal.max(header.ordinal);
        if header.kind == kind::RECORDS {
            self.ordinal = self.ordinal.saturating_add(u64::from(header.count));
        }
    }

    /// The frame can't be read.
    fn miss(&mut self, header: &FrameHeader) {
        if header.kind == kind::RECORDS {
            self.missing = self.missing.saturating_add(u64::from(header.count));
        }
    }

    /// The file ends within a frame.
    fn cut(&mut self, gap: Option<Damage>) -> Item {
        let at = self.window.end();
        self.done = true;
        self.after(gap, Item::Cut(at))
    }

    /// `item`, or the damage before it first.
    fn after(&mut self, gap: Option<Damage>, item: Item) -> Item {
        match gap {
            None => item,
            Some(gap) => {
                self.waiting = Some(item);
                Item::Damage(gap)
            }
        }
    }

    fn item(&mut self, header: &FrameHeader, raw: &[u8]) -> Result<Option<Item>, &'static str> {
        let wrong = "its content is not what its kind says";
        Ok(Some(match header.kind {
            kind::RECORDS => {
                Item::Records(records(raw, header.count, self.prelude.order).ok_or(wrong)?, header.time_ns)
            }
            kind::COUNTERS => Item::Counters(Box::new(CountersFrame::decode(raw).ok_or(wrong)?)),
            kind::FACTS => Item::Facts(payload::take_facts(raw, header.count).ok_or(wrong)?),
            kind::STACKS => Item::Stacks(Box::new(Stacks {
                stacks: payload::take_stacks(raw, header.count).ok_or(wrong)?,
                counts: Vec::new(),
            })),
            kind::STACK_COUNTS => Item::Stacks(Box::new(Stacks {
                stacks: Vec::new(),
                counts: payload::take_stack_counts(raw, header.count).ok_or(wrong)?,
            })),
            kind::CAPTURE => Item::Capture(Box::new(payload::decode_capture(raw).ok_or(wrong)?)),
            kind::END => {
                let end = End::decode(raw).ok_or(wrong)?;
                self.done = true;
                Item::End(end)
            }
            _ => return Ok(None),
        }))
    }

    /// Goes back to the first frame.
    ///
    /// # Errors
    /// When the input can only be read forwards, or seeking fails.
    pub fn rewind(&mut self) -> Result<(), Error> {
        self.seek_to(self.first_frame, 0)
    }

    /// Goes to an entry of the index: the next item is the frame of records there.
    ///
    /// # Errors
    /// As [`Reader::rewind`].
    pub fn seek(&mut self, entry: &IndexEntry) -> Result<(), Error> {
        self.seek_to(entry.offset.max(self.first_frame), entry.ordinal)
    }

    pub(super) fn seek_to(&mut self, offset: u64, ordinal: u64) -> Result<(), Error> {
        let sought = self
            .window
            .seek(offset)
            .map_err(|error| Error::failed(format!("cannot read the recording {}: {}", self.name, in_words(&error))))?;
        if !sought {
            return Err(Error::failed(format!(
                "cannot go back in the recording {}: it can only be read forwards. Replay it from a file",
                self.name
            )));
        }
        self.ordinal = ordinal;
        (self.done, self.missing, self.waiting) = (false, 0, None);
        Ok(())
    }

    /// Whether [`Reader::rewind`] and [`Reader::seek`] can work.
    #[must_use]
    pub fn can_seek(&self) -> bool {
        self.window.can_seek()
    }

    pub(super) fn whole_frame(&mut self) -> io::Result<Option<(FrameHeader, Vec<u8>)>> {
        self.window.fill(HEADER_LEN)?;
        let Some(header) = FrameHeader::decode(self.prelude.marker, self.window.ahead(HEADER_LEN)) else {
            return Ok(None);
        };
        self.window.fill(HEADER_LEN + header.stored_len as usize)?;
        let Some(raw) = self.payload(&header) else { return Ok(None) };
        self.window.advance(HEADER_LEN + header.stored_len as usize);
        Ok(Some((header, raw)))
    }

    /// The payload behind the header at the window's beginning, checked and decompressed.
    fn payload(&mut self, header: &FrameHeader) -> Option<Vec<u8>> {
        let len = header.stored_len as usize;
        let stored = self.window.behind(HEADER_LEN, len)?;
        if crc32fast::hash(stored) != header.payload_crc {
            return None;
        }
        let raw = match header.codec {
            codec::NONE => stored.to_vec(),
            // The bound was checked with the header; zstd never writes beyond it.
            codec::ZSTD => self.decompressor.decompress(stored, header.raw_len as usize).ok()?,
            _ => return None,
        };
        (raw.len() == header.raw_len as usize).then_some(raw)
    }
}

/// Splits a payload into its records, in this machine's byte order.
fn records(raw: &[u8], count: u32, order: Order) -> Option<Batch> {
    let (mut cursor, mut batch) = (Cursor::new(raw), Batch::default());
    let mut turned = Vec::new();
    for _ in 0..count {
        let record = cursor.bytes()?;
        if order == Order::NATIVE {
            batch.push(record);
        } else {
            turned.clear();
            turned.extend_from_slice(record);
            swap_record(&mut turned);
            batch.push(&turned);
        }
    }
    cursor.is_empty().then_some(batch)
}
