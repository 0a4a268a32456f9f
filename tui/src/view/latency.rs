//! The view Latency: the kernel's histogram of all opens, and of the selected process.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::texts::{self, Column, halves, inside};
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
    texts::draw(app, theme, &columns(app, theme, at.outer), at.outer, buf);
}

/// Its text.
pub(super) fn columns<'a>(app: &App, theme: &Theme, outer: Rect) -> Vec<Column<'a>> {
    let ascii = app.settings.look.ascii;
    let inner = inside(outer);
    let model = app.model();
    let totals = &model.totals;
    let (half, other) = halves(inner);
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
        return vec![(half, left), (other, right)];
    }
    left.push(Line::default());
    left.extend(right);
    vec![(inner, left)]
}
