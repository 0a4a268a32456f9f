//! The line in which a filter or a search is typed, and what is said about it, under the caret.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::header::right;
use super::text::{put, put_cut, thousands, width};
use super::theme::Theme;
use crate::app::App;
use crate::app::prompt::{Prompt, Purpose};
use crate::escape::escaped;

const HINT: &str = "words AND · a|b or · !not · comm:nginx path:/etc/** pid:42 user:root err:ENOENT · dur>1ms · failed";

/// Draws it, and over the `footer` what is wrong with it where there is no room for that beside the mark.
pub(super) fn draw(app: &App, prompt: &Prompt, theme: &Theme, area: Rect, footer: Rect, buf: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    let word = match prompt.purpose {
        Purpose::Filter => " filter",
        Purpose::Search => " search",
        Purpose::Time => " go to",
        Purpose::Capture => " capture",
    };
    let below = Rect { y: area.y + 1, height: 1, ..area };
    let x = put(buf, area.x, area.y, area.width, word, theme.accent());
    let start = put(buf, x, area.y, area.width, if app.settings.look.ascii { " > " } else { " ❯ " }, theme.dim());
    // What is typed scrolls so that the caret is visible.
    let (before, after) = prompt.text.split_at_checked(prompt.caret).unwrap_or((&prompt.text, ""));
    let (before, after) = (escaped(before.as_bytes()), escaped(after.as_bytes()));
    let (here, rest) = after.split_at(after.chars().next().map_or(0, char::len_utf8));
    let matches = matches(app, prompt, theme);
    let kept = matches.iter().map(|(text, _)| width(text)).sum::<usize>() + 2;
    let room = usize::from(area.right().saturating_sub(start)).saturating_sub(kept).max(10);
    let mut skip = 0;
    while width(before.get(skip..).unwrap_or_default()) + 1 > room {
        skip += before.get(skip..).and_then(|s| s.chars().next()).map_or(1, char::len_utf8);
    }
    let seen = before.get(skip..).unwrap_or_default();
    let end = start + u16::try_from(room).unwrap_or(u16::MAX);
    let x = put(buf, start, area.y, end.saturating_sub(start), seen, theme.name());
    let caret = x;
    let x = put(
        buf,
        x,
        area.y,
        end.saturating_sub(x).max(1),
        if here.is_empty() { " " } else { here },
        Style::new().add_modifier(Modifier::REVERSED),
    );
    put(buf, x, area.y, end.saturating_sub(x), rest, theme.name());
    right(buf, Rect { height: 1, ..area }, &matches);
    match &prompt.error {
        Some((message, at)) => {
            let columns_to = |byte: usize| {
                let text = prompt.text.get(..byte.min(prompt.text.len())).unwrap_or(&prompt.text);
                u16::try_from(
                    width(&escaped(text.as_bytes())).saturating_sub(width(before.get(..skip).unwrap_or_default())),
                )
                .unwrap_or(0)
            };
            let from = (start + columns_to(at.start)).min(area.right().saturating_sub(4));
            let to = (start + columns_to(at.end)).clamp(from + 1, area.right().max(from + 1));
            let mark = "^".repeat(usize::from(to - from));
            let columns = u16::try_from(width(message)).unwrap_or(u16::MAX);
            let message = crate::escape::escaped(message.as_bytes());
            put(buf, from, below.y, area.right() - from, &mark, theme.bad());
            // Behind the mark where there is room, else before it.
            if to.saturating_add(1).saturating_add(columns) <= area.right() {
                put(buf, to + 1, below.y, area.right() - to - 1, &message, theme.bad());
            } else if columns < from {
                put(buf, from - columns - 1, below.y, columns, &message, theme.bad());
            } else {
                buf.set_style(footer, theme.bar());
                put(buf, footer.x, footer.y, footer.width, &" ".repeat(usize::from(footer.width)), theme.bar());
                put_cut(buf, footer.x + 1, footer.y, footer.width.saturating_sub(2), &message, theme.bad());
            }
        }
        None => {
            let hint = match (prompt.purpose, offers(prompt)) {
                (Purpose::Search, _) => "name, user, pid or part of a path; n and N go on from there".to_owned(),
                (Purpose::Time, _) => {
                    "seconds, 1:30 or 01:02:03 into the recording · +20s or -5m from here · 50%".to_owned()
                }
                (Purpose::Capture, _) => prompt.note.clone(),
                (_, Some(offers)) => offers,
                (_, None) => HINT.to_owned(),
            };
            put_cut(buf, start.min(caret), below.y, area.right().saturating_sub(start), &hint, theme.dim());
        }
    }
}

/// What Tab would put at the caret, in words; `None` where nothing is typed or nothing known begins like it.
fn offers(prompt: &Prompt) -> Option<String> {
    let offers = prompt.completions();
    let typed = prompt.text.get(..prompt.caret)?;
    if typed.trim().is_empty() || typed.ends_with(' ') {
        return None;
    }
    match offers.as_slice() {
        [] => None,
        [only] if only.doc.is_empty() => Some(format!("Tab: {}", only.text)),
        [only] => Some(format!("Tab: {}  {}", only.text, only.doc)),
        many => Some(format!("Tab: {}", many.iter().map(|offer| offer.text.as_str()).collect::<Vec<_>>().join("  "))),
    }
}

fn matches(app: &App, prompt: &Prompt, theme: &Theme) -> Vec<(String, Style)> {
    if prompt.purpose != Purpose::Filter {
        return Vec::new();
    }
    let model = app.model();
    let here = model.listing.len(&model.history) as u64;
    let more = if app.is_examining() { "…" } else { "" };
    vec![
        (format!("{}{more}", thousands(here)), theme.name()),
        (format!(" of {} ", thousands(model.history.len() as u64)), theme.dim()),
    ]
}
