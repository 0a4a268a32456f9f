//! The view Latency: the kernel's histogram of all opens, and of the selected process.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::theme::Theme;
use super::{frame, lines};
use crate::app::App;
use crate::app::layout::ListArea;
use crate::escape::escaped;

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, at: ListArea, buf: &mut Buffer) {
    let ascii = app.settings.look.ascii;
    frame::around(buf, at.outer, theme.faint(), ascii);
    frame::titles(
        buf,
        at.outer,
        &[(" Latency ", theme.accent())],
        &[(" counted in the kernel: exact, whatever was lost ", theme.dim())],
    );
    let inner = Rect {
        x: at.outer.x + 2,
        y: at.outer.y + 1,
        width: at.outer.width.saturating_sub(4),
        height: at.outer.height.saturating_sub(2),
    };
    let model = app.model();
    let totals = &model.totals;
    let half = Rect { width: inner.width / 2 - 1, ..inner };
    let wide = inner.width >= 120;
    let columns = usize::from(if wide { half.width } else { inner.width });
    let mut left = vec![
        lines::head(theme, "All processes", &format!("{} opens", super::text::thousands(totals.opens))),
        lines::percentiles(
            theme,
            &totals.histogram,
            totals.latency_max_ns,
            totals.latency_ns.checked_div(totals.opens).unwrap_or(0),
        ),
        Line::default(),
    ];
    left.extend(lines::histogram(theme, &totals.histogram, columns, ascii));
    let selected = app.processes.rows.get(app.processes.cursor).and_then(|index| model.processes.get(*index));
    let mut right = Vec::new();
    if let Some(process) = selected {
        let buckets = process.latency.buckets();
        let name = format!("{} {}", process.key.tgid, escaped(process.name()));
        right.push(lines::head(
            theme,
            &name,
            &format!("{} opens · selected in view 1", super::text::thousands(process.opens())),
        ));
        let mean = process.latency_ns.checked_div(process.opens()).unwrap_or(0);
        right.push(lines::percentiles(theme, &buckets, process.latency_max_ns, mean));
        right.push(Line::default());
        right.extend(lines::histogram(theme, &buckets, columns, ascii));
    }
    if wide {
        lines::put(buf, half, &left, usize::from(app.scroll));
        let other = Rect { x: inner.x + half.width + 3, width: inner.width.saturating_sub(half.width + 3), ..inner };
        lines::put(buf, other, &right, usize::from(app.scroll));
    } else {
        left.push(Line::default());
        left.extend(right);
        lines::put(buf, inner, &left, usize::from(app.scroll));
    }
}
