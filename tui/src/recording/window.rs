//! What lies ahead in a recording: a window over a file, a pipe or memory, from which frames are taken.
//!
//! Grows to one frame at most; what is taken makes room for the next.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes asked from the input at a time.
const READ_BYTES: usize = 64 * 1024;

/// What a file and bytes in memory have in common.
pub(super) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// Where the bytes come from.
pub(super) enum Input {
    Seekable(Box<dyn ReadSeek>),
    Stream(Box<dyn Read + Send>),
}

/// Bytes read and not yet taken.
pub(super) struct Window {
    input: Input,
    /// The first one that is not taken is at `offset` of the file.
    bytes: Vec<u8>,
    /// Bytes at the beginning that are taken already.
    taken: usize,
    offset: u64,
    eof: bool,
}

impl Window {
    pub(super) fn new(input: Input) -> Self {
        Self { input, bytes: Vec::new(), taken: 0, offset: 0, eof: false }
    }

    /// Where the next byte is in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where what was read so far ends.
    pub(super) fn end(&self) -> u64 {
        self.offset + (self.bytes.len() - self.taken) as u64
    }

    pub(super) fn can_seek(&self) -> bool {
        matches!(self.input, Input::Seekable(_))
    }

    /// Bytes of the whole file, where that can be known. The next byte is another one then: to be followed by
    /// [`Window::seek`].
    pub(super) fn len(&mut self) -> Option<u64> {
        match &mut self.input {
            Input::Seekable(input) => input.seek(SeekFrom::End(0)).ok(),
            Input::Stream(_) => None,
        }
    }

    /// Goes to a place; false when it can only go forwards.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<bool> {
        let Input::Seekable(input) = &mut self.input else { return Ok(false) };
        input.seek(SeekFrom::Start(offset))?;
        self.bytes.clear();
        (self.taken, self.offset, self.eof) = (0, offset, false);
        Ok(true)
    }

    /// Up to `len` bytes that lie ahead.
    pub(super) fn ahead(&self, len: usize) -> &[u8] {
        let rest = self.bytes.get(self.taken..).unwrap_or_default();
        rest.get(..len).unwrap_or(rest)
    }

    /// `len` bytes that lie ahead behind the first `skip`; `None` when they were not read.
    pub(super) fn behind(&self, skip: usize, len: usize) -> Option<&[u8]> {
        self.bytes.get(self.taken + skip..self.taken + skip + len)
    }

    pub(super) fn advance(&mut self, len: usize) {
        let len = len.min(self.bytes.len() - self.taken);
        self.taken += len;
        self.offset += len as u64;
    }

    /// Reads until at least `len` bytes lie ahead, or the end is reached; how many do.
    pub(super) fn fill(&mut self, len: usize) -> io::Result<usize> {
        if self.taken >= READ_BYTES.max(self.bytes.len() / 2) || self.taken == self.bytes.len() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        while !self.eof && self.bytes.len() - self.taken < len {
            let old = self.bytes.len();
            self.bytes.resize(old + READ_BYTES, 0);
            let Some(space) = self.bytes.get_mut(old..) else { break };
            let read = match &mut self.input {
                Input::Seekable(input) => input.read(space),
                Input::Stream(input) => input.read(space),
            };
            match read {
                Ok(read) => {
                    self.bytes.truncate(old + read);
                    self.eof = read == 0;
                }
                Err(error) => {
                    self.bytes.truncate(old);
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(self.bytes.len() - self.taken)
    }

    /// Passes over `len` bytes, or as many as there are.
    pub(super) fn skip(&mut self, len: usize) -> io::Result<()> {
        let have = self.fill(len)?;
        self.advance(len.min(have));
        Ok(())
    }

    /// Skips at least one byte, and on to the next `marker` or the end.
    pub(super) fn skip_to(&mut self, marker: [u8; 8]) -> io::Result<()> {
        self.advance(1);
        loop {
            let have = self.fill(READ_BYTES)?;
            if let Some(at) = self.find(marker, 0) {
                self.advance(at);
                return Ok(());
            }
            if self.eof {
                self.advance(have);
                return Ok(());
            }
            // A marker may begin in the last bytes.
            self.advance(have.saturating_sub(marker.len() - 1).max(1));
        }
    }

    /// Where `marker` comes next in what was read, from `from` on.
    pub(super) fn find(&self, marker: [u8; 8], from: usize) -> Option<usize> {
        let ahead = self.bytes.get(self.taken + from..)?;
        ahead.windows(marker.len()).position(|bytes| bytes == marker).map(|at| at + from)
    }
}
