//! The page of an open: every field of its record, and the bytes of its name.

use probe_common::marks;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::text::{self, errno_name, thousands};
use super::texts::{self, Column, inside};
use super::theme::Theme;
use super::{frame, lines, stacks};
use crate::app::App;
use crate::escape::escaped;
use crate::event::Event;

/// Draws the page of an open.
pub(super) fn draw(app: &App, record: &[u8], theme: &Theme, outer: Rect, buf: &mut Buffer) {
    frame::around(buf, outer, theme.faint(), app.settings.look.ascii);
    frame::titles(buf, outer, &[(" Open ", theme.accent())], &[(" Enter: its process · Esc goes back ", theme.dim())]);
    texts::draw(app, theme, &columns(app, record, theme, outer), outer, buf);
}

/// Its text.
pub(super) fn columns<'a>(app: &App, record: &[u8], theme: &Theme, outer: Rect) -> Vec<Column<'a>> {
    let inner = inside(outer);
    let fields = Event::decode(record).map(|event| fields(app, &event, theme, usize::from(inner.width)));
    vec![(inner, fields.unwrap_or_default())]
}

fn fields<'a>(app: &App, event: &Event<'_>, theme: &Theme, columns: usize) -> Vec<Line<'a>> {
    let header = event.header();
    let mut path = Vec::new();
    event.path_into(&mut path);
    let mut out = Vec::new();
    let room = columns.saturating_sub(13).max(8);
    // Long values go on in the next line: here everything is shown.
    let add = |out: &mut Vec<Line<'a>>, word: &str, value: &str, style| {
        let mut rest = value;
        let mut word = word;
        loop {
            let mut end = 0;
            let mut used = 0;
            for c in rest.chars() {
                used += text::width(c.encode_utf8(&mut [0; 4]));
                if used > room {
                    break;
                }
                end += c.len_utf8();
            }
            let (part, after) = rest.split_at(end);
            out.push(lines::pair(theme, word, part.to_owned(), style));
            if after.is_empty() || part.is_empty() {
                break;
            }
            (rest, word) = (after, "");
        }
    };
    let text_style = theme.text();
    add(&mut out, "path", &escaped(&path), theme.name());
    add(&mut out, "name given", &escaped(event.name()), text_style);
    let result = match event.errno() {
        Some(errno) => format!("{} ({errno}): {}", errno_name(errno), nix::errno::Errno::from_raw(errno).desc()),
        None => match event.fd() {
            Some(fd) => format!("descriptor {fd}"),
            None => text::result(event),
        },
    };
    add(&mut out, "result", &result, if event.failed() { theme.bad() } else { theme.good() });
    let time = text::time(&app.session, &app.settings.time_zone, event.start_ns());
    let date = jiff::Timestamp::from_nanosecond(app.session.wall_ns(event.start_ns()))
        .map_or_else(|_| time.clone(), |t| format!("{time}  {t}"));
    add(&mut out, "time", &date, text_style);
    let took = event.duration_ns().map_or("not known: its start was not seen".to_owned(), |ns| {
        format!("{} ({} ns)", text::duration(ns), thousands(ns))
    });
    add(&mut out, "took", &took, text_style);
    out.push(Line::default());
    add(
        &mut out,
        "process",
        &format!("{} {}", header.tgid, app.comms.get(&header.tgid).cloned().unwrap_or_default()),
        text_style,
    );
    add(&mut out, "thread", &format!("{} {}", header.tid, escaped(event.comm())), text_style);
    add(
        &mut out,
        "parent",
        &format!("{} {}", header.ppid, app.comms.get(&header.ppid).cloned().unwrap_or_default()),
        text_style,
    );
    add(&mut out, "user", &format!("{} ({})", app.user(header.uid), header.uid), text_style);
    add(&mut out, "cgroup id", &header.cgroup_id.to_string(), text_style);
    out.push(Line::default());
    add(&mut out, "flags", &flag_names(header.flags), text_style);
    if crate::flags::creates(header.flags) {
        add(&mut out, "mode", &format!("{:04o}", header.mode), text_style);
    }
    if header.resolve != 0 {
        add(&mut out, "resolve", &crate::flags::resolve_names(header.resolve), text_style);
    }
    let compat = if event.has(marks::COMPAT) { " (32-bit)" } else { "" };
    add(&mut out, "via", &format!("{}{compat}", event.route().name()), text_style);
    let dirfd = if header.dirfd == libc::AT_FDCWD { "AT_FDCWD".to_owned() } else { header.dirfd.to_string() };
    add(&mut out, "directory fd", &dirfd, text_style);
    let known = [
        (marks::NAME_UNREADABLE, "the name could not be read"),
        (marks::NAME_TRUNCATED, "the name is cut"),
        (marks::NAME_FROM_USER, "the name is from user memory: it may have changed meanwhile"),
        (marks::DIR_DELETED, "the directory was deleted"),
        (marks::DIR_UNREACHABLE, "the directory is outside of the process's root"),
        (marks::DIR_TRUNCATED, "the upper end of the directory is missing"),
        (marks::RESULT_UNKNOWN, "the result could not be learnt"),
    ];
    for (_, words) in known.iter().filter(|(mark, _)| event.has(*mark)) {
        add(&mut out, "note", words, theme.warn());
    }
    out.push(Line::default());
    out.extend(stacks::open(app, event, theme, columns));
    out.push(lines::head(theme, "Bytes of the name", &format!("{}", event.name().len())));
    let per_line = if columns >= 64 { 16 } else { 8 };
    for (at, chunk) in event.name().chunks(per_line).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|b| format!("{b:02x}")).collect();
        let ascii: String =
            chunk.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' }).collect();
        out.push(Line::from(vec![
            Span::styled(format!("{:>6x}  ", at * per_line), theme.dim()),
            Span::styled(format!("{:<width$}  ", hex.join(" "), width = per_line * 3), theme.text()),
            Span::styled(ascii, theme.name()),
        ]));
    }
    out
}

/// The names of flags, with what is left over.
pub(super) fn flag_names(flags: u32) -> String {
    let mut all = Vec::new();
    let rest = crate::flags::names(flags, |name| all.push(name.to_owned()));
    if rest != 0 {
        all.push(format!("0x{rest:x}"));
    }
    all.join("|")
}
