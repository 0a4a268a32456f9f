//! The errors a person can meet: what failed, why, and what to do next, with the exit code that goes with it.

use std::{fmt, process::ExitCode};

use crate::errno;

/// What kind of failure it is: decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something failed while running: exit code 1.
    Failed,
    /// The command line is wrong: exit code 2.
    Usage,
    /// This kernel can't: exit code 69 (`EX_UNAVAILABLE` of sysexits.h).
    Unsupported,
    /// Not permitted: exit code 77 (`EX_NOPERM` of sysexits.h).
    Denied,
    /// The command to run is there but cannot be run: exit code 126, as shells have it.
    NotExecutable,
    /// The command to run was not found: exit code 127, as shells have it.
    NotFound,
}

/// A failure in words for the person at the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind it is.
    pub kind: Kind,
    /// What failed, why, and what to do: sentences, no trailing newline, bytes from outside already escaped.
    pub message: String,
}

impl Error {
    /// A failure of `kind`, in words.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A run-time failure (exit code 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Unsupported => 69,
            Kind::Denied => 77,
            Kind::NotExecutable => 126,
            Kind::NotFound => 127,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// An error of the system in words, without Rust's " (os error 13)".
pub(crate) fn in_words(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => match nix::errno::Errno::from_raw(errno) {
            // One of the kernel's own, which the C library has no words for: ENOTSUPP of a hook that it has not, say.
            nix::errno::Errno::UnknownErrno => errno::name(errno).map_or_else(|| errno.to_string(), str::to_owned),
            known => known.desc().to_lowercase(),
        },
        None => error.to_string(),
    }
}
