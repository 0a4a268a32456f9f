//! Borders: rounded, shared between neighbours, with titles on them and a mark of how far a list is scrolled.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::text::{put, width};
use super::theme::Theme;
use crate::app::layout::{Arrangement, Regions};

/// The characters of a border.
struct Lines {
    horizontal: &'static str,
    vertical: &'static str,
    corners: [&'static str; 4],
    tees: [&'static str; 4],
    thumb: &'static str,
}

const ROUNDED: Lines =
    Lines {
        horizontal: "─", vertical: "│", corners: ["╭", "╮", "╰", "╯"], tees: ["├", "┤", "┬", "┴"], thumb: "┃"
    };

const ASCII: Lines =
    Lines { horizontal: "-", vertical: "|", corners: ["+", "+", "+", "+"], tees: ["+", "+", "+", "+"], thumb: "#" };

fn lines(ascii: bool) -> &'static Lines {
    if ascii { &ASCII } else { &ROUNDED }
}

/// One frame around `area`.
pub(super) fn around(buf: &mut Buffer, area: Rect, style: Style, ascii: bool) {
    let l = lines(ascii);
    if area.width < 2 || area.height < 2 {
        return;
    }
    let (left, right, top, bottom) = (area.x, area.right() - 1, area.y, area.bottom() - 1);
    for x in left..=right {
        put(buf, x, top, 1, l.horizontal, style);
        put(buf, x, bottom, 1, l.horizontal, style);
    }
    for y in top..=bottom {
        put(buf, left, y, 1, l.vertical, style);
        put(buf, right, y, 1, l.vertical, style);
    }
    for ((x, y), corner) in [(left, top), (right, top), (left, bottom), (right, bottom)].into_iter().zip(l.corners) {
        put(buf, x, y, 1, corner, style);
    }
}

/// The frames of the two panes, which share a line or a column.
pub(super) fn panes(buf: &mut Buffer, at: &Regions, style: Style, ascii: bool) {
    let l = lines(ascii);
    let [left, right, top, bottom] = l.tees;
    around(buf, at.body, style, ascii);
    let opens = at.opens.outer;
    if opens.is_empty() {
        return;
    }
    match at.arrangement {
        Arrangement::Stacked => {
            for x in at.body.x..at.body.right() {
                put(buf, x, opens.y, 1, l.horizontal, style);
            }
            put(buf, opens.x, opens.y, 1, left, style);
            put(buf, opens.right() - 1, opens.y, 1, right, style);
        }
        Arrangement::SideBySide => {
            for y in at.body.y..at.body.bottom() {
                put(buf, opens.x, y, 1, l.vertical, style);
            }
            put(buf, opens.x, opens.y, 1, top, style);
            put(buf, opens.x, opens.bottom() - 1, 1, bottom, style);
        }
    }
}

/// Words on the upper border: `left` pieces from the left, `right` pieces against its right end.
pub(super) fn titles(buf: &mut Buffer, outer: Rect, left: &[(&str, Style)], right: &[(&str, Style)]) {
    let end = outer.right().saturating_sub(2);
    let mut x = outer.x + 2;
    for (text, style) in left {
        x = put(buf, x, outer.y, end.saturating_sub(x), text, *style);
    }
    let columns: usize = right.iter().map(|(text, _)| width(text)).sum();
    let start = end.saturating_sub(u16::try_from(columns).unwrap_or(u16::MAX));
    // The right one gives way: the title says what the pane is.
    if columns > 0 && start > x {
        let mut x = start;
        for (text, style) in right {
            x = put(buf, x, outer.y, end.saturating_sub(x), text, *style);
        }
    }
}

/// The lines before a row of a tree: `lines` has a bit for each level on which more is to come below. At most `columns`
/// columns of them: of what is deep, the last levels.
pub(super) fn branches(depth: u16, lines: u64, columns: usize, ascii: bool) -> String {
    let [on, end, below, nothing] = if ascii { ["|-", "`-", "| ", "  "] } else { ["├─", "└─", "│ ", "  "] };
    let more = |level: u16| lines >> level.min(63) & 1 == 1;
    let skip = usize::from(depth).saturating_sub(columns / 2);
    let levels = (0..depth).map(|level| match (level + 1 == depth, more(level)) {
        (true, true) => on,
        (true, false) => end,
        (false, true) => below,
        (false, false) => nothing,
    });
    levels.skip(skip).collect()
}

/// The mark of a row that has others below it: folded away or not.
pub(super) fn fold(folded: bool, ascii: bool) -> &'static str {
    match (folded, ascii) {
        (true, false) => "▸ ",
        (false, false) => "▾ ",
        (true, true) => "+ ",
        (false, true) => "- ",
    }
}

/// Marks on the right border which part of a list is seen.
pub(super) fn thumb(buf: &mut Buffer, rows: Rect, offset: usize, total: usize, theme: &Theme, ascii: bool) {
    let height = usize::from(rows.height);
    if height == 0 || total <= height {
        return;
    }
    let size = (height * height / total).clamp(1, height);
    let start = (offset * (height - size)).div_ceil(total - height).min(height - size);
    for row in start..start + size {
        let y = rows.y + u16::try_from(row).unwrap_or(0);
        put(buf, rows.right() + 1, y, 1, lines(ascii).thumb, theme.dim());
    }
}
