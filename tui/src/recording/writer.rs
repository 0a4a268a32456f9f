//! Writes frames, whole or not at all, and remembers where they are.
//!
//! Knows nothing of queues, time or rotation: that is [`super::recorder`].

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{FrameHeader, HEADER_LEN, PAYLOAD_MAX, Prelude, codec, kind};
use super::payload::{self, CountersFrame, End, INDEX_MAX, IndexEntry, SessionFrame};
use crate::source::{CaptureChange, ProcessFacts, Stack, StackCount};

/// zstd's level: records repeat themselves so much that more effort buys little, and the recorder must keep up.
const LEVEL: i32 = 1;

/// Where frames go. A file; in tests, also things that fail.
pub trait Medium: Send {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system's. What was written of `bytes` until then is unknown.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts it to `len` bytes.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Waits until all is on the disk.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;
}

impl Medium for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// A marker that nobody can guess: the standard library's hash keys come from the system's random numbers.
#[must_use]
pub fn random_marker() -> [u8; 8] {
    std::hash::RandomState::new().build_hasher().finish().to_ne_bytes()
}

/// Writes one file.
pub struct Writer {
    medium: Box<dyn Medium>,
    marker: [u8; 8],
    /// End of the last whole frame.
    len: u64,
    ordinal: u64,
    time_ns: u64,
    compressor: zstd::bulk::Compressor<'static>,
    index: Vec<IndexEntry>,
    /// Every so many frames of records are indexed; doubled when the index is full.
    stride: u64,
    frames_of_records: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// Writes the prelude and the session.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn begin(medium: Box<dyn Medium>, marker: [u8; 8], session: &SessionFrame) -> io::Result<Self> {
        let mut writer = Self {
            medium,
            marker,
            len: 0,
            ordinal: 0,
            time_ns: session.session.start_ns,
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
            index: Vec::new(),
            stride: 1,
            frames_of_records: 0,
            buffer: Vec::new(),
        };
        let prelude = Prelude::new(marker).encode();
        writer.medium.write_at(&prelude, 0)?;
        writer.len = prelude.len() as u64;
        writer.frame(kind::SESSION, &session.encode(), 1, 0)?;
        Ok(writer)
    }

    /// Writes `count` records, each behind its length as a u32, `raw` in all. `time_ns`: when the latest of them
    /// returned, boot clock.
    ///
    /// # Errors
    /// When they can't be written; the file then ends with the frame before.
    pub fn records(&mut self, raw: &[u8], count: u32, time_ns: u64) -> io::Result<()> {
        let entry = IndexEntry { offset: self.len, time_ns: time_ns.max(self.time_ns), ordinal: self.ordinal };
        self.frame(kind::RECORDS, raw, count, time_ns)?;
        self.ordinal += u64::from(count);
        if self.frames_of_records.is_multiple_of(self.stride) {
            if self.index.len() >= INDEX_MAX {
                let mut even = false;
                self.index.retain(|_| {
                    even = !even;
                    even
                });
                self.stride *= 2;
            }
            self.index.push(entry);
        }
        self.frames_of_records += 1;
        Ok(())
    }

    /// Writes counters; more rows than a frame holds become several frames.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn counters(&mut self, frame: &CountersFrame) -> io::Result<()> {
        let rows = &frame.counters.processes;
        if rows.len() <= payload::ROWS_MAX {
            return self.counters_piece(frame);
        }
        let mut pieces = rows.chunks(payload::ROWS_MAX).peekable();
        while let Some(rows) = pieces.next() {
            let mut piece = CountersFrame { dropped: frame.dropped, last: frame.last, ..CountersFrame::default() };
            piece.last &= pieces.peek().is_none();
            piece.counters.at_ns = frame.counters.at_ns;
            piece.counters.totals = frame.counters.totals;
            piece.counters.others = frame.counters.others;
            piece.counters.ring_used = frame.counters.ring_used;
            piece.counters.processes = rows.to_vec();
            self.counters_piece(&piece)?;
        }
        Ok(())
    }

    fn counters_piece(&mut self, piece: &CountersFrame) -> io::Result<()> {
        let rows = u32::try_from(piece.counters.processes.len()).unwrap_or(u32::MAX);
        self.frame(kind::COUNTERS, &piece.encode(), rows, piece.counters.at_ns)
    }

    /// Writes facts, in as many frames as they need.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn facts<'a>(&mut self, facts: impl IntoIterator<Item = &'a ProcessFacts>) -> io::Result<()> {
        let (mut raw, mut count) = (Vec::new(), 0);
        for one in facts {
            payload::put_facts(&mut raw, one);
            count += 1;
            // One more can't pass the bound: STRING_MAX sees to that.
            if raw.len() >= PAYLOAD_MAX / 2 {
                self.frame(kind::FACTS, &raw, count, 0)?;
                raw.clear();
                count = 0;
            }
        }
        if count > 0 { self.frame(kind::FACTS, &raw, count, 0) } else { Ok(()) }
    }

    /// Writes stacks, in as many frames as they need.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn stacks<'a>(&mut self, stacks: impl IntoIterator<Item = &'a Stack>) -> io::Result<()> {
        let (mut raw, mut count) = (Vec::new(), 0);
        for one in stacks {
            payload::put_stack(&mut raw, one);
            count += 1;
            // One more can't pass the bound: FRAMES_MAX and SYMBOL_MAX see to that.
            if raw.len() >= PAYLOAD_MAX / 4 {
                self.frame(kind::STACKS, &raw, count, 0)?;
                raw.clear();
                count = 0;
            }
        }
        if count > 0 { self.frame(kind::STACKS, &raw, count, 0) } else { Ok(()) }
    }

    /// Writes opens by stack, in as many frames as they need.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn stack_counts(&mut self, counts: &[StackCount]) -> io::Result<()> {
        // 36 bytes each: a quarter of what a frame holds.
        for some in counts.chunks(8192) {
            let mut raw = Vec::new();
            some.iter().for_each(|one| payload::put_stack_count(&mut raw, one));
            self.frame(kind::STACK_COUNTS, &raw, u32::try_from(some.len()).unwrap_or(0), 0)?;
        }
        Ok(())
    }

    /// Writes that the capture is another one from here on.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn capture(&mut self, change: &CaptureChange) -> io::Result<()> {
        self.frame(kind::CAPTURE, &payload::encode_capture(change), 1, 0)
    }

    /// Writes index and end, and waits until all is on the disk. `dropped`: records that are not in the file.
    ///
    /// # Errors
    /// When that fails: the file is then as one that was cut off.
    pub fn end(&mut self, dropped: u64) -> io::Result<()> {
        let end = End { index_offset: self.len, records: self.ordinal, dropped };
        let entries = u32::try_from(self.index.len()).unwrap_or(u32::MAX);
        self.frame(kind::INDEX, &payload::encode_index(&self.index), entries, 0)?;
        self.frame(kind::END, &end.encode(), 1, 0)?;
        self.medium.sync()
    }

    /// Bytes in the file, up to the end of the last whole frame.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.len
    }

    /// Records in the file.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.ordinal
    }

    pub(super) fn frame(&mut self, kind: u8, raw: &[u8], count: u32, time_ns: u64) -> io::Result<()> {
        let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "a payload longer than a frame holds");
        let raw_len = u32::try_from(raw.len()).ok().filter(|len| *len as usize <= PAYLOAD_MAX).ok_or_else(too_long)?;
        let packed = match kind {
            kind::END => None,
            _ => self.compressor.compress(raw).ok().filter(|packed| packed.len() < raw.len()),
        };
        let (codec, stored) = packed.as_deref().map_or((codec::NONE, raw), |packed| (codec::ZSTD, packed));
        let time_ns = time_ns.max(self.time_ns);
        let header = FrameHeader {
            kind,
            codec,
            count,
            time_ns,
            ordinal: self.ordinal,
            stored_len: u32::try_from(stored.len()).map_err(|_| too_long())?,
            raw_len,
            payload_crc: crc32fast::hash(stored),
        };
        self.buffer.clear();
        header.encode(self.marker, &mut self.buffer);
        debug_assert_eq!(self.buffer.len(), HEADER_LEN);
        self.buffer.extend_from_slice(stored);
        if let Err(error) = self.medium.write_at(&self.buffer, self.len) {
            // Half a frame is of no use. Where even cutting fails, the next frame is written over it, and a reader
            // finds its way past the rest by the marker.
            let _ = self.medium.set_len(self.len);
            return Err(error);
        }
        self.len += self.buffer.len() as u64;
        self.time_ns = time_ns;
        Ok(())
    }
}
