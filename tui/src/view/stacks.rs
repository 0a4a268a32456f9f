//! Stacks: on the page of a process, by the opens that came by them; on that of an open, its own.

use probe_common::ProcessKey;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::lines;
use super::text::{self, thousands};
use super::theme::Theme;
use crate::app::App;
use crate::event::Event;
use crate::source::{Frame, Stack};

/// Stacks of a process that are shown.
const ROWS: usize = 8;

/// Frames of each of them.
const FRAMES: usize = 16;

/// The stacks by which a process opens. Nothing where none were taken.
pub(super) fn process<'a>(app: &App, key: &ProcessKey, theme: &Theme, columns: usize) -> Vec<Line<'a>> {
    let model = app.model();
    let on = app.takes_stacks_of(key);
    let rows = model.stacks.rows_of(key);
    let all: u64 = rows.iter().map(|row| row.opens.opens).sum();
    let state = match (on, app.settings.stacks || app.replay.is_some()) {
        (true, true) => String::new(),
        (true, false) => " · S: no more".into(),
        (false, true) if rows.is_empty() => return Vec::new(),
        (false, true) => String::new(),
        (false, false) => " · S takes them".into(),
    };
    let more = if rows.is_empty() { "none yet".to_owned() } else { format!("of {} opens", thousands(all)) };
    let more = if on || !rows.is_empty() { format!("{more}{state}") } else { "S takes those of its opens".into() };
    let mut out = vec![lines::head(theme, "Stacks", &more)];
    for row in rows.iter().take(ROWS) {
        let share = text::percent(row.opens.opens as f64 / all.max(1) as f64);
        let failed = match row.opens.failed {
            0 => String::new(),
            failed => format!(", {} failed", thousands(failed)),
        };
        out.push(Line::from(vec![
            Span::styled(format!("{:>9} ", text::count(row.opens.opens)), theme.name()),
            Span::styled(format!("{share}%{failed}"), theme.dim()),
        ]));
        let mut put = |stack: Option<&Stack>, style| {
            let frames = stack.map_or(&[][..], |stack| &stack.frames);
            out.extend(frames.iter().take(FRAMES).map(|frame| line(theme, frame, style, columns)));
            let rest = frames.len().saturating_sub(FRAMES);
            if rest > 0 {
                out.push(Line::styled(format!("          and {rest} more"), theme.dim()));
            }
        };
        put(row.user, theme.text());
        put(row.kernel, theme.dim());
        if row.user.is_none() && row.kernel.is_none() {
            out.push(Line::styled("          no stack", theme.dim()));
        }
    }
    let rest = rows.len().saturating_sub(ROWS);
    if rest > 0 {
        out.push(Line::styled(format!("          and {rest} more stacks"), theme.dim()));
    }
    out.push(Line::default());
    out
}

/// The stacks of an open. Nothing where none were taken.
pub(super) fn open<'a>(app: &App, event: &Event<'_>, theme: &Theme, columns: usize) -> Vec<Line<'a>> {
    let header = event.header();
    let mut out = Vec::new();
    for (title, id) in [("User's stack", header.user_stack), ("Kernel's stack", header.kernel_stack)] {
        if id == 0 {
            continue;
        }
        let stack = app.model().stacks.book.get(id);
        let more = match stack {
            None => "its names have not come yet, or have been let go",
            Some(stack) if !stack.named => "without names: the process was gone, or its files may not be read",
            Some(_) => "innermost first",
        };
        out.push(lines::head(theme, title, more));
        let frames = stack.map_or(&[][..], |stack| &stack.frames);
        out.extend(frames.iter().map(|frame| line(theme, frame, theme.text(), columns)));
        out.push(Line::default());
    }
    out
}

/// `          read_config  server  config.c:42`
fn line<'a>(theme: &Theme, frame: &Frame, style: Style, columns: usize) -> Line<'a> {
    let room = columns.saturating_sub(10);
    let name = text::cut_end(&frame.name(), room);
    let mut about = String::new();
    if !frame.function.is_empty() {
        for part in [&frame.module, &frame.source].into_iter().filter(|part| !part.is_empty()) {
            about.push_str("  ");
            crate::escape::push(&mut about, part);
        }
    }
    if frame.inlined {
        about.push_str("  inlined");
    }
    let about = text::cut_end(&about, room.saturating_sub(text::width(&name)));
    Line::from(vec![Span::raw("          "), Span::styled(name, style), Span::styled(about, theme.dim())])
}
