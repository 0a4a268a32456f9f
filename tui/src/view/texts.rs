//! Views and pages that are text: its columns, how they are scrolled, and how far they can be.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::theme::Theme;
use super::{frame, health, latency, lines, open, page};
use crate::app::layout::{Regions, regions};
use crate::app::{App, Page, Tab};

/// A column of text, and where it stands.
pub(super) type Column<'a> = (Rect, Vec<Line<'a>>);

/// What is within a frame, with a column of air.
pub(super) fn inside(outer: Rect) -> Rect {
    Rect {
        x: outer.x + 2,
        y: outer.y + 1,
        width: outer.width.saturating_sub(4),
        height: outer.height.saturating_sub(2),
    }
}

/// The two halves of an area.
pub(super) fn halves(area: Rect) -> (Rect, Rect) {
    let half = (area.width / 2).saturating_sub(1);
    let right = Rect { x: area.x + half + 3, width: area.width.saturating_sub(half + 3), ..area };
    (Rect { width: half, ..area }, right)
}

/// Draws columns, scrolled together.
pub(super) fn draw(app: &App, theme: &Theme, columns: &[Column<'_>], outer: Rect, buf: &mut Buffer) {
    let scroll = usize::from(app.scroll);
    for (area, text) in columns {
        lines::put(buf, *area, text, scroll);
    }
    let longest = columns.iter().map(|(_, text)| text.len()).max().unwrap_or(0);
    let inner = inside(outer);
    let offset = scroll.min(longest.saturating_sub(usize::from(inner.height)));
    frame::thumb(buf, inner, offset, longest, theme, app.settings.look.ascii);
}

/// The columns of what is on the screen, if that is text.
fn columns<'a>(app: &App, theme: &Theme, at: &Regions) -> Vec<Column<'a>> {
    match (&app.page, app.tab) {
        (Some(Page::Event(record)), _) => open::columns(app, record, theme, at.body),
        (Some(Page::Process(process)), _) => page::columns(app, process, theme, at.processes.outer),
        (None, Tab::Latency) => latency::columns(app, theme, at.single.outer),
        (None, Tab::Health) => health::columns(app, theme, at.single.outer),
        (None, Tab::Live | Tab::Files | Tab::Failures) => Vec::new(),
    }
}

/// The most lines that the text on the screen can be scrolled by.
#[must_use]
pub(crate) fn overflow(app: &App) -> u16 {
    let Some(at) = regions(app) else { return 0 };
    let look = app.settings.look;
    let theme = Theme::new(look.theme, look.colors);
    let columns = columns(app, &theme, &at);
    let beyond = columns.iter().map(|(area, text)| text.len().saturating_sub(usize::from(area.height)));
    u16::try_from(beyond.max().unwrap_or(0)).unwrap_or(u16::MAX)
}
