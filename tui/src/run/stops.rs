//! A dashboard that is stopped and goes on by signals: SIGTSTP from another process than the terminal, and SIGCONT.

use std::io;

use nix::sys::signal::Signal as Of;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, in_words};

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is to stop, as by Ctrl-Z.
    Wanted,
    /// It was stopped and goes on: the terminal may be the shell's now.
    Over,
}

/// Waits for either.
#[derive(Debug)]
pub(super) struct Stops {
    wanted: Option<Signal>,
    over: Option<Signal>,
}

impl Stops {
    /// Watches from now on; `on_terminal`: whether there is a terminal to give back, or the kernel may stop it.
    ///
    /// # Errors
    /// When the signals cannot be watched.
    pub(super) fn watch(on_terminal: bool) -> Result<Self, Error> {
        let watch = |of: Of| {
            let watched = signal(SignalKind::from_raw(of as libc::c_int));
            watched.map(Some).map_err(|e: io::Error| {
                Error::failed(format!("cannot watch for the signals that stop it: {}", in_words(&e)))
            })
        };
        if !on_terminal {
            return Ok(Self { wanted: None, over: None });
        }
        // Where a shell has no jobs it is ignored, for nobody would continue it.
        let wanted = if super::signals::ignored(Of::SIGTSTP as libc::c_int) { None } else { watch(Of::SIGTSTP)? };
        Ok(Self { wanted, over: watch(Of::SIGCONT)? })
    }

    /// The next; never, where none are watched.
    pub(super) async fn next(&mut self) -> Stop {
        async fn received(signal: &mut Option<Signal>) {
            if let Some(signal) = signal
                && signal.recv().await.is_some()
            {
                return;
            }
            std::future::pending().await
        }
        tokio::select! {
            biased;
            () = received(&mut self.wanted) => Stop::Wanted,
            () = received(&mut self.over) => Stop::Over,
        }
    }
}
