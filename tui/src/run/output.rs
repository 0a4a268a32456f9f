//! Where lines go: stdout or the file of `-o`. One write per batch, and a closed pipe is an end, not an error.

use std::{
    fs::File,
    io::{self, ErrorKind, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::signals;
use super::user::{Invoker, as_invoker};
pub(super) use crate::error::in_words;
use crate::{error::Error, escape::Escaped};

/// Whether something that was to be written was let go, for nobody read it.
static DROPPED: AtomicBool = AtomicBool::new(false);

/// Notes that something was let go.
pub(super) fn drop_it() {
    DROPPED.store(true, Ordering::SeqCst);
}

/// Whether something was let go.
pub(super) fn dropped() -> bool {
    DROPPED.load(Ordering::SeqCst)
}

/// An open output.
pub(super) struct Output {
    file: File,
    /// A file of a disk takes what is written whether somebody reads or not.
    regular: bool,
    /// For messages.
    name: String,
}

/// Whether the reader of the output is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Present,
    Gone,
}

impl Output {
    /// Opens `path`, or stdout without one or for `-`. The file is created, or emptied, with the rights of the user
    /// who called sudo, and so belongs to that user.
    pub(super) fn open(path: Option<&Path>, invoker: Option<&Invoker>) -> Result<Self, Error> {
        let path = match path {
            Some(path) if path != Path::new("-") => path,
            _ => return Self::stdout(),
        };
        let name = Escaped(path.as_os_str().as_encoded_bytes()).to_string();
        Ok(Self::of(create(path, invoker)?, name))
    }

    fn stdout() -> Result<Self, Error> {
        // A descriptor of our own: std's stdout would look for line ends in every batch.
        let fd: OwnedFd = io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| Error::failed(format!("stdout cannot be used: {}", in_words(&e))))?;
        Ok(Self::of(fd.into(), "stdout".into()))
    }

    fn of(file: File, name: String) -> Self {
        let regular = file.metadata().is_ok_and(|meta| meta.is_file());
        Self { file, regular, name }
    }

    /// Whether the end was asked for and nobody reads: the rest ends in order without its lines.
    pub(super) fn is_given_up(&self) -> bool {
        !self.regular && signals::output_is_given_up()
    }

    /// Writes all of `bytes`.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<Reader, Error> {
        while !bytes.is_empty() {
            if self.is_given_up() {
                drop_it();
                break;
            }
            match self.file.write(bytes) {
                Ok(0) => return Err(cannot_write(&self.name, &ErrorKind::WriteZero.into(), None)),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(Reader::Gone),
                // Whoever shares the descriptor may have made it non-blocking (a terminal under node, say).
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(&mut fds, PollTimeout::NONE);
                }
                Err(e) => return Err(cannot_write(&self.name, &e, None)),
            }
        }
        Ok(Reader::Present)
    }
}

/// Creates `path`, or empties it, with the rights of the user who called sudo.
pub(super) fn create(path: &Path, invoker: Option<&Invoker>) -> Result<File, Error> {
    let open = || {
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            // A link that somebody else has put there must not lead the write astray.
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NOCTTY)
            .open(path)
    };
    let name = Escaped(path.as_os_str().as_encoded_bytes());
    as_invoker(invoker, open)?.map_err(|e| cannot_write(&name.to_string(), &e, invoker))
}

fn cannot_write(name: &str, error: &io::Error, invoker: Option<&Invoker>) -> Error {
    let what_to_do = match error.raw_os_error() {
        Some(libc::ELOOP) => "opentop follows no links when it writes: name the file itself".into(),
        Some(libc::ENOSPC | libc::EDQUOT) => "make room, or write elsewhere".into(),
        Some(libc::ENOENT) => "create its directory first".into(),
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => match invoker {
            Some(user) => {
                format!("it was tried as {}, who called sudo: choose a place that user may write to", user.name)
            }
            None => "choose a place you may write to".into(),
        },
        _ => "choose another file".into(),
    };
    Error::failed(format!("cannot write to {name}: {}; {what_to_do}", in_words(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_said_in_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/such\x1b[31m/file");
        let message = Output::open(Some(&missing), None).err().unwrap().message;
        assert!(message.contains(r"such\x1b[31m/file: no such file or directory; create its directory"), "{message}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let message = Output::open(Some(&link), None).err().unwrap().message;
        assert!(message.contains("follows no links"), "{message}");
    }

    #[test]
    fn only_what_somebody_has_to_read_is_ever_given_up() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Output::open(Some(&dir.path().join("lines")), None).unwrap().regular);
        assert!(!Output::open(Some(Path::new("/dev/full")), None).unwrap().regular);
        let (_reader, writer) = nix::unistd::pipe().unwrap();
        assert!(!Output::of(writer.into(), "a pipe".into()).regular);
    }

    #[test]
    fn a_full_disk_is_an_error_and_not_a_lost_line() {
        let mut full = Output::open(Some(Path::new("/dev/full")), None).unwrap();
        let message = full.write(b"line\n").err().unwrap().message;
        assert!(message.contains("make room"), "{message}");
    }

    #[test]
    fn a_closed_pipe_is_an_end_and_not_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut output = Output::of(File::from(OwnedFd::from(writer)), "pipe".into());
        assert_eq!(output.write(b"line\n").unwrap(), Reader::Gone);
    }
}
