//! Searching: the next row of the list with the keys that contains a word.

use super::App;
use super::focus::{Focus, focus};
use super::settle::order_rows;
use crate::model::processes::Process;

pub(super) fn find(app: &mut App, forward: bool) {
    if app.search.is_empty() {
        app.notice = Some("nothing to search for yet: F3 starts a search".into());
        return;
    }
    find_from(app, forward, true);
}

/// Selects the next row of the pane that contains what is searched for.
pub(super) fn find_from(app: &mut App, forward: bool, beyond: bool) {
    let word = app.search.to_lowercase();
    if word.is_empty() {
        return;
    }
    let focus = focus(app);
    if focus == Focus::Processes {
        order_rows(app, usize::MAX);
    }
    let model = app.model();
    let (rows, here) = match focus {
        Focus::Processes => (app.processes.rows.len(), Some(app.processes.cursor)),
        Focus::Opens => (model.listing.len(&model.history), app.opens.cursor),
        Focus::Files => (app.files.rows.len(), Some(app.files.cursor)),
        Focus::Failures => (app.failures.rows.len(), Some(app.failures.cursor)),
        Focus::Text => return,
    };
    let hit = |row: usize| match focus {
        Focus::Processes => app
            .processes
            .rows
            .get(row)
            .and_then(|i| model.processes.get(*i))
            .is_some_and(|p| process_has(app, p, &word)),
        Focus::Opens => {
            let event = model.listing.seq(&model.history, row).and_then(|seq| model.history.get(seq));
            event.is_some_and(|event| {
                let mut path = Vec::new();
                event.path_into(&mut path);
                contains(&path, &word) || contains(event.comm(), &word)
            })
        }
        Focus::Files => app.files.rows.get(row).is_some_and(|file| contains(&file.path, &word)),
        Focus::Failures => app
            .failures
            .rows
            .get(row)
            .is_some_and(|missing| missing.places.iter().any(|(path, _)| contains(path, &word))),
        Focus::Text => false,
    };
    // Opens are searched from the newest back at first: that is where one looks.
    let start = here.unwrap_or(rows.saturating_sub(1));
    let skip = usize::from(beyond && here.is_some());
    let found = if forward && here.is_some() {
        (start..rows).chain(0..start).skip(skip).find(|row| hit(*row))
    } else {
        (0..=start).rev().chain((start..rows).rev()).skip(skip).find(|row| hit(*row))
    };
    let Some(row) = found else {
        app.notice = Some(format!("nothing found for “{}”", crate::escape::escaped(app.search.as_bytes())));
        return;
    };
    match focus {
        Focus::Processes => {
            app.processes.selected = app.processes.rows.get(row).and_then(|i| model.processes.get(*i)).map(|p| p.key);
            app.processes.cursor = row;
        }
        Focus::Opens => app.opens.selected = model.listing.seq(&model.history, row),
        Focus::Files => (app.files.cursor, app.files.held) = (row, true),
        Focus::Failures => (app.failures.cursor, app.failures.held) = (row, true),
        Focus::Text => {}
    }
}

fn process_has(app: &App, process: &Process, word: &str) -> bool {
    contains(process.name(), word)
        || app.user(process.uid).to_lowercase().contains(word)
        || process.key.tgid.to_string() == word
}

fn contains(text: &[u8], lowercase: &str) -> bool {
    String::from_utf8_lossy(text).to_lowercase().contains(lowercase)
}
