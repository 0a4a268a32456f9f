//! The column chooser, over the body.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget};

use super::frame;
use super::text::{put, put_cut};
use super::theme::Theme;
use crate::app::App;
use crate::app::columns::COLUMNS;

/// Where it stands.
#[must_use]
pub(crate) fn area(body: Rect) -> Rect {
    let (columns, rows) = (66.min(body.width), (COLUMNS.len() as u16 + 2).min(body.height));
    Rect { x: body.x + (body.width - columns) / 2, y: body.y + (body.height - rows) / 3, width: columns, height: rows }
}

/// Draws it.
pub(super) fn draw(app: &App, cursor: usize, theme: &Theme, body: Rect, buf: &mut Buffer) {
    let area = area(body);
    Clear.render(area, buf);
    frame::around(buf, area, theme.accent(), app.settings.look.ascii);
    frame::titles(buf, area, &[(" Columns ", theme.accent())], &[(" Space shows or hides ", theme.dim())]);
    let lines = usize::from(area.height.saturating_sub(2));
    let offset = (cursor + 1).saturating_sub(lines);
    let rows = COLUMNS.iter().enumerate().skip(offset);
    for ((row, column), y) in rows.zip(area.y + 1..area.bottom().saturating_sub(1)) {
        let shown = app.settings.prefs.columns.has(column.what);
        let x = area.x + 2;
        put(buf, x, y, 3, if shown { "[x]" } else { "[ ]" }, if shown { theme.accent() } else { theme.dim() });
        put_cut(buf, x + 4, y, 10, column.head, theme.text());
        put_cut(buf, x + 15, y, area.width.saturating_sub(19), column.help, theme.dim());
        if row == cursor {
            buf.set_style(Rect { x: area.x + 1, y, width: area.width - 2, height: 1 }, theme.selected(true));
        }
    }
}
