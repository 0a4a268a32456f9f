//! What the mouse does: the same as keys, where it points.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::act::{act, narrow, sort_by, sort_failures, sort_files, step, view};
use super::focus::{Focus, focus};
use super::layout::{Arrangement, Regions, regions};
use super::menu::{Chosen, Menu};
use super::{App, Effect, Mode, Pane, fold, page};
use crate::view::hit;

/// Takes a movement; answers whether anything changed.
pub(super) fn mouse_moved(app: &mut App, mouse: MouseEvent, effects: &mut Vec<Effect>) -> bool {
    let Some(at) = regions(app) else { return false };
    let position = Position::new(mouse.column, mouse.row);
    match mouse.kind {
        MouseEventKind::ScrollUp => wheel(app, &at, position, -3),
        MouseEventKind::ScrollDown => wheel(app, &at, position, 3),
        MouseEventKind::Down(MouseButton::Left) => clicked(app, &at, position, effects),
        MouseEventKind::Down(MouseButton::Right) => menu_at(app, &at, position),
        MouseEventKind::Drag(MouseButton::Left) if app.dragging => {
            drag(app, &at, position);
            true
        }
        MouseEventKind::Up(_) => std::mem::take(&mut app.dragging),
        _ => false,
    }
}

fn wheel(app: &mut App, at: &Regions, position: Position, by: isize) -> bool {
    match &mut app.mode {
        Mode::Help(offset) => *offset = offset.saturating_add_signed(if by < 0 { -3 } else { 3 }),
        Mode::Menu(_) | Mode::Columns(_) => return false,
        Mode::Normal | Mode::Prompt(_) => {
            if let Some(pane) = pane_at(at, position) {
                app.pane = pane;
            }
            step(app, by);
        }
    }
    true
}

fn pane_at(at: &Regions, position: Position) -> Option<Pane> {
    [Pane::Opens, Pane::Processes].into_iter().find(|p| at.list(*p).outer.contains(position))
}

fn clicked(app: &mut App, at: &Regions, position: Position, effects: &mut Vec<Effect>) -> bool {
    match &app.mode {
        Mode::Help(_) => app.mode = Mode::Normal,
        Mode::Menu(menu) => {
            let area = hit::menu_area(at.body, menu);
            if area.contains(position) && position.y == area.y {
                // The title: show only, or hide.
                return menu_turned(app);
            }
            let line = position.y.checked_sub(area.y + 1).map(usize::from);
            let chosen = line.filter(|_| area.contains(position)).map_or(Chosen::Left, |line| menu.choose(line));
            app.mode = Mode::Normal;
            if let Chosen::Filter(filter) = chosen {
                narrow(app, &filter);
            }
        }
        Mode::Columns(_) => {
            let area = hit::columns_area(at.body);
            let line = position.y.checked_sub(area.y + 1).map(usize::from).filter(|_| area.contains(position));
            match line.and_then(|line| Some((line, super::columns::COLUMNS.get(line)?))) {
                Some((line, column)) => {
                    app.settings.prefs.columns.toggle(column.what);
                    app.mode = Mode::Columns(line);
                }
                None => app.mode = Mode::Normal,
            }
        }
        Mode::Prompt(_) => return false,
        Mode::Normal => {
            if at.tabs.contains(position) {
                let tab = hit::tabs(at.tabs).into_iter().find(|(_, place)| place.contains(position));
                if let Some((tab, _)) = tab {
                    view(app, tab);
                }
            } else if at.scrub.contains(position) {
                let bar = hit::scrub_bar(at.scrub);
                let share = f64::from(position.x.saturating_sub(bar.x)) / f64::from(bar.width.max(1));
                let to = app.replay.as_ref().and_then(|replay| replay.at_share(share));
                effects.extend(to.map(|to| Effect::Control(crate::source::replay::Control::JumpTo(to))));
            } else if at.footer.contains(position) {
                if let Some(action) = hit::action_at(app, at.footer, position.x) {
                    act(app, action, effects);
                }
            } else if on_splitter(at, position) {
                app.dragging = true;
            } else {
                in_body(app, at, position, effects);
            }
        }
    }
    true
}

/// The line or column that the panes share.
fn on_splitter(at: &Regions, position: Position) -> bool {
    let opens = at.opens.outer;
    opens.contains(position)
        && match at.arrangement {
            Arrangement::Stacked => position.y == opens.y,
            Arrangement::SideBySide => position.x == opens.x,
        }
}

fn drag(app: &mut App, at: &Regions, position: Position) {
    let share = |part: u16, all: u16| (u32::from(part) * 100).checked_div(u32::from(all)).unwrap_or(50);
    let percent = match at.arrangement {
        Arrangement::Stacked => share(position.y.saturating_sub(at.body.y), at.body.height),
        Arrangement::SideBySide => share(position.x.saturating_sub(at.body.x) + 1, at.body.width),
    };
    app.split = u16::try_from(percent).unwrap_or(50).clamp(10, 90);
    app.split_moved = true;
}

/// The menu of what to filter by, for the row that is pointed at.
fn menu_at(app: &mut App, at: &Regions, position: Position) -> bool {
    if !matches!(app.mode, Mode::Normal) || !at.body.contains(position) {
        return false;
    }
    point(app, at, position);
    match Menu::new(app, false) {
        Some(menu) => app.mode = Mode::Menu(menu),
        None => app.notice = Some("there is no row here that could be filtered by".into()),
    }
    true
}

fn menu_turned(app: &mut App) -> bool {
    if let Mode::Menu(menu) = &mut app.mode {
        menu.exclude = !menu.exclude;
    }
    true
}

fn in_body(app: &mut App, at: &Regions, position: Position, effects: &mut Vec<Effect>) {
    if let Some(pane) = pane_at(at, position) {
        app.pane = pane;
    }
    if on_head(app, at, position) {
        return;
    }
    let before = point(app, at, position);
    if on_mark(app, at, position) {
        fold::toggle(app);
    } else if before {
        // A click on the selected row looks closer at it.
        page::open(app, effects);
    }
}

/// Sorts by the column whose head is pointed at.
fn on_head(app: &mut App, at: &Regions, position: Position) -> bool {
    let (x, focus) = (position.x, focus(app));
    let head = match focus {
        Focus::Processes | Focus::Failures => at.processes.head,
        Focus::Files => at.single.head,
        Focus::Opens | Focus::Text => return false,
    };
    if !head.contains(position) {
        return false;
    }
    match focus {
        Focus::Files => {
            if let Some(column) = hit::file_sort_at(head, x) {
                sort_files(app, column);
            }
        }
        Focus::Failures => {
            if let Some(column) = hit::failure_sort_at(head, x) {
                sort_failures(app, column);
            }
        }
        _ => {
            if let Some(column) = hit::column_at(app, head, x) {
                sort_by(app, column);
            }
        }
    }
    true
}

/// Whether the mark that folds a row is pointed at.
fn on_mark(app: &App, at: &Regions, position: Position) -> bool {
    match focus(app) {
        Focus::Processes if at.processes.rows.contains(position) => {
            let row = app.processes.offset + usize::from(position.y - at.processes.rows.y);
            hit::on_process_mark(app, at.processes.head, row, position.x)
        }
        Focus::Files if at.single.rows.contains(position) => {
            let row = app.files.offset + usize::from(position.y - at.single.rows.y);
            let node = app.files.rows.get(row).and_then(|row| row.node);
            node.is_some_and(|node| hit::on_file_mark(at.single.head, node, position.x))
        }
        _ => false,
    }
}

/// Selects the row that is pointed at; answers whether it was the selected one before.
fn point(app: &mut App, at: &Regions, position: Position) -> bool {
    if let Some(pane) = pane_at(at, position) {
        app.pane = pane;
    }
    let focus = focus(app);
    let rows = at.rows_of(focus);
    if !rows.contains(position) {
        return false;
    }
    let row = usize::from(position.y - rows.y);
    match focus {
        Focus::Processes => {
            let row = app.processes.offset + row;
            let again = app.processes.cursor == row && app.processes.selected.is_some();
            if row < app.processes.total {
                let by = isize::try_from(row).unwrap_or(0) - isize::try_from(app.processes.cursor).unwrap_or(0);
                step(app, by);
            }
            again
        }
        Focus::Opens => {
            let model = app.model();
            let selected = model.listing.seq(&model.history, app.opens.offset + row);
            let again = selected.is_some() && selected == app.opens.selected;
            app.opens.selected = selected.or(app.opens.selected);
            again
        }
        Focus::Files => select(&mut app.files, row),
        Focus::Failures => select(&mut app.failures, row),
        Focus::Text => false,
    }
}

fn select<T>(list: &mut super::tables::TableList<T>, row: usize) -> bool {
    let row = list.offset + row;
    let again = list.held && list.cursor == row;
    if row < list.rows.len() {
        (list.cursor, list.held) = (row, true);
    }
    again
}
