//! What the command behind `--` writes while the dashboard has the screen: the end of it is kept, and shown afterwards.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use crate::error::Error;

/// Bytes kept.
const KEPT: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Kept {
    bytes: VecDeque<u8>,
    gone: u64,
}

/// The end of a command's output.
#[derive(Debug)]
pub(super) struct Tail {
    kept: Arc<Mutex<Kept>>,
}

/// A pipe that nobody reads yet: the end to read, and the end for the command. The command is forked while there is
/// one thread, so the reader starts later.
pub(super) fn pipe() -> Result<(PipeReader, OwnedFd), Error> {
    let (from, to) = io::pipe().map_err(failed)?;
    Ok((from, to.into()))
}

fn failed(error: io::Error) -> Error {
    Error::failed(format!("cannot take the command's output: {}", crate::error::in_words(&error)))
}

impl Tail {
    /// Starts to read.
    pub(super) fn start(mut from: PipeReader) -> Result<Self, Error> {
        let kept = Arc::<Mutex<Kept>>::default();
        let shared = Arc::clone(&kept);
        let read = move || {
            super::fault::point("tail");
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut chunk) {
                let Ok(mut kept) = shared.lock() else { return };
                kept.bytes.extend(chunk.get(..n).unwrap_or_default());
                let over = kept.bytes.len().saturating_sub(KEPT);
                kept.bytes.drain(..over);
                kept.gone += over as u64;
            }
        };
        std::thread::Builder::new().name("command output".into()).spawn(read).map_err(failed)?;
        Ok(Self { kept })
    }

    /// Writes what was kept to stderr, as the command would have.
    pub(super) fn show(self) {
        let Ok(mut kept) = self.kept.lock() else { return };
        let gone = kept.gone;
        let bytes = kept.bytes.make_contiguous();
        let mut err = io::stderr().lock();
        if gone > 0 {
            // Where stderr is gone there is nobody to tell.
            let _ = writeln!(err, "opentop: the command wrote {gone} bytes before these:");
        }
        let _ = err.write_all(bytes);
        if bytes.last().is_some_and(|last| *last != b'\n') {
            let _ = err.write_all(b"\n");
        }
    }
}
