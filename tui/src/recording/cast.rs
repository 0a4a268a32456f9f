//! Writes asciicast v3: the screen as asciinema plays it.
//!
//! One event per frame, flushed, so that a crash leaves a cast that plays. What was typed is never in it. Times come from
//! the caller: the same frames at the same times give the same bytes. (Format: docs.asciinema.org, "asciicast v3".)

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

/// Writes one cast.
#[derive(Debug)]
pub struct CastWriter<W: Write> {
    out: W,
    /// Time of the previous event, µs since the beginning: intervals are differences of rounded times, so that
    /// rounding never adds up.
    at_us: u64,
    /// The beginning of a character whose end is in the next frame.
    rest: Vec<u8>,
    line: String,
}

impl<W: Write> CastWriter<W> {
    /// Writes the header. `timestamp`: seconds since 1970 of the beginning; `None` leaves it out.
    ///
    /// # Errors
    /// When writing fails.
    pub fn new(out: W, (columns, rows): (u16, u16), timestamp: Option<i64>, title: &str) -> io::Result<Self> {
        let mut cast = Self { out, at_us: 0, rest: Vec::new(), line: String::new() };
        let _ = write!(cast.line, r#"{{"version":3,"term":{{"cols":{columns},"rows":{rows},"type":"xterm-256color"}}"#);
        if let Some(timestamp) = timestamp {
            let _ = write!(cast.line, r#","timestamp":{timestamp}"#);
        }
        if !title.is_empty() {
            cast.line.push_str(r#","title":"#);
            push_json(&mut cast.line, title);
        }
        cast.line.push('}');
        cast.end_line()?;
        Ok(cast)
    }

    /// What was written to the terminal at `at` (since the beginning): one event, none when it is no whole character.
    ///
    /// # Errors
    /// When writing fails.
    pub fn frame(&mut self, at: Duration, bytes: &[u8]) -> io::Result<()> {
        self.rest.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.rest);
        // A character may be torn by the end of a write. Bytes that can't become one are shown as what they are.
        let whole = held.len() - torn_tail(&held);
        let (text, tail) = held.split_at(whole);
        self.rest.extend_from_slice(tail);
        match text {
            [] => Ok(()),
            text => self.event(at, 'o', &String::from_utf8_lossy(text)),
        }
    }

    /// The terminal has a new size from `at` on.
    ///
    /// # Errors
    /// When writing fails.
    pub fn resize(&mut self, at: Duration, (columns, rows): (u16, u16)) -> io::Result<()> {
        self.event(at, 'r', &format!("{columns}x{rows}"))
    }

    /// A place to jump to, with a label.
    ///
    /// # Errors
    /// When writing fails.
    pub fn marker(&mut self, at: Duration, label: &str) -> io::Result<()> {
        self.event(at, 'm', label)
    }

    /// The end, with the exit status.
    ///
    /// # Errors
    /// When writing fails.
    pub fn exit(&mut self, at: Duration, status: u8) -> io::Result<()> {
        self.event(at, 'x', &status.to_string())
    }

    fn event(&mut self, at: Duration, code: char, data: &str) -> io::Result<()> {
        // A clock that goes back does not make an interval below 0.
        let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX).max(self.at_us);
        let interval = at_us - self.at_us;
        let _ = write!(self.line, r#"[{}.{:06}, "{code}", "#, interval / 1_000_000, interval % 1_000_000);
        push_json(&mut self.line, data);
        self.line.push(']');
        self.end_line()?;
        self.at_us = at_us;
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.push('\n');
        let written = self.out.write_all(self.line.as_bytes()).and_then(|()| self.out.flush());
        self.line.clear();
        written
    }
}

/// Bytes at the end that begin a character and lack its end.
fn torn_tail(bytes: &[u8]) -> usize {
    match bytes.utf8_chunks().last() {
        Some(chunk) => match std::str::from_utf8(chunk.invalid()) {
            Err(error) if error.error_len().is_none() => chunk.invalid().len(),
            _ => 0,
        },
        None => 0,
    }
}

fn push_json(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' || c == '\x7f' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(bytes: &[u8]) -> Vec<serde_json::Value> {
        bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
    }

    #[test]
    fn a_cast_has_its_header_and_one_event_per_frame() {
        let mut out = Vec::new();
        let mut cast = CastWriter::new(&mut out, (100, 34), Some(1_700_000_000), "a \"demo\"").unwrap();
        cast.frame(Duration::from_micros(1_500), b"\x1b[2J\x1b[Hgr\xc3\xbc").unwrap();
        cast.resize(Duration::from_millis(500), (80, 24)).unwrap();
        cast.marker(Duration::from_millis(500), "filter").unwrap();
        cast.exit(Duration::from_secs(2), 0).unwrap();
        let all = lines(&out);
        assert_eq!(all[0]["version"], 3);
        assert_eq!((&all[0]["term"]["cols"], &all[0]["title"]), (&100.into(), &"a \"demo\"".into()));
        assert_eq!(all[1], serde_json::json!([0.0015, "o", "\u{1b}[2J\u{1b}[Hgrü"]));
        assert_eq!(all[2], serde_json::json!([0.4985, "r", "80x24"]));
        assert_eq!(all[3], serde_json::json!([0.0, "m", "filter"]));
        assert_eq!(all[4], serde_json::json!([1.5, "x", "0"]));
    }

    proptest! {
        #[test]
        fn text_torn_anywhere_comes_out_whole(text in any::<String>(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5)) {
            let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).chain([0, text.len()]).collect();
            at.sort_unstable();
            let mut out = Vec::new();
            let mut cast = CastWriter::new(&mut out, (1, 1), None, "").unwrap();
            for (n, pair) in at.windows(2).enumerate() {
                cast.frame(Duration::from_millis(n as u64), &text.as_bytes()[pair[0]..pair[1]]).unwrap();
            }
            let whole: String = lines(&out)[1..].iter().map(|event| event[2].as_str().unwrap().to_owned()).collect();
            prop_assert_eq!(whole, text);
        }
    }
}
