//! Opens as CSV: RFC 4180 (CRLF line ends, quotes where needed), a header row, the columns of the JSON lines.
//!
//! A column that does not apply is empty: `errno` of a success, `fd` of a failure, `mode` of an open that cannot create.
//! `flags` and `marks` hold several words, separated by `|`; `marks` are the keys that JSON has only when they apply.

use probe_common::marks;

use super::{
    Scratch,
    json::{MARKS, is_relative},
    push_hex, push_mode, push_number,
    time::Utc,
};
use crate::{errno, escape, event::Event, flags, session::Session};

/// The columns.
pub const COLUMNS: [&str; 17] = [
    "time",
    "pid",
    "tid",
    "ppid",
    "uid",
    "comm",
    "path",
    "name",
    "flags",
    "resolve",
    "mode",
    "fd",
    "errno",
    "duration_ns",
    "via",
    "cgroup_id",
    "marks",
];

/// Writes CSV rows.
#[derive(Clone, Debug)]
pub struct Csv {
    wall_offset_ns: i64,
    clock: Utc,
    scratch: Scratch,
}

/// Appends the header row.
pub fn header(out: &mut Vec<u8>) {
    for (i, name) in COLUMNS.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

impl Csv {
    /// A writer for the opens of `session`.
    #[must_use]
    pub fn new(session: &Session) -> Self {
        Self { wall_offset_ns: session.wall_offset_ns, clock: Utc::default(), scratch: Scratch::default() }
    }

    /// Appends one open with its line end.
    pub fn event(&mut self, out: &mut Vec<u8>, event: &Event<'_>) {
        let header = event.header();
        self.clock.push(out, i128::from(header.start_ns) + i128::from(self.wall_offset_ns));
        for value in [header.tgid, header.tid, header.ppid, header.uid] {
            out.push(b',');
            push_number(out, value);
        }
        out.push(b',');
        push_bytes(out, &mut self.scratch, event.comm());
        out.push(b',');
        self.scratch.with_path(event, |scratch, path, name| {
            push_bytes(out, scratch, path.unwrap_or_default());
            out.push(b',');
            push_bytes(out, scratch, name.unwrap_or_default());
        });
        out.push(b',');
        let start = out.len();
        let rest = flags::names(header.flags, |name| push_word(out, start, name));
        if rest != 0 {
            // There is always an access mode or O_PATH before it.
            out.push(b'|');
            push_hex(out, rest);
        }
        out.push(b',');
        let known = flags::RESOLVE.iter().fold(0, |all, (bit, _)| all | bit);
        let resolve = flags::RESOLVE.iter().filter(|(bit, _)| header.resolve & bit != 0).map(|(_, name)| *name);
        push_words(out, resolve, header.resolve & !known);
        out.push(b',');
        if flags::creates(header.flags) {
            push_mode(out, header.mode);
        }
        out.push(b',');
        if let Some(fd) = event.fd() {
            push_number(out, fd);
        }
        out.push(b',');
        if let Some(errno) = event.errno().filter(|_| !event.has(marks::RESULT_UNKNOWN)) {
            errno::push(out, errno);
        }
        out.push(b',');
        if let Some(ns) = event.duration_ns() {
            push_number(out, ns);
        }
        out.push(b',');
        out.extend_from_slice(event.route().name().as_bytes());
        out.push(b',');
        push_number(out, header.cgroup_id);
        out.push(b',');
        let marks = MARKS.iter().filter(|(mark, _)| event.has(*mark)).map(|(_, name)| *name);
        let relative = is_relative(event).then_some("relative");
        let unknown = event.has(marks::RESULT_UNKNOWN).then_some("result_unknown");
        push_words(out, relative.into_iter().chain(marks).chain(unknown), 0);
        out.extend_from_slice(b"\r\n");
    }
}

fn push_words<'a>(out: &mut Vec<u8>, words: impl Iterator<Item = &'a str>, rest: u32) {
    let start = out.len();
    words.for_each(|word| push_word(out, start, word));
    if rest != 0 {
        if out.len() > start {
            out.push(b'|');
        }
        push_hex(out, rest);
    }
}

fn push_word(out: &mut Vec<u8>, start: usize, word: &str) {
    if out.len() > start {
        out.push(b'|');
    }
    out.extend_from_slice(word.as_bytes());
}

/// Appends bytes as one field, escaped.
fn push_bytes(out: &mut Vec<u8>, scratch: &mut Scratch, bytes: &[u8]) {
    // What neither the escaper nor CSV changes.
    let special = bytes.iter().fold(false, |found, b| found | (*b == b'"') | (*b == b',') | (*b == b' '));
    if special || !escape::is_plain(bytes) {
        push_field(out, scratch.escape(bytes));
    } else {
        out.extend_from_slice(bytes);
    }
}

/// Appends text as one field, in quotes where a reader needs them. A space at either end is quoted too: some trim it.
pub(crate) fn push_field(out: &mut Vec<u8>, text: &str) {
    let bare = !text.bytes().any(|b| matches!(b, b'"' | b',' | b'\r' | b'\n')) && text.trim().len() == text.len();
    if bare {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Reads CSV back, for tests.
#[cfg(test)]
pub(crate) fn read(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let field = rows.last_mut().unwrap().last_mut().unwrap();
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.push(chars.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => rows.last_mut().unwrap().push(String::new()),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                rows.push(vec![String::new()]);
            }
            _ => field.push(c),
        }
    }
    assert_eq!(rows.pop(), Some(vec![String::new()]), "the last line has an end");
    rows
}

#[cfg(test)]
mod tests {
    use super::super::{
        Format,
        tests::{line, records},
    };
    use super::*;
    use crate::{escape::escaped, event::RecordBuilder};
    use proptest::prelude::*;

    #[test]
    fn a_row_fits_the_header() {
        let mut builder = RecordBuilder::new(42, "a,b", "say \"hi\"").dir("/home/u");
        builder.header.flags = (libc::O_WRONLY | libc::O_CREAT) as u32;
        builder.header.mode = 0o600;
        let row = "2026-01-02T03:04:06.000000000Z,42,42,1,0,\"a,b\",\"/home/u/say \"\"hi\"\"\",\"say \"\"hi\"\"\",\
                   O_WRONLY|O_CREAT,,0600,3,,1000,openat,0,\r\n";
        assert_eq!(line(Format::Csv, &builder.build()), row);
        let mut out = Vec::new();
        header(&mut out);
        assert_eq!(read(&String::from_utf8(out).unwrap())[0], COLUMNS);
    }

    proptest! {
        #[test]
        fn what_is_read_back_is_the_event(record in records()) {
            let event = Event::decode(&record).unwrap();
            let rows = read(&line(Format::Csv, &record));
            prop_assert_eq!(rows.len(), 1);
            let row = &rows[0];
            prop_assert_eq!(row.len(), COLUMNS.len());
            prop_assert_eq!(&row[1], &event.header().tgid.to_string());
            prop_assert_eq!(&row[5], &escaped(event.comm()));
            if !event.has(marks::NAME_UNREADABLE) {
                let mut path = Vec::new();
                event.path_into(&mut path);
                prop_assert_eq!(&row[6], &escaped(&path));
            }
            prop_assert_eq!(&row[11], &event.fd().map(|fd| fd.to_string()).unwrap_or_default());
            prop_assert_eq!(&row[13], &event.duration_ns().map(|ns| ns.to_string()).unwrap_or_default());
            prop_assert_eq!(&row[15], &event.header().cgroup_id.to_string());
        }
    }
}
