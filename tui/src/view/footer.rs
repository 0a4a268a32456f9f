//! The last line: the keys that matter, from the one table; or a sentence for the person.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::text::{put, put_cut, width};
use super::theme::Theme;
use crate::app::focus::{Focus, focus};
use crate::app::keys::{Action, PROMPT_KEYS, footer};
use crate::app::layout::regions;
use crate::app::{App, Mode, Page, Tab};

/// Draws it.
pub(super) fn draw(app: &App, theme: &Theme, area: Rect, buf: &mut Buffer) {
    buf.set_style(area, theme.bar());
    if let Some(notice) = &app.notice {
        put_cut(buf, area.x + 1, area.y, area.width.saturating_sub(2), notice, theme.warn());
        return;
    }
    if matches!(app.mode, Mode::Normal) {
        for Place { key, word, x, .. } in places(app, area) {
            let x = put(buf, x, area.y, area.right().saturating_sub(x), key, theme.accent());
            put(buf, x + 1, area.y, area.right().saturating_sub(x + 1), word, theme.dim());
        }
        return;
    }
    let keys: &[(&str, &str)] = match app.mode {
        Mode::Prompt(_) => PROMPT_KEYS,
        Mode::Menu(_) => &[("Enter", "choose"), ("x", "hide or show only"), ("Esc", "back")],
        Mode::Columns(_) => &[("Space", "show or hide"), ("Esc", "back")],
        Mode::Help(_) => &[("Up", "scroll"), ("any key", "back")],
        Mode::Normal => &[],
    };
    let mut x = area.x + 1;
    for (key, word) in keys {
        // Half a word helps nobody.
        if x.saturating_add(columns(key, word)) > area.right() {
            break;
        }
        x = put(buf, x, area.y, area.right() - x, key, theme.accent());
        x = put(buf, x + 1, area.y, area.right().saturating_sub(x + 1), word, theme.dim()) + 2;
    }
}

/// A key in the footer, and where it stands.
struct Place<'a> {
    action: Action,
    key: &'a str,
    word: &'static str,
    x: u16,
    width: u16,
}

fn columns(key: &str, word: &str) -> u16 {
    u16::try_from(width(key) + 1 + width(word)).unwrap_or(u16::MAX)
}

/// The keys that fit, from the left; the way out is always there, at the right end.
fn places(app: &App, area: Rect) -> Vec<Place<'_>> {
    let keymap = &app.settings.prefs.keymap;
    let key_of = |action| keymap.keys(action).first().map(String::as_str);
    let rows = footer(app.replay.is_some()).filter(|b| means_something(app, b.action));
    let mut keys: Vec<_> = rows.filter_map(|b| Some((b.action, key_of(b.action)?, b.word))).collect();
    let mut out = Vec::new();
    let mut end = area.right();
    if let Some((action, key, word)) = keys.pop() {
        let width = columns(key, word);
        end = area.right().saturating_sub(width + 1);
        out.push(Place { action, key, word, x: end, width });
    }
    let mut x = area.x + 1;
    for (action, key, word) in keys {
        let width = columns(key, word);
        // Two columns of air before the way out.
        if x.saturating_add(width) + 1 >= end {
            break;
        }
        out.push(Place { action, key, word, x, width });
        x += width + 2;
    }
    out
}

/// Whether a key does something on the screen as it is. Others work all the same, where they mean something else.
fn means_something(app: &App, action: Action) -> bool {
    let live = app.page.is_none() && app.tab == Tab::Live;
    let focus = focus(app);
    match action {
        Action::Back => app.page.is_some() || app.frozen.is_some() || app.filter().is_some(),
        Action::Inspect | Action::Only => focus != Focus::Text || matches!(app.page, Some(Page::Event(_))),
        Action::Sort => focus != Focus::Text && app.page.is_none(),
        Action::Tree => live || focus == Focus::Files,
        Action::Follow => live || focus == Focus::Opens,
        Action::NextPane => {
            let opens = || regions(app).is_some_and(|at| at.opens.outer.height > 0);
            live || (matches!(app.page, Some(Page::Process(_))) && opens())
        }
        _ => true,
    }
}

/// What a click at `x` stands for.
#[must_use]
pub(crate) fn action_at(app: &App, area: Rect, x: u16) -> Option<Action> {
    if app.notice.is_some() {
        return None;
    }
    let place = places(app, area).into_iter().find(|place| (place.x..place.x + place.width).contains(&x))?;
    Some(place.action)
}
