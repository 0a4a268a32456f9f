//! Columns of text with headings: what pages and the views Latency and Health are made of.

use probe_common::HISTOGRAM_BUCKETS;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::text::{self, cut_end, width};
use super::theme::Theme;
use crate::model::histogram::percentile;

/// Puts lines, the first `offset` of which are scrolled away.
pub(super) fn put(buf: &mut Buffer, area: Rect, lines: &[Line<'_>], offset: usize) {
    let offset = offset.min(lines.len().saturating_sub(usize::from(area.height)));
    for (line, y) in lines.iter().skip(offset).zip(area.y..area.bottom()) {
        buf.set_line(area.x, y, line, area.width);
    }
}

/// A heading.
pub(super) fn head<'a>(theme: &Theme, words: &str, more: &str) -> Line<'a> {
    Line::from(vec![Span::styled(words.to_owned(), theme.accent()), Span::styled(format!("  {more}"), theme.dim())])
}

/// A word and what it is.
pub(super) fn pair<'a>(theme: &Theme, word: &str, value: String, style: Style) -> Line<'a> {
    Line::from(vec![Span::styled(format!("{word:<13}"), theme.dim()), Span::styled(value, style)])
}

/// A bar of a share of `columns`, to an eighth of a column.
pub(super) fn bar(share: f64, columns: usize, ascii: bool) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (share.clamp(0.0, 1.0) * columns as f64 * 8.0).round() as usize;
    // Some is never drawn as none.
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    if ascii {
        return "#".repeat(eighths.div_ceil(8));
    }
    let mut out = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        out.push(PARTS.get(eighths % 8).copied().unwrap_or(' '));
    }
    out
}

/// A histogram of durations, a line for each bucket from the first used to the last.
pub(super) fn histogram<'a>(
    theme: &Theme,
    buckets: &[u64; HISTOGRAM_BUCKETS],
    columns: usize,
    ascii: bool,
) -> Vec<Line<'a>> {
    let all: u64 = buckets.iter().sum();
    let first = buckets.iter().position(|c| *c > 0).unwrap_or(0);
    let last = buckets.iter().rposition(|c| *c > 0).unwrap_or(0);
    if all == 0 {
        return vec![Line::styled("no durations yet", theme.dim())];
    }
    let max = buckets.iter().copied().max().unwrap_or(1);
    let room = columns.saturating_sub(30).max(4);
    (first..=last)
        .map(|bucket| {
            let count = buckets.get(bucket).copied().unwrap_or(0);
            let end = if bucket + 1 >= HISTOGRAM_BUCKETS { u64::MAX } else { 1 << (bucket + 1) };
            let share = count as f64 / max as f64;
            let bar = bar(share, room, ascii);
            let gap = room.saturating_sub(width(&bar));
            // A millisecond is slow for an open: from there on it is hot.
            let heat = (bucket as f64 - 8.0) / 14.0;
            Line::from(vec![
                Span::styled(format!("{:>6} ", text::duration(1 << bucket)), theme.dim()),
                Span::styled(format!("… {:<6} ", text::duration(end)), theme.dim()),
                Span::styled(bar, theme.heat(heat)),
                Span::raw(" ".repeat(gap)),
                Span::styled(format!("{:>7}", text::count(count)), theme.text()),
                Span::styled(format!(" {:>5}%", text::percent(count as f64 / all as f64)), theme.dim()),
            ])
        })
        .collect()
}

/// Percentiles in one line.
pub(super) fn percentiles<'a>(
    theme: &Theme,
    buckets: &[u64; HISTOGRAM_BUCKETS],
    max_ns: u64,
    mean_ns: u64,
) -> Line<'a> {
    let mut spans = Vec::new();
    for (word, q) in [("p50 ", 0.5), ("p90 ", 0.9), ("p99 ", 0.99)] {
        let value = percentile(buckets, q, max_ns).map_or("-".into(), text::duration);
        spans.push(Span::styled(word, theme.dim()));
        spans.push(Span::styled(format!("≤{value}  "), theme.name()));
    }
    spans.push(Span::styled("max ", theme.dim()));
    spans.push(Span::styled(format!("{}  ", text::duration(max_ns)), theme.name()));
    spans.push(Span::styled("mean ", theme.dim()));
    spans.push(Span::styled(text::duration(mean_ns), theme.name()));
    Line::from(spans)
}

/// A chart of values, the newest on the right, `rows` lines high.
pub(super) fn chart<'a>(theme: &Theme, values: &[f64], columns: usize, rows: usize, ascii: bool) -> Vec<Line<'a>> {
    let skip = values.len().saturating_sub(columns);
    let values = values.get(skip..).unwrap_or_default();
    let max = values.iter().copied().fold(0.0, f64::max);
    let pad = columns - values.len().min(columns);
    (0..rows)
        .map(|row| {
            // The part of the height that this line stands for.
            let base = (rows - 1 - row) as f64 / rows as f64;
            let parts = values.iter().map(|v| if max > 0.0 { (v / max - base) * rows as f64 } else { 0.0 });
            let mut spans = vec![Span::raw(" ".repeat(pad))];
            for (part, value) in parts.zip(values) {
                let bar = text::spark(std::iter::once(part.min(1.0)), 1.0, ascii);
                let share = if max > 0.0 { value / max } else { 0.0 };
                let glyph = bar.first().map_or(' ', |(glyph, _)| *glyph);
                spans.push(Span::styled(glyph.to_string(), theme.calm(share)));
            }
            if row == 0 {
                spans.push(Span::styled(format!(" {}", text::rate(max)), theme.dim()));
            }
            Line::from(spans)
        })
        .collect()
}

/// A word and what it is, on at most `most` lines.
pub(super) fn paragraph<'a>(theme: &Theme, word: &str, words: &str, columns: usize, most: usize) -> Vec<Line<'a>> {
    let mut all = wrap(words, columns);
    let cut = all.len() > most;
    all.truncate(most);
    if let Some(last) = all.last_mut().filter(|_| cut) {
        // Longer than there is room for: then it is cut where an ellipsis says so.
        last.push('…');
        *last = cut_end(last, columns);
    }
    let word_of = |row: usize| if row == 0 { word } else { "" };
    all.into_iter().enumerate().map(|(row, line)| pair(theme, word_of(row), line, theme.text())).collect()
}

/// Words over as many lines of `columns` columns as they need; longer words are cut.
pub(super) fn wrap(words: &str, columns: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    for word in words.split(' ') {
        let Some(line) = out.last_mut() else { break };
        if line.is_empty() {
            *line = cut_end(word, columns);
        } else if width(line) + 1 + width(word) <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            out.push(cut_end(word, columns));
        }
    }
    out
}

/// Words in at most `columns` columns.
pub(super) fn cut<'a>(words: &str, columns: usize, style: Style) -> Span<'a> {
    Span::styled(cut_end(words, columns), style)
}
