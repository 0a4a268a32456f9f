//! Makes orders, offsets and selections fit what is there now and the size of the screen: after every change, so
//! that drawing has nothing left to decide.

use ratatui::layout::Rect;

use super::layout::regions;
use super::{App, Page, Tab, page, tables};
use crate::event::Event;
use crate::model::processes::Process;
use crate::model::{order, tree};
use crate::view::hit;

/// Brings the order of the processes up to date, for at least `rows` rows.
pub(super) fn order_rows(app: &mut App, rows: usize) {
    let samples = app.model().samples();
    let list = &app.processes;
    let enough = list.rows.len() >= rows.min(list.total);
    if !list.stale && enough && list.samples == samples {
        return;
    }
    let model = app.model();
    let filtered = model.listing.filter().is_some();
    let keep = |p: &Process| !filtered || model.processes.matched(p) > 0;
    let user = |uid| app.user(uid);
    let mut branches = Vec::new();
    let (rows, total) = match &list.tree {
        Some(tree) => {
            branches = tree::rows(&model.processes, list.sort, &tree.folded, keep, user);
            (branches.iter().map(|branch| branch.index).collect(), branches.len())
        }
        // Some more than asked for: a step down must not sort everything again.
        None => order::first(&model.processes, list.sort, rows.saturating_add(256), keep, user),
    };
    let list = &mut app.processes;
    (list.rows, list.total, list.samples, list.stale) = (rows, total, samples, false);
    if let Some(tree) = &mut list.tree {
        tree.branches = branches;
    }
    list.most = list.most.max(total);
}

/// Makes offsets and selections fit what is there now and the size of the screen.
pub(super) fn settle(app: &mut App) {
    let Some(at) = regions(app) else { return };
    let samples = app.model().samples();
    if app.tables_stale || app.table_samples != samples {
        (app.table_samples, app.tables_stale) = (samples, false);
        tables::refresh(app);
        page::refresh(app);
        name_processes(app);
    }
    if app.scroll > 0 {
        app.scroll = app.scroll.min(hit::text_overflow(app));
    }
    match (&app.page, app.tab) {
        (Some(Page::Event(_)), _) => {}
        (Some(Page::Process(_)), _) => settle_opens(app, at.opens.rows),
        (None, Tab::Live) => {
            settle_processes(app, at.processes.rows);
            settle_opens(app, at.opens.rows);
        }
        (None, Tab::Files) => app.files.settle(usize::from(at.single.rows.height)),
        (None, Tab::Failures) => app.failures.settle(usize::from(at.processes.rows.height)),
        (None, Tab::Latency | Tab::Health) => {}
    }
}

/// Learns the names of the processes that the page of an open speaks of: they outlive the process there.
fn name_processes(app: &mut App) {
    let Some(Page::Event(record)) = &app.page else { return };
    let mut pids = Event::decode(record).map_or_else(|_| Vec::new(), |e| vec![e.header().tgid, e.header().ppid]);
    pids.retain(|pid| !app.comms.contains_key(pid));
    // Bounded: names of long gone processes give way to their numbers.
    if app.comms.len() > crate::model::processes::MAX_PROCESSES {
        app.comms.clear();
    }
    for pid in pids {
        if let Some(process) = app.model().processes.by_pid(pid) {
            let name = crate::escape::escaped(process.name());
            app.comms.insert(pid, name);
        }
    }
}

fn settle_processes(app: &mut App, area: Rect) {
    let height = usize::from(area.height);
    order_rows(app, app.processes.offset + height);
    let row_of = |app: &App| {
        let key = app.processes.selected?;
        let model = app.model();
        app.processes.rows.iter().position(|i| model.processes.get(*i).is_some_and(|p| p.key == key))
    };
    let gone = |app: &App| {
        let model = app.model();
        app.processes.selected.is_some_and(|key| {
            model
                .processes
                .by_key(&key)
                // The ancestors of what passes the filter are rows of a tree, too.
                .is_none_or(|p| {
                    let filtered = model.listing.filter().is_some() && app.processes.tree.is_none();
                    filtered && model.processes.matched(p) == 0
                })
        })
    };
    if gone(app) {
        app.processes.selected = None;
    }
    let mut row = row_of(app);
    if row.is_none() && app.processes.selected.is_some() {
        order_rows(app, usize::MAX);
        row = row_of(app);
    }
    let list = &mut app.processes;
    list.cursor = row.unwrap_or(0).min(list.total.saturating_sub(1));
    list.offset = visible(list.offset, list.cursor, height, list.total);
    let rows = list.offset + height;
    order_rows(app, rows);
}

fn settle_opens(app: &mut App, area: Rect) {
    let height = usize::from(area.height);
    let model = app.frozen.as_ref().map_or(&app.live, |f| &f.model);
    let (list, history) = (&model.listing, &model.history);
    let rows = list.len(history);
    let opens = &mut app.opens;
    match opens.selected {
        None => {
            opens.cursor = None;
            opens.offset = rows.saturating_sub(height);
        }
        Some(seq) => {
            let row = list.row(history, seq).min(rows.saturating_sub(1));
            opens.selected = list.seq(history, row);
            opens.cursor = opens.selected.map(|_| row);
            // What is being read stays where it is while others come and go.
            opens.offset = visible(list.row(history, opens.top), row, height, rows);
        }
    }
    opens.top = list.seq(history, opens.offset).unwrap_or(0);
}

/// The first visible row of a list so that `cursor` is visible and no space is wasted.
pub(super) fn visible(offset: usize, cursor: usize, height: usize, rows: usize) -> usize {
    let offset = offset.min(rows.saturating_sub(height));
    let least = (cursor + 1).saturating_sub(height);
    offset.max(least).min(cursor)
}
