//! How far a recording is read, on stderr, when that takes longer than a second.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Not a word before this much time has passed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two words where they stay: in a log.
const LOGGED: Duration = Duration::from_secs(10);

/// Between two words that replace each other: on a terminal.
const SHOWN: Duration = Duration::from_millis(250);

/// Says how far it is.
pub(super) struct Progress {
    terminal: bool,
    next: Instant,
    opens: u64,
    /// Something stands on the terminal.
    standing: bool,
}

impl Progress {
    pub(super) fn start() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, next: Instant::now() + PATIENCE, opens: 0, standing: false }
    }

    /// `opens` more were read; `read` bytes of `whole` are.
    pub(super) fn tick(&mut self, opens: usize, read: u64, whole: Option<u64>) {
        self.opens += opens as u64;
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + if self.terminal { SHOWN } else { LOGGED };
        let text = words(self.opens, read, whole);
        if self.terminal {
            self.standing = true;
            write(&format!("\r\x1b[K{text}"));
        } else {
            write(&format!("{text}\n"));
        }
    }

    /// Nothing more will be said: the terminal's line is for others.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.standing) {
            write("\r\x1b[K");
        }
        self.next = Instant::now() + Duration::from_secs(u32::MAX.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn words(opens: u64, read: u64, whole: Option<u64>) -> String {
    let opens = crate::numbers::thousands(opens);
    match whole.filter(|whole| *whole > 0) {
        Some(whole) => format!("opentop: {opens} opens read, {}%", read.min(whole) * 100 / whole),
        None => format!("opentop: {opens} opens read"),
    }
}

fn write(text: &str) {
    // Where stderr is gone there is nobody to tell.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_opens_and_in_parts_of_the_file_where_its_length_is_known() {
        assert_eq!(words(1_234_567, 50, Some(200)), "opentop: 1,234,567 opens read, 25%");
        assert_eq!(words(5, 50, Some(20)), "opentop: 5 opens read, 100%");
        assert_eq!(words(5, 50, None), "opentop: 5 opens read");
    }
}
