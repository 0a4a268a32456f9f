//! Where things are in a recording: from its index, or, where there is none, from the headers of its frames.

use std::io;

use super::format::{FrameHeader, HEADER_LEN, kind};
use super::payload::{self, End, IndexEntry};
use super::reader::Reader;
use crate::error::{Error, in_words};

impl Reader {
    /// Where records are: from the index of the file, or, when it has none (it was cut off), from the headers of all
    /// its frames. Goes back to the first frame.
    ///
    /// # Errors
    /// As [`Reader::rewind`].
    pub fn index(&mut self) -> Result<Vec<IndexEntry>, Error> {
        self.rewind()?;
        let stored = self.stored_index().unwrap_or_default();
        let index = if stored.is_empty() { self.scan()? } else { stored };
        self.rewind()?;
        Ok(index)
    }

    fn stored_index(&mut self) -> Option<Vec<IndexEntry>> {
        let len = self.window.len()?;
        let end = len.checked_sub((HEADER_LEN + End::LEN) as u64).filter(|end| *end >= self.first_frame)?;
        self.seek_to(end, 0).ok()?;
        let (header, raw) = self.whole_frame().ok()??;
        let end_offset = (header.kind == kind::END).then(|| End::decode(&raw))??.index_offset;
        self.seek_to(end_offset, 0).ok()?;
        let (header, raw) = self.whole_frame().ok()??;
        (header.kind == kind::INDEX).then(|| payload::decode_index(&raw))
    }

    /// Reads headers only, passing over the payloads; keeps a bounded number of entries.
    fn scan(&mut self) -> Result<Vec<IndexEntry>, Error> {
        let (mut entries, mut stride, mut frames) = (Vec::new(), 1u64, 0u64);
        self.rewind()?;
        let failed = |name: &str, error: io::Error| {
            Error::failed(format!("cannot read the recording {name}: {}", in_words(&error)))
        };
        loop {
            let have = self.window.fill(HEADER_LEN).map_err(|error| failed(&self.name, error))?;
            if have < HEADER_LEN {
                return Ok(entries);
            }
            let marker = self.prelude.marker;
            let Some(header) = FrameHeader::decode(marker, self.window.ahead(HEADER_LEN)) else {
                self.window.skip_to(marker).map_err(|error| failed(&self.name, error))?;
                continue;
            };
            if header.kind == kind::RECORDS {
                if frames.is_multiple_of(stride) {
                    if entries.len() >= payload::INDEX_MAX {
                        let mut even = false;
                        entries.retain(|_| {
                            even = !even;
                            even
                        });
                        stride *= 2;
                    }
                    let (time_ns, ordinal) = (header.time_ns, header.ordinal);
                    entries.push(IndexEntry { offset: self.window.offset(), time_ns, ordinal });
                }
                frames += 1;
            }
            let len = HEADER_LEN + header.stored_len as usize;
            self.window.skip(len).map_err(|error| failed(&self.name, error))?;
        }
    }
}
