//! The help: every key of the one table, and how to read the columns.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Clear, Widget};

use super::frame;
use super::lines::wrap;
use super::text::{put, put_cut};
use super::theme::Theme;
use crate::app::App;
use crate::app::keys::{Group, rows};

/// Columns of the keys.
const KEYS: u16 = 17;

/// What the mouse does.
pub const MOUSE: [(&str, &str); 5] = [
    ("click", "selects a row; on the selected one looks closer; on a head sorts; on a tab or a key below does it"),
    ("right click", "filters by what is in the row, or hides it"),
    ("▸ ▾", "fold and unfold"),
    ("wheel", "scrolls"),
    ("drag", "the line between the panes moves it; a click on the bar of a replay goes there"),
];

/// What is explained beside the keys.
const LEGEND: [(&str, &str); 8] = [
    ("OPENS", "since the capture began: counted in the kernel, exact whatever was lost"),
    ("OPENS/s", "of late, smoothed over a few seconds"),
    ("FAIL%", "share of the opens that failed"),
    ("p99", "99 % of the opens took at most this: the upper end of a power of two"),
    ("RESULT", "the descriptor, the name of the errno, or ok where there is no descriptor (exec)"),
    ("in a tree", "numbers are sums of a process and all below it, those that have gone with them; p99 is its own"),
    ("dimmed", "the process has exited; it goes after a minute"),
    ("\\xNN", "a byte that is not printable text; \\\\ is a backslash"),
];

/// Draws it over the body.
pub(super) fn draw(app: &App, offset: u16, theme: &Theme, body: Rect, buf: &mut Buffer) {
    let width = body.width.saturating_sub(2).min(92);
    let all = lines(app, theme, usize::from(width.saturating_sub(4 + KEYS)));
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
        // A heading has the line for itself.
        put_cut(buf, rows.x, y, if help.is_empty() { rows.width } else { KEYS - 1 }, key, *style);
        put_cut(buf, rows.x + KEYS, y, rows.width.saturating_sub(KEYS), help, theme.text());
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

fn lines(app: &App, theme: &Theme, room: usize) -> Vec<(String, String, Style)> {
    let replaying = app.replay.is_some();
    let mut out = Vec::new();
    for group in Group::ALL.into_iter().filter(|group| replaying || *group != Group::Replay) {
        out.push((group.title().to_owned(), String::new(), theme.head()));
        for binding in rows(replaying).filter(|b| b.group == group) {
            let keys = app.settings.prefs.keymap.keys(binding.action).join(" ");
            add(&mut out, theme, &keys, binding.help, room);
        }
        out.push((String::new(), String::new(), theme.text()));
    }
    out.push(("The mouse".to_owned(), String::new(), theme.head()));
    for (word, help) in MOUSE {
        add(&mut out, theme, word, help, room);
    }
    out.push((String::new(), String::new(), theme.text()));
    out.push(("What stands there".to_owned(), String::new(), theme.head()));
    let mut letters = crate::flags::letters().map(|(letter, meaning)| format!("{letter} {meaning}")).peekable();
    let mut word = "FLAGS";
    while letters.peek().is_some() {
        let row: Vec<String> = letters.by_ref().take(2).collect();
        add(&mut out, theme, word, &row.join(" · "), room);
        word = "";
    }
    for (word, help) in LEGEND {
        add(&mut out, theme, word, help, room);
    }
    out
}

/// A word and what is said about it, on as many lines as that needs.
fn add(out: &mut Vec<(String, String, Style)>, theme: &Theme, word: &str, help: &str, room: usize) {
    let mut word = format!("  {word}");
    for line in wrap(help, room) {
        out.push((std::mem::take(&mut word), line, theme.accent()));
    }
}
