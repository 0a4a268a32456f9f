//! The short list to choose from, over the body.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget};

use super::frame;
use super::text::{put, put_cut, width};
use super::theme::Theme;
use crate::app::App;
use crate::app::menu::Menu;

/// Where it stands.
#[must_use]
pub(crate) fn area(body: Rect, menu: &Menu) -> Rect {
    let widest = menu.items.iter().map(|item| width(&item.filter)).max().unwrap_or(0) + 28;
    let columns =
        u16::try_from(widest).unwrap_or(u16::MAX).clamp(44, body.width.saturating_sub(4).max(44)).min(body.width);
    let rows = u16::try_from(menu.items.len() + 2).unwrap_or(u16::MAX).min(body.height);
    Rect { x: body.x + (body.width - columns) / 2, y: body.y + (body.height - rows) / 3, width: columns, height: rows }
}

/// Draws it.
pub(super) fn draw(app: &App, menu: &Menu, theme: &Theme, body: Rect, buf: &mut Buffer) {
    let area = area(body, menu);
    Clear.render(area, buf);
    frame::around(buf, area, theme.accent(), app.settings.look.ascii);
    let title = if menu.exclude { " Hide " } else { " Show only " };
    let other = if menu.exclude { " x: show only " } else { " x: hide " };
    frame::titles(buf, area, &[(title, theme.accent())], &[(other, theme.dim())]);
    for ((row, item), y) in menu.items.iter().enumerate().zip(area.y + 1..area.bottom().saturating_sub(1)) {
        let x = area.x + 2;
        put(buf, x, y, 1, item.key.encode_utf8(&mut [0; 4]), theme.accent());
        put_cut(buf, x + 3, y, 16, item.label, theme.text());
        let filter = if menu.exclude { format!("!{}", item.filter) } else { item.filter.clone() };
        put_cut(buf, x + 20, y, area.width.saturating_sub(24), &filter, theme.dim());
        if row == menu.cursor {
            buf.set_style(Rect { x: area.x + 1, y, width: area.width - 2, height: 1 }, theme.selected(true));
        }
    }
}
