//! The process table: who opens, how often, with what success.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::frame;
use super::text::{self, put, put_cut, put_path, put_right};
use super::theme::Theme;
use crate::app::columns::{COLUMNS, Column, What};
use crate::app::layout::ListArea;
use crate::app::{App, Pane};
use crate::escape::escaped;
use crate::model::order::Column as By;
use crate::model::processes::Process;
use crate::model::tree::{Branch, Sum};

/// A column on the screen.
#[derive(Clone, Copy, Debug)]
struct Place {
    what: What,
    x: u16,
    width: u16,
}

fn places(app: &App, area: Rect) -> Vec<Place> {
    let filtered = app.filter().is_some();
    let mut x = area.x;
    let mut out = Vec::new();
    for Column { what, width, from, .. } in app.settings.prefs.columns.iter().copied() {
        // The column that a filter adds is taken from the room of the others.
        if area.width < from + if filtered && from > 0 { 8 } else { 0 }
            || (what == What::Sorted(By::Matched) && !filtered)
        {
            continue;
        }
        let tree = what == What::Sorted(By::Comm) && app.processes.tree.is_some();
        let width = if tree { (area.width / 4).clamp(18, 34) } else { width };
        // The last one takes what is left.
        let width = if width == 0 { area.right().saturating_sub(x) } else { width };
        out.push(Place { what, x, width: width.min(area.right().saturating_sub(x)) });
        x = x.saturating_add(width + 1).min(area.right());
    }
    out
}

/// The column that a click at `x` on the heads means.
#[must_use]
pub(crate) fn column_at(app: &App, head: Rect, x: u16) -> Option<By> {
    let place = places(app, head).into_iter().find(|p| (p.x..=p.x + p.width).contains(&x))?;
    match place.what {
        What::Sorted(column) => Some(column),
        What::Spark => Some(By::Rate),
    }
}

/// The columns on the screen that can be sorted by, from the left.
#[must_use]
pub(crate) fn sorts(app: &App, head: Rect) -> Vec<By> {
    let sorted = |place: Place| if let What::Sorted(column) = place.what { Some(column) } else { None };
    places(app, head).into_iter().filter_map(sorted).collect()
}

/// Whether a click at `x` is on the lines and the mark before the name of a row of the tree.
#[must_use]
pub(crate) fn on_mark(app: &App, head: Rect, row: usize, x: u16) -> bool {
    let place = places(app, head).into_iter().find(|p| p.what == What::Sorted(By::Comm));
    let branch = app.processes.tree.as_ref().and_then(|tree| tree.branches.get(row));
    let (Some(place), Some(branch)) = (place, branch.filter(|branch| branch.parent)) else { return false };
    let lines = frame::branches(branch.depth, branch.lines, usize::from(place.width / 2), false);
    let wide = u16::try_from(text::width(&lines) + 2).unwrap_or(u16::MAX);
    (place.x..place.x.saturating_add(wide)).contains(&x)
}

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, at: ListArea, buf: &mut Buffer) {
    let list = &app.processes;
    let focused = app.pane == Pane::Processes;
    let title = if focused { theme.accent() } else { theme.text() };
    let mut left = vec![(" Processes ", title)];
    let total = format!("{} ", text::thousands(list.total as u64));
    left.push((&total, theme.dim()));
    if list.tree.is_some() {
        left.push(("· tree: numbers are of a process and all below it ", theme.warn()));
    }
    let retired = app.model().processes.retired();
    let right = format!(" {} ended and retired ", text::thousands(retired.processes));
    let right = if retired.processes > 0 { vec![(right.as_str(), theme.dim())] } else { vec![] };
    frame::titles(buf, at.outer, &left, &right);
    let places = places(app, at.head);
    heads(app, theme, at.head, &places, buf);
    let model = app.model();
    for (row, y) in (list.offset..).zip(at.rows.y..at.rows.bottom()) {
        let Some(process) = list.rows.get(row).and_then(|index| model.processes.get(*index)) else { break };
        let branch = list.tree.as_ref().and_then(|tree| tree.branches.get(row));
        for place in &places {
            cell(app, theme, (process, branch), *place, y, buf);
        }
        if row == list.cursor {
            buf.set_style(Rect { y, height: 1, width: at.rows.width + 1, ..at.rows }, theme.selected(focused));
        }
    }
    if list.total == 0 && at.rows.height > 0 {
        let words =
            if app.filter().is_some() { "no process passes the filter" } else { "waiting for the first open…" };
        put_cut(buf, at.rows.x + 1, at.rows.y, at.rows.width.saturating_sub(1), words, theme.dim());
    }
    frame::thumb(buf, at.rows, list.offset, list.total, theme, app.settings.look.ascii);
}

fn heads(app: &App, theme: &Theme, area: Rect, places: &[Place], buf: &mut Buffer) {
    let sort = app.processes.sort;
    for place in places {
        let Some(Column { head, right, .. }) = COLUMNS.iter().find(|c| c.what == place.what) else { continue };
        let sorted = place.what == What::Sorted(sort.column);
        let style = if sorted { theme.accent() } else { theme.head() };
        let arrow = match (sorted, sort.column.descends() != sort.reversed, app.settings.look.ascii) {
            (false, _, _) => "",
            (_, true, false) => "▼",
            (_, false, false) => "▲",
            (_, true, true) => "v",
            (_, false, true) => "^",
        };
        if *right {
            put_right(buf, place.x, area.y, place.width, &format!("{head}{arrow}"), style);
        } else {
            put(buf, place.x, area.y, place.width, &format!("{head}{arrow}"), style);
        }
    }
}

fn cell(
    app: &App,
    theme: &Theme,
    (process, branch): (&Process, Option<&Branch>),
    place: Place,
    y: u16,
    buf: &mut Buffer,
) {
    let Place { what, x, width } = place;
    let sum = branch.map(|branch| &branch.sum);
    let gone = process.exited_ns.is_some();
    let or_dim = |style| if gone { theme.dim() } else { style };
    let model = app.model();
    match what {
        What::Sorted(By::Pid) => put_right(buf, x, y, width, &process.key.tgid.to_string(), theme.dim()),
        What::Sorted(By::User) => {
            put_cut(buf, x, y, width, &escaped(app.user(process.uid).as_bytes()), theme.dim());
        }
        What::Sorted(By::Comm) => {
            let mut at = x;
            if let Some(branch) = branch {
                let ascii = app.settings.look.ascii;
                let lines = frame::branches(branch.depth, branch.lines, usize::from(width / 2), ascii);
                at = put(buf, x, y, width, &lines, theme.faint());
                if branch.parent {
                    let style = if branch.folded { theme.accent() } else { theme.dim() };
                    at = put(buf, at, y, (x + width).saturating_sub(at), frame::fold(branch.folded, ascii), style);
                }
            }
            let left = (x + width).saturating_sub(at);
            put_cut(buf, at, y, left, &escaped(process.name()), or_dim(theme.name()));
        }
        What::Sorted(By::Matched) => {
            let matched = sum.map_or_else(|| model.processes.matched(process), |sum| sum.matched);
            put_right(buf, x, y, width, &text::count(matched), or_dim(theme.warn()));
        }
        What::Sorted(By::Opens) => {
            let opens = sum.map_or_else(|| process.opens(), |sum| sum.opens);
            put_right(buf, x, y, width, &text::count(opens), or_dim(theme.text()));
        }
        What::Sorted(By::Rate) => {
            let rate = sum.map_or_else(|| process.rate.per_second(), |sum| sum.rate);
            let style = if rate > 0.0 { theme.name().add_modifier(Modifier::BOLD) } else { theme.dim() };
            put_right(buf, x, y, width, &text::rate(rate), or_dim(style));
        }
        What::Sorted(By::Failed) => {
            let share = sum.map_or_else(|| process.failed_share(), Sum::failed_share);
            let style = match share {
                s if s <= 0.0 => theme.dim(),
                s if s < 0.5 => theme.warn(),
                _ => theme.bad(),
            };
            put_right(buf, x, y, width, &text::percent(share), or_dim(style));
        }
        What::Sorted(By::P99) => {
            let p99 = process.latency.percentile(0.99, process.latency_max_ns);
            put_right(buf, x, y, width, &p99.map_or("-".into(), text::duration), or_dim(theme.text()));
        }
        What::Spark => {
            let values = process.spark.at(model.processes.round());
            let max = values.iter().copied().fold(0.0, f32::max);
            let bars = text::spark(values.iter().map(|v| f64::from(*v)), f64::from(max), app.settings.look.ascii);
            for (x, (bar, share)) in (x..x + width).zip(bars) {
                put(buf, x, y, 1, bar.encode_utf8(&mut [0; 4]), or_dim(theme.calm(share)));
            }
        }
        What::Sorted(By::Last) => {
            put_path(buf, x, y, width, &last_path(app, process), theme.dim(), or_dim(theme.text()));
        }
    }
}

/// The path that a process opened last, escaped.
fn last_path(app: &App, process: &Process) -> String {
    let mut path = Vec::new();
    match process.last_seq().and_then(|seq| app.model().history.get(seq)) {
        Some(event) => event.path_into(&mut path),
        None => path.extend_from_slice(process.kept_path()),
    }
    escaped(&path)
}
