//! The list of opens, the newest at the bottom.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::frame;
use super::text::{self, put, put_cut, put_path, put_right};
use super::theme::Theme;
use crate::app::layout::ListArea;
use crate::app::{App, Pane};
use crate::escape::escaped;
use crate::event::Event;
use probe_common::marks;

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Time,
    Pid,
    Comm,
    Result,
    Flags,
    Duration,
    Path,
}

/// Every column: what, its head, its width, whether it stands against the right, and from which width of the pane on
/// it is there.
const COLUMNS: [(What, &str, u16, bool, u16); 7] = [
    (What::Time, "TIME", 12, false, 0),
    (What::Pid, "PID", 7, true, 0),
    (What::Comm, "COMM", 15, false, 0),
    (What::Result, "RESULT", 7, true, 0),
    (What::Flags, "FLAGS", 7, false, 92),
    (What::Duration, "DUR", 6, true, 76),
    (What::Path, "PATH", 0, false, 0),
];

/// The columns that fit, with the place of each.
fn places(area: Rect) -> impl Iterator<Item = (What, &'static str, bool, u16, u16)> {
    let mut x = area.x + 1;
    COLUMNS.iter().filter(move |c| area.width >= c.4).map(move |(what, head, width, right, _)| {
        let left = area.right().saturating_sub(x);
        let width = match (what, *width) {
            (_, 0) => left,
            // Where it is tight the path needs the room more.
            (What::Comm, _) if area.width < 92 => 11,
            (_, width) => width.min(left),
        };
        let place = (*what, *head, *right, x, width);
        x = x.saturating_add(width + 1).min(area.right());
        place
    })
}

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, at: ListArea, buf: &mut Buffer) {
    let model = app.model();
    let rows = model.listing.len(&model.history);
    let focused = app.pane == Pane::Opens;
    title(app, theme, at, rows, buf);
    for (_, head, right, x, width) in places(at.head) {
        if right {
            put_right(buf, x, at.head.y, width, head, theme.head());
        } else {
            put(buf, x, at.head.y, width, head, theme.head());
        }
    }
    for (row, y) in (app.opens.offset..rows).zip(at.rows.y..at.rows.bottom()) {
        let Some(seq) = model.listing.seq(&model.history, row) else { break };
        if let Some(event) = model.history.get(seq) {
            line(app, theme, &event, Rect { y, height: 1, ..at.rows }, buf);
        }
        if app.opens.cursor == Some(row) {
            buf.set_style(Rect { y, height: 1, width: at.rows.width + 1, ..at.rows }, theme.selected(focused));
        }
    }
    if rows == 0 && at.rows.height > 0 {
        let words = if app.filter().is_some() { "no open passes the filter" } else { "nothing has been opened yet" };
        put_cut(buf, at.rows.x + 1, at.rows.y, at.rows.width.saturating_sub(1), words, theme.dim());
    }
    frame::thumb(buf, at.rows, app.opens.offset, rows, theme, app.settings.look.ascii);
}

fn title(app: &App, theme: &Theme, at: ListArea, rows: usize, buf: &mut Buffer) {
    let focused = app.pane == Pane::Opens;
    let title = if focused { theme.accent() } else { theme.text() };
    let total = format!("{} ", text::thousands(rows as u64));
    let (words, style) = match (app.opens.cursor, app.frozen.is_some()) {
        (None, true) => (" frozen ".to_owned(), theme.warn()),
        (None, false) => (" following ".to_owned(), theme.good()),
        (Some(row), _) => {
            let newer = rows.saturating_sub(row + 1) as u64;
            (format!(" {} newer below · F follows ", text::thousands(newer)), theme.warn())
        }
    };
    frame::titles(buf, at.outer, &[(" Opens ", title), (&total, theme.dim())], &[(&words, style)]);
}

fn line(app: &App, theme: &Theme, event: &Event<'_>, area: Rect, buf: &mut Buffer) {
    let y = area.y;
    for (what, _, _, x, width) in places(area) {
        match what {
            What::Time => {
                let time = text::time(&app.session, &app.settings.time_zone, event.start_ns());
                put(buf, x, y, width, &time, theme.dim());
            }
            What::Pid => put_right(buf, x, y, width, &event.header().tgid.to_string(), theme.dim()),
            What::Comm => {
                put_cut(buf, x, y, width, &escaped(event.comm()), theme.name());
            }
            What::Result => put_right(buf, x, y, width, &text::result(event), result_style(theme, event)),
            What::Flags => {
                put_cut(buf, x, y, width, &text::flags(event.header().flags), theme.dim());
            }
            What::Duration => {
                let ns = event.duration_ns();
                let style = match ns {
                    Some(ns) if ns >= 10_000_000 => theme.bad(),
                    Some(ns) if ns >= 1_000_000 => theme.warn(),
                    _ => theme.dim(),
                };
                put_right(buf, x, y, width, &ns.map_or("-".into(), text::duration), style);
            }
            What::Path => path(theme, event, x, y, width, buf),
        }
    }
}

fn path(theme: &Theme, event: &Event<'_>, x: u16, y: u16, width: u16, buf: &mut Buffer) {
    let file = if event.failed() { result_style(theme, event) } else { theme.text() };
    if event.has(marks::NAME_UNREADABLE) {
        put_cut(buf, x, y, width, "(name unreadable)", theme.warn());
        return;
    }
    let mut path = Vec::new();
    event.path_into(&mut path);
    let mut path = escaped(&path);
    if path.is_empty() {
        path.push_str("\"\"");
    }
    if event.has(marks::NAME_TRUNCATED) {
        path.push_str(" (cut)");
    }
    put_path(buf, x, y, width, &path, theme.dim(), file);
}

/// Something that is not there is everyday; anything else is worth a look.
fn result_style(theme: &Theme, event: &Event<'_>) -> Style {
    match event.errno() {
        None => theme.good(),
        Some(libc::ENOENT | libc::ENOTDIR | libc::EEXIST) => theme.warn(),
        Some(_) => theme.bad(),
    }
}
