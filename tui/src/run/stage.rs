//! Where frames go: the terminal, the cast of `--cast`, or both. Frames are the same in either.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::output;
use super::user::Invoker;
use super::{screen::Screen, terminal::Output};
use crate::app::{App, Mode, Page, Tab};
use crate::error::{Error, in_words};
use crate::escape::Escaped;
use crate::recording::cast::CastWriter;
use crate::view;

/// A player shows a cursor where the last write ended: it is hidden with the first frame.
const HIDE_CURSOR: &[u8] = b"\x1b[?25l";

/// Least time between two frames: 20 a second.
pub(super) const FRAME: Duration = Duration::from_millis(50);

/// Bytes a second that a cast grows by, on average: a busy minute stays below 1.5 MB. What a busy screen
/// costs is paid in fewer frames; a key is answered at once all the same.
const BYTES_KEPT: f64 = 22_000.0;

/// Bytes that a cast has for one ESC beyond that itself: `\u001b`.
const ESC_MORE: usize = 5;

/// Most time between two frames of a cast while there is something new.
const SLOWEST: Duration = Duration::from_secs(1);

/// A cast in the making. After a failed write nothing more is written: what is in the file plays.
#[derive(Debug)]
pub(super) struct Cast {
    writer: CastWriter<File>,
    name: String,
    failed: Option<io::Error>,
    started: bool,
}

impl Cast {
    /// Makes the file, as the user who called sudo. `timestamp`: seconds since 1970 of the beginning.
    pub(super) fn create(
        path: &Path,
        invoker: Option<&Invoker>,
        size: (u16, u16),
        timestamp: Option<i64>,
    ) -> Result<Self, Error> {
        Self::begin(output::create(path, invoker)?, path, size, timestamp)
    }

    /// Begins in a file that is open; `path` is for messages.
    pub(super) fn begin(file: File, path: &Path, size: (u16, u16), timestamp: Option<i64>) -> Result<Self, Error> {
        let name = Escaped(path.as_os_str().as_encoded_bytes()).to_string();
        let writer = CastWriter::new(file, size, timestamp, "opentop").map_err(|e| cannot_write(&name, &e))?;
        Ok(Self { writer, name, failed: None, started: false })
    }

    fn write(&mut self, what: impl FnOnce(&mut CastWriter<File>) -> io::Result<()>) {
        if self.failed.is_none() {
            self.failed = what(&mut self.writer).err();
        }
    }

    fn frame(&mut self, at: Duration, bytes: &[u8]) {
        if std::mem::replace(&mut self.started, true) {
            return self.write(|writer| writer.frame(at, bytes));
        }
        self.write(|writer| writer.frame(at, &[HIDE_CURSOR, bytes].concat()));
    }
}

fn cannot_write(name: &str, error: &io::Error) -> Error {
    let error = in_words(error);
    Error::failed(format!("cannot write the cast {name}: {error}; what is in it so far plays; choose another file"))
}

/// Both ways of a frame.
#[derive(Debug)]
struct Tee {
    terminal: Option<Output>,
    cast: Option<Cast>,
    /// Since the beginning.
    at: Duration,
    /// Bytes of the last frame as a cast has them.
    bytes: usize,
}

impl Write for Tee {
    /// One frame, whole.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        if let Some(terminal) = &mut self.terminal {
            terminal.write_all(frame)?;
        }
        self.bytes = frame.len() + ESC_MORE * frame.iter().filter(|byte| **byte == b'\x1b').count();
        if let Some(cast) = &mut self.cast {
            cast.frame(self.at, frame);
        }
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a marker tells the change of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    view: &'static str,
    filter: String,
    paused: bool,
}

impl Seen {
    fn of(app: &App) -> Self {
        let view = match (&app.page, app.tab) {
            (Some(Page::Process(_)), _) => "process",
            (Some(Page::Event(_)), _) => "open",
            (None, tab @ (Tab::Live | Tab::Files | Tab::Failures | Tab::Latency | Tab::Health)) => tab.name(),
        };
        let still = app.replay.as_ref().is_some_and(|replay| !replay.position.playing);
        let filter = app.filter().map(|filter| filter.text().to_owned()).unwrap_or_default();
        Self { view, filter, paused: app.frozen.is_some() || still }
    }

    /// What is different since `before`, in words.
    fn since(&self, before: &Self) -> Vec<String> {
        let mut words = Vec::new();
        if self.view != before.view {
            words.push(format!("view {}", self.view));
        }
        if self.filter != before.filter {
            let text = Escaped(self.filter.as_bytes());
            words.push(if self.filter.is_empty() { "no filter".to_owned() } else { format!("filter {text}") });
        }
        if self.paused != before.paused {
            words.push(if self.paused { "paused" } else { "goes on" }.to_owned());
        }
        words
    }
}

/// The screen with everything it goes to.
#[derive(Debug)]
pub(super) struct Stage {
    screen: Screen<Tee>,
    size: (u16, u16),
    seen: Option<Seen>,
    /// Somebody else makes a cast of the terminal.
    filmed: bool,
}

impl Stage {
    /// A stage of so many columns and rows, on the terminal or not.
    pub(super) fn new(on_terminal: bool, cast: Option<Cast>, (columns, rows): (u16, u16)) -> Self {
        let tee = Tee { terminal: on_terminal.then_some(Output), cast, at: Duration::ZERO, bytes: 0 };
        Self { screen: Screen::new(tee, columns, rows), size: (columns, rows), seen: None, filmed: false }
    }

    /// Somebody else makes a cast of the terminal: its frames have the same budget.
    pub(super) fn is_filmed(&mut self) {
        self.filmed = true;
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (u16, u16) {
        self.size
    }

    /// The next frame is drawn anew.
    pub(super) fn repaint(&mut self) {
        self.screen.repaint();
    }

    /// Another size, from `at` (since the beginning) on.
    pub(super) fn resize(&mut self, at: Duration, (columns, rows): (u16, u16)) {
        if (columns, rows) != self.size {
            self.size = (columns, rows);
            if let Some(cast) = &mut self.screen.writer().cast {
                cast.write(|writer| writer.resize(at, (columns, rows)));
            }
        }
        self.screen.resize(columns, rows);
    }

    /// Puts a marker into the cast.
    pub(super) fn mark(&mut self, at: Duration, label: &str) {
        if let Some(cast) = &mut self.screen.writer().cast {
            cast.write(|writer| writer.marker(at, label));
        }
    }

    /// Draws a frame, at `at` since the beginning; where the view, the filter or a pause changed, a marker before it. Gives
    /// how long there is to be no other one.
    ///
    /// # Errors
    /// When the terminal cannot be written to, or the cast where there is no terminal.
    pub(super) fn draw(&mut self, at: Duration, app: &App) -> Result<Duration, Error> {
        // A filter being typed is none yet.
        if !matches!(app.mode, Mode::Prompt(_)) {
            let now = Seen::of(app);
            for label in self.seen.as_ref().map(|before| now.since(before)).unwrap_or_default() {
                self.mark(at, &label);
            }
            self.seen = Some(now);
        }
        let tee = self.screen.writer();
        (tee.at, tee.bytes) = (at, 0);
        self.screen
            .frame(|buf| view::draw(app, buf))
            .map_err(|e| Error::failed(format!("cannot write to the terminal: {}", in_words(&e))))?;
        let tee = self.screen.writer();
        match &mut tee.cast {
            // With nobody to see the dashboard, it is for the cast alone.
            Some(cast) if tee.terminal.is_none() => {
                if let Some(error) = cast.failed.take() {
                    return Err(cannot_write(&cast.name, &error));
                }
            }
            _ => {}
        }
        let kept = self.filmed || tee.cast.is_some();
        let pause = Duration::from_secs_f64(tee.bytes as f64 / BYTES_KEPT).min(SLOWEST);
        Ok(if kept { FRAME.max(pause) } else { FRAME })
    }

    /// Ends the cast with an exit status.
    ///
    /// # Errors
    /// When the cast could not be written, now or before.
    pub(super) fn finish(&mut self, at: Duration, status: u8) -> Result<(), Error> {
        let Some(cast) = &mut self.screen.writer().cast else { return Ok(()) };
        cast.write(|writer| writer.exit(at, status));
        cast.failed.take().map_or(Ok(()), |error| Err(cannot_write(&cast.name, &error)))
    }
}
