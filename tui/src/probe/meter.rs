//! What the probe itself costs: the time that its programs run, as the kernel measures it (`BPF_ENABLE_STATS`).
//!
//! Measuring costs a little at each run: it is switched on only while somebody looks.

use std::os::fd::{AsFd as _, OwnedFd};

use super::sys;
use crate::error::in_words;
use crate::source::ProbeCost;

/// The programs of a probe. Independent of it: what is held here are descriptors of its own.
#[derive(Debug)]
pub struct Meter {
    programs: Vec<OwnedFd>,
    /// The kernel measures for as long as this is open.
    on: Option<OwnedFd>,
}

impl Meter {
    pub(super) fn new(programs: Vec<OwnedFd>) -> Self {
        Self { programs, on: None }
    }

    /// Switches measuring on or off.
    ///
    /// # Errors
    /// In words, when the kernel refuses: it wants CAP_SYS_ADMIN and Linux 5.8.
    pub fn switch(&mut self, on: bool) -> Result<(), String> {
        self.on = None;
        if on {
            let stats = sys::enable_stats().map_err(|e| match e.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => {
                    "measuring it now takes --keep-privileges (CAP_SYS_ADMIN)".to_owned()
                }
                _ => format!("the kernel does not measure it: {}", in_words(&e)),
            })?;
            self.on = Some(stats);
        }
        Ok(())
    }

    /// What was measured so far, at `at_ns`; `None` while it is off.
    #[must_use]
    pub fn read(&self, at_ns: u64) -> Option<ProbeCost> {
        self.on.as_ref()?;
        let mut cost = ProbeCost { at_ns, ..ProbeCost::default() };
        for (ns, runs) in self.programs.iter().filter_map(|fd| sys::run_time(fd.as_fd()).ok()) {
            cost.ns += ns;
            cost.runs += runs;
            // One program of them runs at every open.
            cost.opens = cost.opens.max(runs);
        }
        Some(cost)
    }
}
