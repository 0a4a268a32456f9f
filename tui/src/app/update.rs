//! What a message changes.

use std::sync::Arc;

use crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::keys::Action;
use super::layout::{Regions, regions};
use super::prompt::{Prompt, Purpose, Typed};
use super::{App, Effect, Frozen, Mode, Msg, OpenList, Outcome, Pane};
use crate::filter::Filter;
use crate::model::order::{self, Column};
use crate::model::{Model, processes::Process};
use crate::source::Input;

/// Older opens that a new filter examines in one go: a few milliseconds.
const EXAMINE: usize = 8_192;

/// Lines of the filter prompt that are remembered.
const LINES: usize = 100;

/// Takes in a message.
pub fn update(app: &mut App, msg: Msg) -> Outcome {
    let mut out = Outcome::default();
    match msg {
        Msg::Key(key) if key.kind == KeyEventKind::Release => {}
        Msg::Key(key) => {
            out.changed = true;
            app.notice = None;
            key_pressed(app, key, &mut out.effects);
        }
        Msg::Mouse(mouse) => out.changed = mouse_moved(app, mouse),
        Msg::Resize(columns, rows) => {
            app.size = (columns, rows);
            out.changed = true;
            out.effects.push(Effect::Repaint);
        }
        Msg::Input(input) => {
            input_came(app, input, &mut out.effects);
            out.changed = true;
        }
        Msg::Tick(now_ns) => {
            if app.settings.live && !app.live.ended {
                let samples = app.live.samples();
                app.live.tick(now_ns);
                out.changed = app.live.samples() != samples;
            }
        }
        Msg::Users(names) => {
            out.changed = true;
            app.processes.stale = true;
            for (uid, name) in names {
                // Bounded like the processes that the uids come from.
                if app.users.len() < crate::model::processes::MAX_PROCESSES {
                    app.users.insert(uid, name.unwrap_or_else(|| uid.to_string()));
                }
            }
        }
    }
    if app.is_examining() {
        app.live.examine(EXAMINE);
        if let Some(frozen) = &mut app.frozen {
            frozen.model.examine(EXAMINE);
        }
        app.processes.stale = true;
        out.changed = true;
    }
    let second = app.elapsed_s();
    if second != app.clock_s {
        app.clock_s = second;
        out.changed = true;
    }
    if out.changed {
        settle(app);
    }
    out
}

fn input_came(app: &mut App, input: Input, effects: &mut Vec<Effect>) {
    match input {
        Input::Batch(batch) => app.live.batch(&batch),
        Input::Counters(counters) => app.live.counters(&counters),
        Input::Facts(facts) => {
            for fact in &facts {
                if !fact.user.is_empty() {
                    app.users.insert(fact.uid, crate::escape::escaped(&fact.user));
                }
                app.live.processes.facts(fact);
            }
        }
        Input::Restart => {
            let filter = app.filter().cloned();
            app.live = Model::new(app.settings.model);
            app.live.set_filter(filter);
            app.opens = OpenList::default();
            app.processes.stale = true;
        }
        Input::End => app.live.ended = true,
    }
    let uids: Vec<u32> =
        app.live.processes.take_new_uids().into_iter().filter(|uid| !app.users.contains_key(uid)).collect();
    if !uids.is_empty() {
        effects.push(Effect::NameUsers(uids));
    }
}

fn key_pressed(app: &mut App, key: KeyEvent, effects: &mut Vec<Effect>) {
    let action = app.keymap.action(key);
    // Ctrl-C and F10 end it from anywhere; a letter may be meant for a line of text.
    let plain = key.modifiers.is_empty() || key.modifiers == crossterm::event::KeyModifiers::SHIFT;
    let letter = matches!(key.code, crossterm::event::KeyCode::Char(_)) && plain;
    match (action, letter) {
        (Some(Action::Quit), false) => return effects.push(Effect::Quit),
        (Some(Action::Suspend), false) => return effects.push(Effect::Suspend),
        _ => {}
    }
    match &mut app.mode {
        Mode::Prompt(_) => prompt_key(app, key),
        Mode::Help(offset) => match action {
            Some(Action::Down) => *offset = offset.saturating_add(1),
            Some(Action::Up) => *offset = offset.saturating_sub(1),
            Some(Action::PageDown) => *offset = offset.saturating_add(10),
            Some(Action::PageUp) => *offset = offset.saturating_sub(10),
            Some(Action::Top) => *offset = 0,
            _ => app.mode = Mode::Normal,
        },
        Mode::Normal => {
            if let Some(action) = action {
                act(app, action, effects);
            }
        }
    }
}

/// Does what a key stands for.
fn act(app: &mut App, action: Action, effects: &mut Vec<Effect>) {
    match action {
        Action::Help => app.mode = Mode::Help(0),
        Action::Filter => {
            let text = app.filter().map(|f| f.text().to_owned()).unwrap_or_default();
            let before = app.filter().cloned();
            app.mode = Mode::Prompt(Box::new(Prompt::new(Purpose::Filter, text, before)));
        }
        Action::Search => {
            app.mode = Mode::Prompt(Box::new(Prompt::new(Purpose::Search, String::new(), None)));
        }
        Action::SearchNext => find(app, true),
        Action::SearchPrevious => find(app, false),
        Action::Pause => pause(app),
        Action::Sort | Action::SortNext => sort(app, 1),
        Action::SortPrevious => sort(app, -1),
        Action::SortReverse => {
            app.processes.sort.reversed = !app.processes.sort.reversed;
            app.processes.stale = true;
        }
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
            set_filter(app, None);
            app.frozen = None;
            app.search.clear();
            app.opens = OpenList::default();
            app.processes.selected = None;
            app.processes.stale = true;
        }
        Action::GrowSplit => app.split = (app.split + 5).min(90),
        Action::ShrinkSplit => app.split = app.split.saturating_sub(5).max(10),
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
    match app.pane {
        Pane::Opens => app.opens.selected = None,
        Pane::Processes => {
            let first = app.model().processes.get(app.processes.rows.get(app.processes.cursor).copied().unwrap_or(0));
            let key = first.map(|p| p.key);
            app.processes.selected = if app.processes.selected.is_some() { None } else { key };
        }
    }
}

/// The columns that can be sorted by, from the left.
const SORTS: [Column; 8] = [
    Column::Pid,
    Column::User,
    Column::Comm,
    Column::Opens,
    Column::Rate,
    Column::Failed,
    Column::P99,
    Column::Last,
];

fn sort(app: &mut App, step: isize) {
    let here = SORTS.iter().position(|c| *c == app.processes.sort.column).unwrap_or(0);
    let next = (here as isize + step).rem_euclid(SORTS.len() as isize) as usize;
    if let Some(column) = SORTS.get(next) {
        sort_by(app, *column);
    }
}

fn sort_by(app: &mut App, column: Column) {
    let sort = &mut app.processes.sort;
    // The head of the column that is sorted by turns it round.
    sort.reversed = sort.column == column && !sort.reversed;
    sort.column = column;
    app.processes.stale = true;
}

fn page(app: &App) -> isize {
    regions(app).map_or(1, |r| isize::try_from(r.list(app.pane).rows.height).unwrap_or(1).max(2) - 1)
}

/// Moves the selection of the pane by so many rows.
fn step(app: &mut App, by: isize) {
    match app.pane {
        Pane::Processes => {
            let last = app.processes.total.saturating_sub(1);
            let row = app.processes.cursor.saturating_add_signed(by).min(last);
            app.processes.cursor = row;
            order_rows(app, row + 1);
            let index = app.processes.rows.get(row).copied();
            let key = index.and_then(|i| app.model().processes.get(i)).map(|p| p.key);
            // On the first row nothing is held fast: whichever process comes first is the selected one.
            app.processes.selected = if row == 0 { None } else { key };
        }
        Pane::Opens => {
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

fn prompt_key(app: &mut App, key: KeyEvent) {
    let Mode::Prompt(prompt) = &mut app.mode else { return };
    let typed = prompt.key(key, &app.lines);
    let (purpose, text) = (prompt.purpose, prompt.text.clone());
    match (purpose, typed) {
        (_, Typed::Nothing) => {}
        (Purpose::Filter, Typed::Changed) => filter_typed(app, &text),
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
    }
}

fn remember(app: &mut App, line: String) {
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
    let parsed = if text.trim().is_empty() { Ok(None) } else { Filter::parse(text).map(|f| Some(Arc::new(f))) };
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

fn set_filter(app: &mut App, filter: Option<Arc<Filter>>) {
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
}

fn find(app: &mut App, forward: bool) {
    if app.search.is_empty() {
        app.notice = Some("nothing to search for yet: F3 starts a search".into());
        return;
    }
    find_from(app, forward, true);
}

/// Selects the next row of the pane that contains what is searched for.
fn find_from(app: &mut App, forward: bool, beyond: bool) {
    let word = app.search.to_lowercase();
    if word.is_empty() {
        return;
    }
    if app.pane == Pane::Processes {
        order_rows(app, usize::MAX);
    }
    let model = app.model();
    let (rows, here) = match app.pane {
        Pane::Processes => (app.processes.rows.len(), Some(app.processes.cursor)),
        Pane::Opens => (model.listing.len(&model.history), app.opens.cursor),
    };
    let hit = |row: usize| match app.pane {
        Pane::Processes => {
            app.processes.rows.get(row).and_then(|i| model.processes.get(*i)).is_some_and(|p| process_has(app, p, &word))
        }
        Pane::Opens => {
            let event = model.listing.seq(&model.history, row).and_then(|seq| model.history.get(seq));
            event.is_some_and(|event| {
                let mut path = Vec::new();
                event.path_into(&mut path);
                contains(&path, &word) || contains(event.comm(), &word)
            })
        }
    };
    // Opens are searched from the newest back at first: that is where one looks.
    let start = here.unwrap_or(rows.saturating_sub(1));
    let skip = usize::from(beyond && here.is_some());
    let found = if forward && (here.is_some() || app.pane == Pane::Processes) {
        (start..rows).chain(0..start).skip(skip).find(|row| hit(*row))
    } else {
        (0..=start).rev().chain((start..rows).rev()).skip(skip).find(|row| hit(*row))
    };
    match (found, app.pane) {
        (None, _) => app.notice = Some(format!("nothing found for “{}”", crate::escape::escaped(app.search.as_bytes()))),
        (Some(row), Pane::Processes) => {
            app.processes.selected =
                app.processes.rows.get(row).and_then(|i| model.processes.get(*i)).map(|p| p.key);
            app.processes.cursor = row;
        }
        (Some(row), Pane::Opens) => app.opens.selected = model.listing.seq(&model.history, row),
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

fn mouse_moved(app: &mut App, mouse: MouseEvent) -> bool {
    let Some(at) = regions(app) else { return false };
    if !matches!(app.mode, Mode::Normal) {
        return false;
    }
    let position = Position::new(mouse.column, mouse.row);
    let pane = [Pane::Opens, Pane::Processes].into_iter().find(|p| at.list(*p).outer.contains(position));
    match mouse.kind {
        MouseEventKind::ScrollUp | MouseEventKind::ScrollDown => {
            let Some(pane) = pane else { return false };
            app.pane = pane;
            step(app, if mouse.kind == MouseEventKind::ScrollUp { -3 } else { 3 });
            true
        }
        MouseEventKind::Down(MouseButton::Left) => pane.is_some_and(|pane| clicked(app, &at, pane, position)),
        _ => false,
    }
}

fn clicked(app: &mut App, at: &Regions, pane: Pane, position: Position) -> bool {
    app.pane = pane;
    let list = at.list(pane);
    if list.head.contains(position) && pane == Pane::Processes {
        let column = crate::view::processes::column_at(app, list.head, position.x);
        if let Some(column) = column {
            sort_by(app, column);
        }
    } else if list.rows.contains(position) {
        let row = usize::from(position.y - list.rows.y);
        match pane {
            Pane::Processes if app.processes.offset + row < app.processes.total => {
                app.processes.cursor = app.processes.offset + row;
                step(app, 0);
            }
            Pane::Opens => {
                let model = app.model();
                app.opens.selected =
                    model.listing.seq(&model.history, app.opens.offset + row).or(app.opens.selected);
            }
            Pane::Processes => {}
        }
    }
    true
}

/// Brings the order of the processes up to date, for at least `rows` rows.
fn order_rows(app: &mut App, rows: usize) {
    let samples = app.model().samples();
    let list = &app.processes;
    let enough = list.rows.len() >= rows.min(list.total);
    if !list.stale && enough && list.samples == samples {
        return;
    }
    let model = app.model();
    let filtered = model.listing.filter().is_some();
    let (rows, total) = order::first(
        &model.processes,
        list.sort,
        // Some more than asked for: a step down must not sort everything again.
        rows.saturating_add(256),
        |p| !filtered || model.processes.matched(p) > 0,
        |uid| app.user(uid),
    );
    let list = &mut app.processes;
    (list.rows, list.total, list.samples, list.stale) = (rows, total, samples, false);
}

/// Makes offsets and selections fit what is there now and the size of the screen.
fn settle(app: &mut App) {
    let Some(at) = regions(app) else { return };
    settle_processes(app, at.processes.rows);
    settle_opens(app, at.opens.rows);
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
            model.processes.by_key(&key).is_none_or(|p| {
                model.listing.filter().is_some() && model.processes.matched(p) == 0
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
fn visible(offset: usize, cursor: usize, height: usize, rows: usize) -> usize {
    let offset = offset.min(rows.saturating_sub(height));
    let least = (cursor + 1).saturating_sub(height);
    offset.max(least).min(cursor)
}
