//! What each key of the main screens does.

use std::sync::Arc;

use crossterm::event::KeyEvent;

use super::find::{find, find_from};
use super::focus::{Focus, Row, focus, row};
use super::keys::Action;
use super::layout::regions;
use super::menu::Menu;
use super::prompt::{Prompt, Purpose, Typed};
use super::settle::order_rows;
use super::tables::{FailureSort, FileSort};
use super::{App, Effect, Frozen, Mode, OpenList, Pane, Tab, capture, fold, page, replay};
use crate::escape::escaped;
use crate::filter::Filter;
use crate::model::order::Column;
use crate::view::hit;

/// Lines of the filter prompt that are remembered.
const LINES: usize = 100;

/// Does what a key stands for.
pub(super) fn act(app: &mut App, action: Action, effects: &mut Vec<Effect>) {
    match action {
        Action::Help => app.mode = Mode::Help(0),
        Action::Filter => {
            let text = app.filter().map(|f| f.text().to_owned()).unwrap_or_default();
            let before = app.filter().cloned();
            app.mode = Mode::Prompt(Box::new(Prompt::new(Purpose::Filter, text, before)));
        }
        Action::Capture => capture::open(app),
        Action::Search => {
            app.mode = Mode::Prompt(Box::new(Prompt::new(Purpose::Search, String::new(), None)));
        }
        Action::SearchNext => find(app, true),
        Action::SearchPrevious => find(app, false),
        Action::Pause if app.replay.is_some() => replay::act(app, action, effects),
        Action::Pause => pause(app),
        Action::Step
        | Action::StepBack
        | Action::Faster
        | Action::Slower
        | Action::Later
        | Action::Earlier
        | Action::Beginning
        | Action::Ending
        | Action::Mark
        | Action::NextMark
        | Action::PreviousMark => replay::act(app, action, effects),
        Action::GoTo if app.replay.is_none() => replay::act(app, action, effects),
        Action::GoTo => app.mode = Mode::Prompt(Box::new(Prompt::new(Purpose::Time, String::new(), None))),
        Action::Live => view(app, Tab::Live),
        Action::Files => view(app, Tab::Files),
        Action::Failures => view(app, Tab::Failures),
        Action::Latency => view(app, Tab::Latency),
        Action::Health => view(app, Tab::Health),
        Action::Inspect => page::open(app, effects),
        Action::Only | Action::Exclude => match Menu::new(app, action == Action::Exclude) {
            Some(menu) => app.mode = Mode::Menu(menu),
            None => app.notice = Some("no row is selected here: go to one with the arrow keys".into()),
        },
        Action::Copy => copy(app, effects),
        Action::Save => match super::save::list(app) {
            Some((list, text)) => effects.push(Effect::Save(list, text)),
            None => app.notice = Some("there is no list here that could be written".into()),
        },
        Action::Columns => app.mode = Mode::Columns(0),
        Action::Tree => fold::toggle_tree(app),
        Action::Fold => fold::toggle(app),
        Action::FoldAll => fold::toggle_all(app),
        Action::Stacks => super::stacks::toggle(app, effects),
        Action::Sort | Action::SortNext => sort(app, 1),
        Action::SortPrevious => sort(app, -1),
        Action::SortReverse => reverse(app),
        Action::Follow => follow(app),
        Action::NextPane | Action::PreviousPane => {
            app.pane = match app.pane {
                Pane::Processes => Pane::Opens,
                Pane::Opens => Pane::Processes,
            };
        }
        Action::Up => step(app, -1),
        Action::Down => step(app, 1),
        Action::PageUp => step(app, -page(app)),
        Action::PageDown => step(app, page(app)),
        Action::Top => step(app, isize::MIN),
        Action::Bottom => step(app, isize::MAX),
        Action::Back => back(app),
        Action::Reset => {
            app.page = None;
            set_filter(app, None);
            app.frozen = None;
            app.search.clear();
            app.opens = OpenList::default();
            app.processes.selected = None;
            app.processes.stale = true;
        }
        Action::GrowSplit | Action::ShrinkSplit => {
            app.split =
                if action == Action::GrowSplit { (app.split + 5).min(90) } else { app.split.saturating_sub(5).max(10) };
            app.split_moved = true;
        }
        Action::Theme => {
            app.settings.look.theme = app.settings.look.theme.next();
            app.notice = Some(format!("theme: {}", app.settings.look.theme.name()));
        }
        Action::Redraw => effects.push(Effect::Repaint),
        Action::Suspend => effects.push(Effect::Suspend),
        Action::Quit => effects.push(Effect::Quit),
    }
}

fn pause(app: &mut App) {
    app.processes.stale = true;
    if app.frozen.take().is_none() {
        app.frozen = Some(Frozen { model: Box::new(app.live.clone()), at_ns: app.live.now_ns });
    }
}

/// Backs out of one thing: the selection, the pause, the filter.
fn back(app: &mut App) {
    if app.page.is_some() {
        return page::close(app);
    }
    let selected = app.opens.selected.take().is_some() | app.processes.selected.take().is_some();
    if !selected {
        if app.frozen.is_some() {
            pause(app);
        } else {
            set_filter(app, None);
        }
    }
}

fn follow(app: &mut App) {
    match focus(app) {
        Focus::Opens => app.opens.selected = None,
        Focus::Processes => {
            let index = app.processes.rows.get(app.processes.cursor);
            let key = index.and_then(|index| app.model().processes.get(*index)).map(|p| p.key);
            app.processes.selected = if app.processes.selected.is_some() { None } else { key };
        }
        Focus::Files | Focus::Failures | Focus::Text => {}
    }
}

/// Shows a view.
pub(super) fn view(app: &mut App, tab: Tab) {
    if app.page.is_some() {
        page::close(app);
    }
    app.tab = tab;
    app.scroll = 0;
    app.tables_stale = true;
}

fn copy(app: &mut App, effects: &mut Vec<Effect>) {
    let text = match row(app) {
        Some(Row::Path(path, _) | Row::Dir(path)) => escaped(path),
        Some(Row::Open(event)) => {
            let mut path = Vec::new();
            event.path_into(&mut path);
            escaped(&path)
        }
        Some(Row::Process(process)) => format!("{} {}", process.key.tgid, escaped(process.name())),
        None => return app.notice = Some("nothing is selected here that could be copied".into()),
    };
    app.notice = Some(format!("copied: {text}"));
    effects.push(Effect::Copy(text));
}

fn sort(app: &mut App, step: isize) {
    let next = |here: Option<usize>, len: usize| (here.unwrap_or(0) as isize + step).rem_euclid(len as isize) as usize;
    match focus(app) {
        Focus::Files => {
            let next = next(FileSort::ALL.iter().position(|c| *c == app.file_sort), FileSort::ALL.len());
            (app.file_sort, app.file_sort_reversed) =
                (FileSort::ALL.get(next).copied().unwrap_or(FileSort::Opens), false);
            app.tables_stale = true;
        }
        Focus::Failures => {
            let next = next(FailureSort::ALL.iter().position(|c| *c == app.failure_sort.0), FailureSort::ALL.len());
            app.failure_sort = (FailureSort::ALL.get(next).copied().unwrap_or(FailureSort::Count), false);
            app.tables_stale = true;
        }
        Focus::Opens if app.page.is_some() => {}
        _ => {
            // Those that are seen: an order by a column that is not there would look like none.
            let heads = regions(app).map(|at| hit::process_sorts(app, at.processes.head)).unwrap_or_default();
            let next = next(heads.iter().position(|c| *c == app.processes.sort.column), heads.len().max(1));
            if let Some(column) = heads.get(next) {
                sort_by(app, *column);
            }
        }
    }
}

fn reverse(app: &mut App) {
    match focus(app) {
        Focus::Files => app.file_sort_reversed = !app.file_sort_reversed,
        Focus::Failures => app.failure_sort.1 = !app.failure_sort.1,
        _ => app.processes.sort.reversed = !app.processes.sort.reversed,
    }
    app.processes.stale = true;
    app.tables_stale = true;
}

/// Sorts the files by a column; by the same once more, the other way round.
pub(super) fn sort_files(app: &mut App, column: FileSort) {
    app.file_sort_reversed = app.file_sort == column && !app.file_sort_reversed;
    app.file_sort = column;
    app.tables_stale = true;
}

/// Sorts the failures by a column; by the same once more, the other way round.
pub(super) fn sort_failures(app: &mut App, column: FailureSort) {
    app.failure_sort = (column, app.failure_sort.0 == column && !app.failure_sort.1);
    app.tables_stale = true;
}

pub(super) fn sort_by(app: &mut App, column: Column) {
    let sort = &mut app.processes.sort;
    // The head of the column that is sorted by turns it round.
    sort.reversed = sort.column == column && !sort.reversed;
    sort.column = column;
    app.processes.stale = true;
}

fn page(app: &App) -> isize {
    regions(app).map_or(1, |r| isize::try_from(r.rows_of(focus(app)).height).unwrap_or(1).max(2) - 1)
}

/// Moves the selection of the pane by so many rows.
pub(super) fn step(app: &mut App, by: isize) {
    match focus(app) {
        Focus::Files => app.files.step(by),
        Focus::Failures => app.failures.step(by),
        Focus::Text => {
            app.scroll =
                app.scroll.saturating_add_signed(i16::try_from(by).unwrap_or(if by < 0 { i16::MIN } else { i16::MAX }))
        }
        Focus::Processes => {
            let last = app.processes.total.saturating_sub(1);
            let row = app.processes.cursor.saturating_add_signed(by).min(last);
            app.processes.cursor = row;
            order_rows(app, row + 1);
            let index = app.processes.rows.get(row).copied();
            let key = index.and_then(|i| app.model().processes.get(i)).map(|p| p.key);
            // On the first row nothing is held fast: whichever process comes first is the selected one.
            app.processes.selected = if row == 0 { None } else { key };
        }
        Focus::Opens => {
            let model = app.model();
            let rows = model.listing.len(&model.history);
            let last = rows.saturating_sub(1);
            let row = match app.opens.cursor {
                Some(row) => row.saturating_add_signed(by),
                // The first step up from following selects the newest.
                None if by == -1 => last,
                None => last.saturating_add_signed(by),
            };
            // A step down past the newest follows again, and so does End.
            app.opens.selected =
                if row > last || rows == 0 || by == isize::MAX { None } else { model.listing.seq(&model.history, row) };
        }
    }
}

pub(super) fn prompt_key(app: &mut App, key: KeyEvent, effects: &mut Vec<Effect>) {
    let Mode::Prompt(prompt) = &mut app.mode else { return };
    let typed = prompt.key(key, &app.lines);
    let (purpose, text) = (prompt.purpose, prompt.text.clone());
    match (purpose, typed) {
        (_, Typed::Nothing) => {}
        (Purpose::Filter, Typed::Changed) => filter_typed(app, &text),
        (Purpose::Capture, Typed::Changed) => capture::typed(app, &text),
        (Purpose::Capture, Typed::Undo) => app.mode = Mode::Normal,
        (Purpose::Capture, Typed::Keep) => capture::keep(app, &text, effects),
        (Purpose::Search, Typed::Changed) => {
            app.search = text;
            find_from(app, true, false);
        }
        (Purpose::Filter, Typed::Undo) => {
            let before = prompt.before.take();
            app.mode = Mode::Normal;
            set_filter(app, before);
        }
        (Purpose::Search, Typed::Undo) => {
            app.mode = Mode::Normal;
            app.search.clear();
        }
        (Purpose::Filter, Typed::Keep) => {
            // A line with an error stays open: what it says is what must be mended.
            if prompt.error.is_none() {
                app.mode = Mode::Normal;
                remember(app, text);
            }
        }
        (Purpose::Search, Typed::Keep) => app.mode = Mode::Normal,
        (Purpose::Time, Typed::Changed) => prompt.error = None,
        (Purpose::Time, Typed::Undo) => app.mode = Mode::Normal,
        (Purpose::Time, Typed::Keep) => match app.replay.as_ref().and_then(|replay| replay.time(&text)) {
            Some(at) => {
                app.mode = Mode::Normal;
                effects.push(Effect::Control(crate::source::replay::Control::JumpTo(at)));
            }
            None => {
                let why = "a time like 90, 1:30, 01:02:03, +20s, -5m or 50%";
                prompt.error = Some((why.to_owned(), 0..text.len().max(1)));
            }
        },
    }
}

pub(super) fn remember(app: &mut App, line: String) {
    if line.trim().is_empty() {
        return;
    }
    app.lines.retain(|l| *l != line);
    app.lines.push(line);
    if app.lines.len() > LINES {
        app.lines.remove(0);
    }
}

/// A filter being typed takes effect at once; one with an error leaves the last good one in force.
fn filter_typed(app: &mut App, text: &str) {
    let parsed = if text.trim().is_empty() { Ok(None) } else { app.parse(text).map(|f| Some(Arc::new(f))) };
    let error = match parsed {
        Ok(filter) => {
            set_filter(app, filter);
            None
        }
        Err(error) => Some((error.message, error.at)),
    };
    if let Mode::Prompt(prompt) = &mut app.mode {
        prompt.error = error;
    }
}

pub(super) fn set_filter(app: &mut App, filter: Option<Arc<Filter>>) {
    let same = match (&filter, app.filter()) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    };
    if same {
        return;
    }
    if let Some(frozen) = &mut app.frozen {
        frozen.model.set_filter(filter.clone());
    }
    app.live.set_filter(filter);
    app.processes.stale = true;
    app.tables_stale = true;
}

/// Adds to the filter what was chosen of a row. The text shows what happened, so that the language is learnt by the way.
pub(super) fn narrow(app: &mut App, more: &str) {
    let text = match app.filter().map(|f| f.text().trim().to_owned()) {
        Some(text) if text.contains('|') => format!("({text}) {more}"),
        Some(text) if !text.is_empty() => format!("{text} {more}"),
        _ => more.to_owned(),
    };
    match app.parse(&text) {
        Ok(filter) => {
            set_filter(app, Some(Arc::new(filter)));
            app.notice = Some(format!("filter: {}", escaped(text.as_bytes())));
            remember(app, text);
        }
        Err(error) => app.notice = Some(format!("cannot filter by that: {}", error.message)),
    }
}
