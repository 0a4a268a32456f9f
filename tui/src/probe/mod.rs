//! (in the making: the signatures only)

use crate::{
    error::{Error, Kind},
    session::{AttachKind, Session},
};

/// What to capture and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The one way to attach; `None` for the first that works.
    pub attach: Option<AttachKind>,
    /// Size of the ring, bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Which processes.
    pub scope: Scope,
    /// Only opens by this user.
    pub uid: Option<u32>,
    /// Only opens that failed.
    pub failed: bool,
    /// The probe's own log, down to this level.
    pub log: Option<log::Level>,
}

impl Default for Options {
    fn default() -> Self {
        Self { attach: None, ring_bytes: 8 << 20, scope: Scope::All, uid: None, failed: false, log: None }
    }
}

/// Which processes to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// These, and their descendants.
    Pids(Vec<u32>),
}

/// The probe, attached.
#[derive(Debug)]
pub struct Probe {
    session: Session,
}

impl Probe {
    /// Loads and attaches it.
    ///
    /// # Errors
    /// When this kernel can't, or the privileges are missing.
    pub fn start(_: &Options) -> Result<Self, Error> {
        Err(Error::new(Kind::Unsupported, "this build has no probe yet"))
    }

    /// Sends the probe's own log lines to `logger`.
    ///
    /// # Errors
    /// When it has no log.
    pub fn log_into(&mut self, _: Box<dyn log::Log>) -> Result<(), Error> {
        Ok(())
    }

    /// What it sees.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}
