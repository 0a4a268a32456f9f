//! Draws the state: `&App` in, cells out, one file per region of the screen. Changes nothing, reads no clock.
//!
//! Only rows that are visible are built. Every byte from outside passes [`crate::escape`] before it becomes a cell.

mod columns;
mod failures;
mod files;
mod footer;
mod frame;
mod header;
mod health;
pub mod help;
pub(crate) mod hit;
mod latency;
mod lines;
mod menu;
mod open;
mod opens;
mod page;
mod processes;
mod prompt;
mod scrub;
mod stacks;
mod tabs;
pub mod text;
mod texts;
mod theme;

use ratatui::buffer::Buffer;

use crate::app::layout::{MIN_HEIGHT, MIN_WIDTH, regions};
use crate::app::{App, Mode, Page, Tab};
use theme::Theme;

/// Draws the screen into an empty buffer of its size.
pub fn draw(app: &App, buf: &mut Buffer) {
    let look = app.settings.look;
    let theme = Theme::new(look.theme, look.colors);
    let Some(at) = regions(app) else {
        return too_small(app, &theme, buf);
    };
    // The buffer of a screen that has just changed its size may still be of the old one.
    if *buf.area() != at.screen {
        return;
    }
    header::draw(app, &theme, at.header, buf);
    tabs::draw(app, &theme, at.tabs, buf);
    match (&app.page, app.tab) {
        (Some(Page::Event(record)), _) => open::draw(app, record, &theme, at.body, buf),
        (Some(Page::Process(inner)), _) => {
            frame::panes(buf, &at, theme.faint(), look.ascii);
            page::process(app, inner, &theme, at.processes.outer, buf);
            if at.opens.outer.height > 0 {
                opens::draw(app, &theme, at.opens, buf);
            }
        }
        (None, Tab::Live) => {
            frame::panes(buf, &at, theme.faint(), look.ascii);
            processes::draw(app, &theme, at.processes, buf);
            opens::draw(app, &theme, at.opens, buf);
        }
        (None, Tab::Files) => files::draw(app, &theme, at.single, buf),
        (None, Tab::Failures) => failures::draw(app, &theme, &at, buf),
        (None, Tab::Latency) => latency::draw(app, &theme, at.single, buf),
        (None, Tab::Health) => health::draw(app, &theme, at.single, buf),
    }
    if let Some(replay) = &app.replay {
        scrub::draw(app, replay, &theme, at.scrub, buf);
    }
    footer::draw(app, &theme, at.footer, buf);
    match &app.mode {
        Mode::Normal => {}
        Mode::Prompt(line) => prompt::draw(app, line, &theme, at.prompt, at.footer, buf),
        Mode::Menu(items) => menu::draw(app, items, &theme, at.body, buf),
        Mode::Columns(cursor) => columns::draw(app, *cursor, &theme, at.body, buf),
        Mode::Help(offset) => help::draw(app, *offset, &theme, at.body, buf),
    }
    if look.ascii {
        to_ascii(buf);
    }
}

/// Replaces our own characters beyond ASCII. What comes from outside stays as it is.
fn to_ascii(buf: &mut Buffer) {
    for cell in &mut buf.content {
        let plain = match cell.symbol() {
            "…" => "~",
            "·" => ",",
            "×" => "x",
            "µ" => "u",
            "│" => "|",
            "├" => "|",
            "└" => "`",
            "─" => "-",
            "❚" => "|",
            "▸" => ">",
            "▾" => "v",
            "▼" => "v",
            "≤" => "<",
            "“" | "”" => "\"",
            _ => continue,
        };
        cell.set_symbol(plain);
    }
}

fn too_small(app: &App, theme: &Theme, buf: &mut Buffer) {
    let area = *buf.area();
    let (width, height) = app.size;
    let lines =
        [format!("opentop needs {MIN_WIDTH}×{MIN_HEIGHT}"), format!("this is {width}×{height}"), "q quits".to_owned()];
    let top = area.height.saturating_sub(3) / 2;
    for (y, line) in (top..area.height).zip(&lines) {
        let columns = u16::try_from(text::width(line)).unwrap_or(u16::MAX);
        let x = area.width.saturating_sub(columns) / 2;
        text::put(buf, x, y, area.width - x, line, theme.text());
    }
}

#[cfg(test)]
mod tests;
