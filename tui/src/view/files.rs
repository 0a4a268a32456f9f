//! The view Files: the most opened paths, and who opens them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::frame;
use super::text::{self, put, put_cut, put_path, put_right};
use super::theme::Theme;
use crate::app::App;
use crate::app::dirs::Node;
use crate::app::layout::ListArea;
use crate::app::tables::{FileRow, FileSort};
use crate::escape::escaped;
use crate::model::files::{Few, Named};

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, at: ListArea, buf: &mut Buffer) {
    let look = app.settings.look;
    frame::around(buf, at.outer, theme.faint(), look.ascii);
    let list = &app.files;
    let total = format!("{} ", text::thousands(list.total as u64));
    let model = app.model();
    let error = model.files.table().error();
    let note = if app.filter().is_some() {
        let opens = model.narrowed.as_ref().map_or(0, |narrowed| narrowed.opens);
        format!(" of {} opens that match the filter ", text::thousands(opens))
    } else if error > 0 {
        format!(" rare paths are forgotten: counts may be short by up to {} ", text::thousands(error))
    } else {
        " every record since the start ".to_owned()
    };
    let style = if error > 0 && app.filter().is_none() { theme.warn() } else { theme.dim() };
    let tree = if app.file_tree.is_some() { "· tree: z folds a directory, Z all " } else { "" };
    let left = [(" Files ", theme.accent()), (&*total, theme.dim()), (tree, theme.warn())];
    frame::titles(buf, at.outer, &left, &[(&note, style)]);
    heads(app, theme, at.head, buf);
    for ((row, file), y) in list.rows.iter().enumerate().skip(list.offset).zip(at.rows.y..at.rows.bottom()) {
        line(app, theme, file, Rect { y, height: 1, ..at.rows }, buf);
        if row == list.cursor {
            buf.set_style(Rect { y, height: 1, width: at.rows.width + 1, ..at.rows }, theme.selected(true));
        }
    }
    if list.rows.is_empty() && at.rows.height > 0 {
        let words = if app.filter().is_some() { "no open passes the filter" } else { "no file has been opened yet" };
        put_cut(buf, at.rows.x + 1, at.rows.y, at.rows.width.saturating_sub(1), words, theme.dim());
    }
    frame::thumb(buf, at.rows, list.offset, list.rows.len(), theme, look.ascii);
}

/// Width of the column of the time, and of the one that says who.
fn widths(area: Rect) -> (u16, u16) {
    if area.width >= 100 { (12, 30) } else { (8, 14) }
}

/// Where the column begins that says who, and where that of the path does.
fn starts(area: Rect) -> (u16, u16) {
    let (time, who) = widths(area);
    (21 + time, 22 + time + who)
}

fn heads(app: &App, theme: &Theme, area: Rect, buf: &mut Buffer) {
    let head = |name: &str, sort: FileSort| {
        let sorted = app.file_sort == sort;
        let falls = (sort == FileSort::Path) == app.file_sort_reversed;
        let arrow = match (sorted, falls, app.settings.look.ascii) {
            (false, _, _) => "",
            (_, true, false) => "▼",
            (_, false, false) => "▲",
            (_, true, true) => "v",
            (_, false, true) => "^",
        };
        (format!("{name}{arrow}"), if sorted { theme.accent() } else { theme.head() })
    };
    let y = area.y;
    let (text, style) = head("OPENS", FileSort::Opens);
    put_right(buf, area.x, y, 9, &text, style);
    let (text, style) = head("FAILED", FileSort::Failed);
    put_right(buf, area.x + 10, y, 8, &text, style);
    let (text, style) = head("LAST", FileSort::Last);
    put(buf, area.x + 20, y, 12, &text, style);
    let (who, path) = starts(area);
    put(buf, area.x + who, y, 2, "BY", theme.head());
    let (text, style) = head("PATH", FileSort::Path);
    put(buf, area.x + path, y, 8, &text, style);
}

fn line(app: &App, theme: &Theme, file: &FileRow, area: Rect, buf: &mut Buffer) {
    let y = area.y;
    let all = file.failed >= file.opens;
    put_right(buf, area.x, y, 9, &text::count(file.opens), theme.name());
    let style = if file.failed == 0 {
        theme.dim()
    } else if all {
        theme.bad()
    } else {
        theme.warn()
    };
    put_right(buf, area.x + 10, y, 8, &text::count(file.failed), style);
    let time = text::time(&app.session, &app.settings.time_zone, file.last_ns);
    let ((time_width, who_width), (who, path)) = (widths(area), starts(area));
    put(buf, area.x + 20, y, time_width, &time, theme.dim());
    put_cut(buf, area.x + who, y, who_width, &by(&file.who), theme.text());
    let x = area.x + path;
    let style = if all { theme.bad() } else { theme.text() };
    let room = area.right().saturating_sub(x);
    match file.node {
        Some(node) => branch(app, theme, file, node, Rect { x, width: room, ..area }, style, buf),
        None => {
            let path = escaped(&file.path);
            let path = if path.is_empty() { "\"\"".to_owned() } else { path };
            put_path(buf, x, y, room, &path, theme.dim(), style);
        }
    }
}

fn paths(n: usize) -> String {
    format!("  {} {}", text::thousands(n as u64), if n == 1 { "path" } else { "paths" })
}

/// A row of the tree, from the lines before it on.
fn branch(app: &App, theme: &Theme, file: &FileRow, node: Node, area: Rect, style: Style, buf: &mut Buffer) {
    let ascii = app.settings.look.ascii;
    let left = |x: u16| area.right().saturating_sub(x);
    let lines = frame::branches(node.depth, node.lines, usize::from(area.width / 2), ascii);
    let mut x = put(buf, area.x, area.y, area.width, &lines, theme.faint());
    let name = escaped(file.path.get(node.name..).unwrap_or_default());
    if node.dir {
        let mark = if node.open { theme.dim() } else { theme.accent() };
        x = put(buf, x, area.y, left(x), frame::fold(!node.open, ascii), mark);
        x = put_cut(buf, x, area.y, left(x), &name, theme.accent());
        put_cut(buf, x, area.y, left(x), &paths(node.files), theme.dim());
    } else {
        put_cut(buf, x, area.y, left(x), if name.is_empty() { "\"\"" } else { &name }, style);
    }
}

/// Whether a click at `x` is on the lines and the mark before the name of a directory.
#[must_use]
pub(crate) fn on_mark(head: Rect, node: Node, x: u16) -> bool {
    let from = head.x + starts(head).1;
    let lines = frame::branches(node.depth, node.lines, usize::from(head.right().saturating_sub(from) / 2), false);
    let wide = u16::try_from(text::width(&lines) + 2).unwrap_or(u16::MAX);
    node.dir && (from..from.saturating_add(wide)).contains(&x)
}

/// What a click at `x` on the heads sorts by.
#[must_use]
pub(crate) fn sort_at(head: Rect, x: u16) -> Option<FileSort> {
    let at = x.checked_sub(head.x)?;
    match at {
        0..10 => Some(FileSort::Opens),
        10..19 => Some(FileSort::Failed),
        at if at < starts(head).0 => Some(FileSort::Last),
        at => (at >= starts(head).1).then_some(FileSort::Path),
    }
}

/// The names of a few processes, marked where several had the same one.
pub(super) fn by(who: &Few) -> String {
    let name = |named: &Named| {
        let name = named.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        escaped(name) + if named.several { " ×2+" } else { "" }
    };
    let mut out = who.named().iter().map(name).collect::<Vec<_>>().join(", ");
    if who.more() {
        out.push_str(" +…");
    }
    out
}
