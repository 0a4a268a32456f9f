//! One aligned line per open, for people: the columns of the dashboard's event list, the path last and never cut.
//!
//! `TIME` is the local time of day of this machine. `RESULT` is the descriptor, the error's name, `ok` for a success
//! without a descriptor, or `?` where it could not be learnt. `FLAGS` are the letters of [`flags::letters`], which
//! `flags:` of the filter language takes too. `DUR` is `-` where the entry was not seen.
//! Behind the path may stand ` (truncated)` or ` (empty name)`; an unreadable name is `(unreadable)`; a path without a leading `/` is
//! relative to a directory that is not known.

use jiff::tz::TimeZone;
use probe_common::marks;
use unicode_width::UnicodeWidthStr;

use super::{
    Scratch, push_number,
    time::{Local, push_duration},
};
use crate::{errno, event::Event, flags, session::Session};

/// Widths of the columns before the path, in terminal cells.
const PID: usize = 7;
const COMM: usize = 15;
const RESULT: usize = 7;
const FLAGS: usize = 6;
const DUR: usize = 7;
const VIA: usize = 8;

/// Writes aligned lines.
#[derive(Clone, Debug)]
pub struct Text {
    wall_offset_ns: i64,
    clock: Local,
    scratch: Scratch,
}

/// Appends the header line.
pub fn header(out: &mut Vec<u8>) {
    out.extend_from_slice(b"TIME                PID COMM            RESULT  FLAGS      DUR VIA      PATH\n");
}

impl Text {
    /// A writer for the opens of `session`, with times of day of `zone`.
    #[must_use]
    pub fn new(session: &Session, zone: TimeZone) -> Self {
        Self { wall_offset_ns: session.wall_offset_ns, clock: Local::new(zone), scratch: Scratch::default() }
    }

    /// Appends one open with its line end.
    pub fn event(&mut self, out: &mut Vec<u8>, event: &Event<'_>) {
        let header = event.header();
        self.clock.push(out, i128::from(header.start_ns) + i128::from(self.wall_offset_ns));
        out.push(b' ');
        right(out, PID, |out| push_number(out, header.tgid));
        out.push(b' ');
        left(out, COMM, |out| self.scratch.push_escaped(out, event.comm()));
        out.push(b' ');
        left(out, RESULT, |out| push_result(out, event));
        out.push(b' ');
        left(out, FLAGS, |out| flags::push_letters(out, header.flags));
        out.push(b' ');
        right(out, DUR, |out| match event.duration_ns() {
            Some(ns) => push_duration(out, ns),
            None => out.push(b'-'),
        });
        out.push(b' ');
        left(out, VIA, |out| out.extend_from_slice(event.route().name().as_bytes()));
        out.push(b' ');
        self.scratch.with_path(event, |scratch, path, _| match path {
            Some(path) => scratch.push_escaped(out, path),
            None => out.extend_from_slice(b"(unreadable)"),
        });
        if event.name().is_empty() && !event.has(marks::NAME_UNREADABLE) && !event.has(marks::DIR_IS_FILE) {
            out.extend_from_slice(b" (empty name)");
        }
        if event.has(marks::NAME_TRUNCATED) {
            out.extend_from_slice(b" (truncated)");
        }
        out.push(b'\n');
    }
}

/// Appends how the open ended, as it stands in the column `RESULT`.
pub fn push_result(out: &mut Vec<u8>, event: &Event<'_>) {
    if event.has(marks::RESULT_UNKNOWN) {
        out.push(b'?');
    } else if let Some(errno) = event.errno() {
        errno::push(out, errno);
    } else if let Some(fd) = event.fd() {
        push_number(out, fd);
    } else {
        out.extend_from_slice(b"ok");
    }
}

/// Cells that the bytes from `start` on take. They are escaped text.
fn width(out: &[u8], start: usize) -> usize {
    let text = out.get(start..).unwrap_or_default();
    if text.is_ascii() { text.len() } else { std::str::from_utf8(text).map_or(text.len(), UnicodeWidthStr::width) }
}

/// Appends what `push` appends, filled up with blanks behind it.
pub(crate) fn left(out: &mut Vec<u8>, cells: usize, push: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    push(out);
    let missing = cells.saturating_sub(width(out, start));
    out.resize(out.len() + missing, b' ');
}

/// Appends what `push` appends, which is short, filled up with blanks before it.
pub(crate) fn right(out: &mut Vec<u8>, cells: usize, push: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    push(out);
    let missing = cells.saturating_sub(width(out, start));
    out.resize(out.len() + missing, b' ');
    if let Some(column) = out.get_mut(start..) {
        column.rotate_right(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{records, session};
    use super::*;
    use crate::{escape::escaped, event::RecordBuilder};
    use proptest::prelude::*;

    fn line(record: &[u8]) -> String {
        let mut out = Vec::new();
        Text::new(&session(), TimeZone::UTC).event(&mut out, &Event::decode(record).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_stand_under_their_names() {
        let mut head = Vec::new();
        header(&mut head);
        let mut builder = RecordBuilder::new(4242, "postgres", "base/1/2").dir("/var/lib/pg");
        builder.header.flags = (libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC) as u32;
        let mut shown = String::from_utf8(head).unwrap() + &line(&builder.build());
        shown += &line(&RecordBuilder::new(1, "größe", "/nö").errno(libc::ENOENT).build());
        builder.header.marks = marks::NO_ENTRY | marks::NAME_UNREADABLE;
        builder.header.ret = -libc::EFAULT;
        shown += &line(&builder.build());
        assert_eq!(
            shown,
            "\
TIME                PID COMM            RESULT  FLAGS      DUR VIA      PATH
03:04:06.000000    4242 postgres        3       rwce    1.00us openat   /var/lib/pg/base/1/2
03:04:06.000000       1 größe           ENOENT  r       1.00us openat   /nö
03:04:06.000000    4242 postgres        EFAULT  rwce         - openat   (unreadable)
"
        );
    }

    #[test]
    fn a_success_without_a_descriptor_is_ok() {
        let mut builder = RecordBuilder::new(1, "sh", "/bin/ls");
        builder.header.marks = marks::NO_FD;
        builder.header.route = probe_common::route::EXEC;
        assert!(line(&builder.build()).contains(" ok "));
        builder.header.marks = marks::RESULT_UNKNOWN;
        assert!(line(&builder.build()).contains(" ? "));
    }

    proptest! {
        #[test]
        fn the_path_is_last_and_whole(record in records()) {
            let event = Event::decode(&record).unwrap();
            let line = line(&record);
            let line = line.strip_suffix('\n').unwrap();
            let line = line.strip_suffix(" (truncated)").filter(|_| event.has(marks::NAME_TRUNCATED)).unwrap_or(line);
            let line = line.strip_suffix(" (empty name)").filter(|_| event.name().is_empty()).unwrap_or(line);
            let mut path = Vec::new();
            event.path_into(&mut path);
            let path = if event.has(marks::NAME_UNREADABLE) { "(unreadable)".to_owned() } else { escaped(&path) };
            prop_assert!(line.ends_with(&format!(" {path}")), "{line}");
        }
    }
}
