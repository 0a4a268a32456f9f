//! Opens a recording: a file, a pipe, bytes in memory, or the one that comes with the program; and refuses, in sentences,
//! what is none.
//!
//! What is in it is read by [`super::reader`].

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::Path;

use super::format::{MAGIC, PRELUDE_LEN, Prelude, PreludeError, kind};
use super::payload::SessionFrame;
use super::reader::Reader;
use super::window::{Input, Window};
use crate::error::{Error, in_words};

/// The word for the recording that comes with the program.
pub const SAMPLE: &str = "sample";

/// A kprobe session of half a minute: a build, a service that looks for its configuration in vain, a busy loop. Made by
/// `cargo xtask demo --record`.
static SAMPLE_BYTES: &[u8] = include_bytes!("../../../assets/sample.otop");

/// A recording that is open and not read yet.
pub struct Unread {
    input: Input,
    name: String,
}

impl Unread {
    /// Reads the header.
    ///
    /// # Errors
    /// When it is no recording, is newer than this build, or its header is damaged.
    pub fn begin(self) -> Result<Reader, Error> {
        Reader::begin(self.input, &self.name)
    }
}

impl Reader {
    /// Opens a recording; `-` is the standard input, and [`SAMPLE`] the one that comes with the program, unless there is
    /// a file of that name.
    ///
    /// # Errors
    /// When it can't be opened, is no recording, is newer than this build, or its header is damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::unread(path)?.begin()
    }

    /// Opens a recording without reading a byte of it, for whoever has privileges to give up in between; `-` is stdin.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn unread(path: &Path) -> Result<Unread, Error> {
        if path.as_os_str() == "-" {
            return Ok(Unread { input: Input::Stream(Box::new(io::stdin())), name: "standard input".into() });
        }
        if path.as_os_str() == SAMPLE && !path.exists() {
            return Ok(Unread { input: Input::Seekable(Box::new(io::Cursor::new(SAMPLE_BYTES))), name: SAMPLE.into() });
        }
        let name = crate::escape::escaped(path.as_os_str().as_encoded_bytes());
        let failed =
            |error: io::Error| Error::failed(format!("cannot read the recording {name}: {}", in_words(&error)));
        let mut file = File::open(path).map_err(failed)?;
        // A pipe or a process substitution opens by name, too.
        let input = match file.stream_position() {
            Ok(_) => Input::Seekable(Box::new(file)),
            Err(_) => Input::Stream(Box::new(file)),
        };
        Ok(Unread { input, name })
    }

    /// Reads from anything that can only be read forwards. `name` is for messages.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn from_stream(stream: Box<dyn Read + Send>, name: &str) -> Result<Self, Error> {
        Self::begin(Input::Stream(stream), name)
    }

    /// Reads from bytes in memory. `name` is for messages.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn from_bytes(bytes: Vec<u8>, name: &str) -> Result<Self, Error> {
        Self::begin(Input::Seekable(Box::new(io::Cursor::new(bytes))), name)
    }

    fn begin(input: Input, name: &str) -> Result<Self, Error> {
        let refused = |why: String| Error::failed(format!("cannot read the recording {name}: {why}"));
        let decompressor = zstd::bulk::Decompressor::new().map_err(|error| refused(in_words(&error)))?;
        let mut reader = Self {
            window: Window::new(input),
            name: name.to_owned(),
            prelude: Prelude::new([0; 8]),
            session: SessionFrame::decode(&[]).unwrap_or_else(no_session),
            len: None,
            done: false,
            first_frame: 0,
            ordinal: 0,
            missing: 0,
            decompressor,
            waiting: None,
        };
        let io_failed = |error: io::Error| refused(in_words(&error));
        reader.len = reader.window.len();
        if reader.len.is_some() {
            reader.window.seek(0).map_err(io_failed)?;
        }
        let have = reader.window.fill(PRELUDE_LEN).map_err(io_failed)?;
        reader.prelude = Prelude::decode(reader.window.ahead(PRELUDE_LEN.min(have))).map_err(|error| {
            refused(match error {
                PreludeError::Junk if have == 0 => "it is empty".into(),
                PreludeError::Junk if MAGIC.starts_with(reader.window.ahead(have.min(MAGIC.len()))) => {
                    format!("it is cut off in its header, after {have} bytes")
                }
                PreludeError::Junk => "it is no opentop recording. `opentop -w FILE` makes one".into(),
                PreludeError::Damaged if have < PRELUDE_LEN => {
                    format!("it is cut off in its header, after {have} bytes")
                }
                PreludeError::Damaged => "its first 24 bytes are damaged, and nothing can be read without them".into(),
                PreludeError::NewerFormat(version) => format!(
                    "it has format version {version}, this opentop reads up to {}. A newer opentop reads it",
                    super::format::FORMAT_VERSION
                ),
                PreludeError::NewerRecords(version) => format!(
                    "its records have version {version}, this opentop reads up to {}. A newer opentop reads it",
                    probe_common::RECORD_VERSION
                ),
            })
        })?;
        reader.window.advance(PRELUDE_LEN);
        let damaged = || refused("its session header (at byte 24) is damaged or cut off".into());
        let (header, raw) = reader.whole_frame().map_err(io_failed)?.ok_or_else(damaged)?;
        reader.session = match header.kind {
            kind::SESSION => SessionFrame::decode(&raw).ok_or_else(damaged)?,
            _ => return Err(damaged()),
        };
        reader.first_frame = reader.window.offset();
        Ok(reader)
    }
}

/// Stands in until the session is read.
fn no_session() -> SessionFrame {
    SessionFrame {
        session: crate::session::Session {
            attach: crate::session::AttachKind::Kprobe,
            reason: String::new(),
            kernel: String::new(),
            hostname: String::new(),
            wall_offset_ns: 0,
            start_ns: 0,
            routes: Vec::new(),
            capture: String::new(),
            ring_bytes: 0,
        },
        part: 1,
        writer: String::new(),
    }
}
