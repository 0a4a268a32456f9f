//! The last line: the keys that matter, from the one table; or a sentence for the person.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::text::{put, put_cut, width};
use super::theme::Theme;
use crate::app::keys::{PROMPT_KEYS, footer};
use crate::app::{App, Mode};

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, area: Rect, buf: &mut Buffer) {
    buf.set_style(area, theme.bar());
    if let Some(notice) = &app.notice {
        put_cut(buf, area.x + 1, area.y, area.width.saturating_sub(2), notice, theme.warn());
        return;
    }
    let keys: Vec<(&str, &str)> = match app.mode {
        Mode::Prompt(_) => PROMPT_KEYS.to_vec(),
        Mode::Menu(_) => vec![("Enter", "choose"), ("x", "hide or show only"), ("Esc", "back")],
        Mode::Columns(_) => vec![("Space", "show or hide"), ("Esc", "back")],
        Mode::Help(_) => vec![("Up", "scroll"), ("any key", "back")],
        Mode::Normal => {
            let first = |action| app.settings.prefs.keymap.keys(action).first().map(String::as_str);
            footer(app.replay.is_some()).filter_map(|b| Some((first(b.action)?, b.word))).collect()
        }
    };
    let mut keys = keys;
    let mut end = area.right();
    // The way out is always there.
    if let (Mode::Normal, Some((key, word))) = (&app.mode, keys.pop()) {
        let columns = u16::try_from(width(key) + 2 + width(word)).unwrap_or(u16::MAX);
        end = area.right().saturating_sub(columns);
        let x = put(buf, end, area.y, columns, key, theme.accent());
        put(buf, x + 1, area.y, area.right().saturating_sub(x + 1), word, theme.dim());
    }
    let mut x = area.x + 1;
    for (key, word) in keys {
        let columns = u16::try_from(width(key) + 1 + width(word)).unwrap_or(u16::MAX);
        // Half a word helps nobody.
        if x.saturating_add(columns) > end {
            break;
        }
        x = put(buf, x, area.y, area.right() - x, key, theme.accent());
        x = put(buf, x + 1, area.y, area.right().saturating_sub(x + 1), word, theme.dim()) + 2;
    }
}
