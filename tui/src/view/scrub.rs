//! The line above the footer of a replay: where it is, and how much happened when.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::text::{self, put, width};
use super::theme::Theme;
use crate::app::App;
use crate::app::replay::Replay;

/// Columns before the bar: state, speed and time.
const BEFORE: u16 = 20;
/// Columns behind it: the end's time.
const BEHIND: u16 = 10;

/// Where the bar itself is within the line: a click there goes to that time.
pub(crate) fn bar(line: Rect) -> Rect {
    Rect { x: line.x + BEFORE.min(line.width), width: line.width.saturating_sub(BEFORE + BEHIND), ..line }
}

/// Draws it.
pub(super) fn draw(app: &App, replay: &Replay, theme: &Theme, line: Rect, buf: &mut Buffer) {
    if line.height == 0 {
        return;
    }
    let ascii = app.settings.look.ascii;
    let mark = match (replay.position.ended, replay.position.playing, ascii) {
        (true, _, false) => "■",
        (true, _, true) => "#",
        (_, true, false) => "▶",
        (_, true, true) => ">",
        (_, false, false) => "❚",
        (_, false, true) => "|",
    };
    let style = if replay.position.playing && !replay.position.ended { theme.good() } else { theme.warn() };
    put(buf, line.x + 1, line.y, 2, mark, style);
    put(buf, line.x + 3, line.y, 8, &text::clock(replay.seconds()), theme.text());
    put(buf, line.x + 12, line.y, 7, &speed(replay.position.speed, ascii), theme.dim());
    let bar = bar(line);
    let columns = usize::from(bar.width);
    let bars = replay.bars(columns);
    let max = bars.iter().copied().fold(0.0, f64::max);
    let here = replay.share().map(|share| ((share * columns as f64) as usize).min(columns.saturating_sub(1)));
    for (column, (glyph, share)) in text::spark(bars.into_iter(), max, ascii).into_iter().enumerate() {
        let behind = here.is_some_and(|here| column <= here);
        let x = bar.x + u16::try_from(column).unwrap_or(u16::MAX);
        put(buf, x, line.y, 1, &glyph.to_string(), if behind { theme.calm(share) } else { theme.faint() });
    }
    for share in replay.marked_shares() {
        let column = ((share * columns as f64) as usize).min(columns.saturating_sub(1));
        let x = bar.x + u16::try_from(column).unwrap_or(0);
        put(buf, x, line.y, 1, if ascii { "v" } else { "▼" }, theme.warn());
    }
    if let Some(here) = here {
        let x = bar.x + u16::try_from(here).unwrap_or(0);
        put(buf, x, line.y, 1, if ascii { "|" } else { "┃" }, theme.accent());
    }
    let end = match replay.position.end_ns {
        Some(end) => text::clock(end.saturating_sub(replay.position.start_ns) / 1_000_000_000),
        None => "no end yet".to_owned(),
    };
    let columns = u16::try_from(width(&end) + 1).unwrap_or(u16::MAX);
    put(buf, line.right().saturating_sub(columns), line.y, columns, &end, theme.dim());
}

/// "×1", "×0.25", "×100".
fn speed(speed: f64, ascii: bool) -> String {
    let sign = if ascii { 'x' } else { '×' };
    let digits = format!("{speed:.2}");
    format!("{sign}{}", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_short() {
        assert_eq!(speed(1.0, false), "×1");
        assert_eq!(speed(0.25, true), "x0.25");
        assert_eq!(speed(100.0, false), "×100");
    }
}
