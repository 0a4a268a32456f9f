//! The help: every key of the one table, and how to read the columns.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget};

use super::frame;
use super::text::{put, put_cut};
use super::theme::Theme;
use crate::app::App;
use crate::app::keys::{Group, rows};

/// What is explained beside the keys.
const LEGEND: [(&str, &str); 7] = [
    ("OPENS", "since the capture began: counted in the kernel, exact whatever was lost"),
    ("OPENS/s", "of late, smoothed over a few seconds"),
    ("FAIL%", "share of the opens that failed"),
    ("p99", "99 % of the opens took at most this: the upper end of a power of two"),
    ("RESULT", "the descriptor, the name of the errno, or ok where there is no descriptor (exec)"),
    ("dimmed", "the process has exited; it goes after a minute"),
    ("\\xNN", "a byte that is not printable text; \\\\ is a backslash"),
];

/// Draws it over the body.
pub(super) fn draw(app: &App, offset: u16, theme: &Theme, body: Rect, buf: &mut Buffer) {
    let width = body.width.saturating_sub(4).min(92);
    let all = lines(app, theme);
    let height = body.height.min(u16::try_from(all.len()).unwrap_or(u16::MAX).saturating_add(2));
    let area = Rect { x: body.x + (body.width - width) / 2, y: body.y + (body.height - height) / 2, width, height };
    Clear.render(area, buf);
    frame::around(buf, area, theme.accent(), app.settings.look.ascii);
    frame::titles(
        buf,
        area,
        &[(" opentop: who opens what ", theme.accent())],
        &[(concat!(" ", env!("CARGO_PKG_VERSION"), " "), theme.dim())],
    );
    let rows = Rect {
        x: area.x + 2,
        y: area.y + 1,
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    };
    let offset = usize::from(offset).min(all.len().saturating_sub(usize::from(rows.height)));
    for (y, (key, help, style)) in (rows.y..rows.bottom()).zip(all.iter().skip(offset)) {
        put_cut(buf, rows.x, y, 20, key, *style);
        put_cut(buf, rows.x + 21, y, rows.width.saturating_sub(21), help, theme.text());
    }
    let seen = Rect { width: area.width.saturating_sub(2), x: area.x, ..rows };
    frame::thumb(buf, seen, offset, all.len(), theme, app.settings.look.ascii);
    put(
        buf,
        area.x + 2,
        area.bottom().saturating_sub(1),
        area.width.saturating_sub(4),
        " any key goes back ",
        theme.dim(),
    );
}

fn lines(app: &App, theme: &Theme) -> Vec<(String, String, Style)> {
    let replaying = app.replay.is_some();
    let mut out = Vec::new();
    for group in Group::ALL.into_iter().filter(|group| replaying || *group != Group::Replay) {
        out.push((group.title().to_owned(), String::new(), theme.head()));
        for binding in rows(replaying).filter(|b| b.group == group) {
            out.push((
                format!("  {}", app.settings.prefs.keymap.keys(binding.action).join(" ")),
                binding.help.to_owned(),
                theme.accent(),
            ));
        }
        out.push((String::new(), String::new(), theme.text()));
    }
    out.push(("What stands there".to_owned(), String::new(), theme.head()));
    let mut letters = crate::flags::letters().map(|(letter, meaning)| format!("{letter} {meaning}")).peekable();
    let mut word = "  FLAGS";
    while letters.peek().is_some() {
        let row: Vec<String> = letters.by_ref().take(2).collect();
        out.push((word.to_owned(), row.join(" · "), theme.accent()));
        word = "";
    }
    out.extend(LEGEND.iter().map(|(word, help)| (format!("  {word}"), (*help).to_owned(), theme.accent())));
    out
}
