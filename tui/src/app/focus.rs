//! What the keys are about: the list that has them, and its selected row.

use super::{App, Page, Pane, Tab};
use crate::event::Event;
use crate::model::processes::Process;

/// The thing that arrow keys move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    /// The process table.
    Processes,
    /// The list of opens.
    Opens,
    /// The files.
    Files,
    /// The failures.
    Failures,
    /// Text that is only scrolled.
    Text,
}

/// A selected row.
#[derive(Clone, Copy, Debug)]
pub enum Row<'a> {
    /// A process.
    Process(&'a Process),
    /// An open.
    Open(Event<'a>),
    /// A path, of a failure with its errno.
    Path(&'a [u8], Option<i32>),
    /// A directory of the tree of files, with the slash at its end.
    Dir(&'a [u8]),
}

/// What has the keys.
#[must_use]
pub fn focus(app: &App) -> Focus {
    match (&app.page, app.tab, app.pane) {
        (Some(Page::Event(_)), _, _) | (Some(_), _, Pane::Processes) => Focus::Text,
        (Some(_), _, Pane::Opens) => Focus::Opens,
        (None, Tab::Live, Pane::Processes) => Focus::Processes,
        (None, Tab::Live, Pane::Opens) => Focus::Opens,
        (None, Tab::Files, _) => Focus::Files,
        (None, Tab::Failures, _) => Focus::Failures,
        (None, Tab::Latency | Tab::Health, _) => Focus::Text,
    }
}

/// The selected row of what has the keys.
#[must_use]
pub fn row(app: &App) -> Option<Row<'_>> {
    let model = app.model();
    match focus(app) {
        Focus::Processes => {
            let index = app.processes.rows.get(app.processes.cursor)?;
            model.processes.get(*index).map(Row::Process)
        }
        Focus::Opens => {
            // While following, the newest stands for the selected one.
            let rows = model.listing.len(&model.history);
            let row = app.opens.cursor.unwrap_or(rows.checked_sub(1)?);
            let seq = model.listing.seq(&model.history, row)?;
            model.history.get(seq).map(Row::Open)
        }
        Focus::Files => {
            let row = app.files.rows.get(app.files.cursor)?;
            Some(if row.is_dir() { Row::Dir(&row.path) } else { Row::Path(&row.path, None) })
        }
        Focus::Failures => {
            let row = app.failures.rows.get(app.failures.cursor)?;
            let path = row.places.first().map_or(&*row.name, |(path, _)| path);
            Some(Row::Path(path, Some(row.errno)))
        }
        Focus::Text => match &app.page {
            Some(Page::Event(record)) => Event::decode(record).ok().map(Row::Open),
            Some(Page::Process(page)) => model.processes.by_key(&page.key).map(Row::Process),
            None => None,
        },
    }
}
