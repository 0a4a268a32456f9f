//! The view Failures: names that were looked for in vain, the places tried, and where they were found at last.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::files::by;
use super::frame;
use super::text::{self, errno_name, put, put_cut, put_path, put_right};
use super::theme::Theme;
use crate::app::App;
use crate::app::layout::Regions;
use crate::app::tables::FailureSort;
use crate::escape::escaped;
use crate::model::missing::Missing;

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, at: &Regions, buf: &mut Buffer) {
    let look = app.settings.look;
    frame::panes(buf, at, theme.faint(), look.ascii);
    let (top, list) = (at.processes, &app.failures);
    let total = match list.total {
        1 => "1 name ".to_owned(),
        total => format!("{} names ", text::thousands(total as u64)),
    };
    let note = if app.filter().is_some() { " of the opens that match the filter " } else { "" };
    frame::titles(buf, top.outer, &[(" Failures ", theme.accent()), (&total, theme.dim())], &[(note, theme.dim())]);
    let (x, y) = (top.head.x, top.head.y);
    let head = |name: &str, sort: FailureSort| {
        let (sorted, reversed) = app.failure_sort;
        let arrow = match (sorted == sort, sort.descends() != reversed, look.ascii) {
            (false, _, _) => "",
            (_, true, false) => "▼",
            (_, false, false) => "▲",
            (_, true, true) => "v",
            (_, false, true) => "^",
        };
        (format!("{name}{arrow}"), if sorted == sort { theme.accent() } else { theme.head() })
    };
    let (text, style) = head("FAILED", FailureSort::Count);
    put_right(buf, x, y, 9, &text, style);
    let (text, style) = head("ERROR", FailureSort::Error);
    put(buf, x + 10, y, 12, &text, style);
    let (text, style) = head("PLACES", FailureSort::Places);
    put_right(buf, x + 21, y, 7, &text, style);
    put(buf, x + 29, y, by_width(top.head), "BY", theme.head());
    let (text, style) = head("NAME", FailureSort::Name);
    let from = 30 + by_width(top.head);
    put(buf, x + from, y, name_width(top.head), &text, style);
    let (text, style) = head("FOUND AT", FailureSort::Found);
    put(buf, x + from + 1 + name_width(top.head), y, 12, &text, style);
    for ((row, missing), y) in list.rows.iter().enumerate().skip(list.offset).zip(top.rows.y..top.rows.bottom()) {
        line(theme, missing, Rect { y, height: 1, ..top.rows }, buf);
        if row == list.cursor {
            buf.set_style(Rect { y, height: 1, width: top.rows.width + 1, ..top.rows }, theme.selected(true));
        }
    }
    if list.rows.is_empty() && top.rows.height > 0 {
        let words =
            if app.filter().is_some() { "no open that passes the filter has failed" } else { "nothing has failed" };
        put_cut(buf, top.rows.x + 1, top.rows.y, top.rows.width.saturating_sub(1), words, theme.good());
    }
    frame::thumb(buf, top.rows, list.offset, list.rows.len(), theme, look.ascii);
    places(app, theme, at, buf);
}

/// What a click at `x` on the heads sorts by.
#[must_use]
pub(crate) fn sort_at(head: Rect, x: u16) -> Option<FailureSort> {
    match x.checked_sub(head.x)? {
        0..10 => Some(FailureSort::Count),
        10..21 => Some(FailureSort::Error),
        21..29 => Some(FailureSort::Places),
        at => {
            let from = 30 + by_width(head);
            let found = from + 1 + name_width(head);
            match at {
                _ if at < from => None,
                _ if at < found => Some(FailureSort::Name),
                _ => Some(FailureSort::Found),
            }
        }
    }
}

fn name_width(area: Rect) -> u16 {
    (area.width.saturating_sub(32 + by_width(area)) / 2).clamp(8, 40)
}

/// Width of the column that says who.
fn by_width(area: Rect) -> u16 {
    if area.width >= 100 { 20 } else { 12 }
}

/// Something that is not there is everyday; anything else is worth a look.
fn style(theme: &Theme, errno: i32) -> Style {
    if matches!(errno, libc::ENOENT | libc::ENOTDIR | libc::EEXIST) { theme.warn() } else { theme.bad() }
}

fn line(theme: &Theme, missing: &Missing, area: Rect, buf: &mut Buffer) {
    let (x, y) = (area.x, area.y);
    put_right(buf, x, y, 9, &text::count(missing.count), theme.name());
    put_cut(buf, x + 10, y, 12, &errno_name(missing.errno), style(theme, missing.errno));
    put_right(buf, x + 22, y, 6, &text::short(missing.tried as f64), theme.text());
    put_cut(buf, x + 29, y, by_width(area), &by(&missing.who), theme.dim());
    let width = name_width(area);
    let from = 30 + by_width(area);
    // What was found in the end is everyday; what never was is what one looks for here.
    let name = if missing.found.is_some() { theme.text() } else { theme.name() };
    put_cut(buf, x + from, y, width, &escaped(&missing.name), name);
    let x = x + from + 1 + width;
    let room = area.right().saturating_sub(x);
    match &missing.found {
        Some(path) => put_path(buf, x, y, room, &escaped(path), theme.dim(), theme.dim()),
        None => {
            put(buf, x, y, room, "nowhere", theme.warn());
        }
    }
}

/// The places where the selected name was tried.
fn places(app: &App, theme: &Theme, at: &Regions, buf: &mut Buffer) {
    let area = at.opens;
    let Some(missing) = app.failures.rows.get(app.failures.cursor) else {
        frame::titles(buf, area.outer, &[(" Places tried ", theme.text())], &[]);
        return;
    };
    let name = format!(" {} tried for ", text::thousands(missing.tried as u64));
    let what = format!("{} ", text::cut_end(&escaped(&missing.name), usize::from(area.outer.width / 2)));
    frame::titles(
        buf,
        area.outer,
        &[(&name, theme.text()), (&what, theme.accent())],
        &[(" Enter shows the opens ", theme.dim())],
    );
    put_right(buf, area.head.x, area.head.y, 9, "FAILED", theme.head());
    put(buf, area.head.x + 10, area.head.y, 10, "PATH", theme.head());
    let mut rows = area.rows.y..area.rows.bottom();
    let width = area.rows.width.saturating_sub(10);
    for ((path, count), y) in missing.places.iter().zip(rows.by_ref()) {
        put_right(buf, area.rows.x, y, 9, &text::count(*count), theme.text());
        put_path(buf, area.rows.x + 10, y, width, &escaped(path), theme.dim(), style(theme, missing.errno));
    }
    if let (Some(path), Some(y)) = (&missing.found, rows.next()) {
        put_right(buf, area.rows.x, y, 9, "found", theme.good());
        put_path(buf, area.rows.x + 10, y, width, &escaped(path), theme.dim(), theme.good());
    }
}
