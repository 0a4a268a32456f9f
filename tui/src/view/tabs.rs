//! The second line: the views by their number.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::header;
use super::text::put;
use super::theme::Theme;
use crate::app::{App, Tab};

/// Where each tab stands: the columns of its number and name.
#[must_use]
pub(crate) fn places(area: Rect) -> Vec<(Tab, Rect)> {
    let mut x = area.x + 1;
    let mut out = Vec::new();
    for tab in Tab::ALL {
        let width = u16::try_from(tab.name().len()).unwrap_or(0) + 2;
        out.push((tab, Rect { x, width, ..area }));
        x += width + 2;
    }
    out
}

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, area: Rect, buf: &mut Buffer) {
    for (number, (tab, at)) in (1..).zip(places(area)) {
        let here = tab == app.tab;
        let name = if here { theme.name().add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { theme.dim() };
        let x = put(
            buf,
            at.x,
            at.y,
            area.right().saturating_sub(at.x),
            &format!("{number} "),
            if here { theme.accent() } else { theme.dim() },
        );
        put(buf, x, at.y, area.right().saturating_sub(x), tab.name(), name);
    }
    if !header::fits_here(app, area, theme) {
        let end = places(area).last().map_or(area.x, |(_, at)| at.right() + 1);
        let room = area.right().saturating_sub(end);
        header::right(buf, area, &header::filters(app, theme, usize::from(room)));
    }
}
