//! What a message changes.

use crossterm::event::{KeyEvent, KeyEventKind};

use super::act::{act, narrow, prompt_key};
use super::columns::COLUMNS;
use super::keys::Action;
use super::menu::Chosen;
use super::mouse::mouse_moved;
use super::settle::settle;
use super::{App, Effect, Mode, Msg, OpenList, Outcome, Page, Tab};
use crate::model::Model;
use crate::source::Input;

/// Older opens that a new filter examines in one go: a few milliseconds.
const EXAMINE: usize = 8_192;

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
        Msg::Mouse(mouse) => out.changed = mouse_moved(app, mouse, &mut out.effects),
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
        Msg::Looked(key, looked) => {
            if let Some(Page::Process(page)) =
                app.page.as_mut().filter(|p| matches!(p, Page::Process(p) if p.key == key))
            {
                out.changed = true;
                page.looked = looked;
            }
        }
        Msg::Said(sentence) => {
            out.changed = true;
            app.notice = Some(sentence);
        }
        Msg::Own(own) => app.own = own,
        Msg::Cost(cost) => {
            out.changed = app.tab == Tab::Health;
            match cost {
                Ok(now) => {
                    // A long time without a reading: this is another measurement.
                    let went_on = app.measured.filter(|(_, last)| now.at_ns.saturating_sub(*last) < 2_000_000_000);
                    let first = went_on.map_or(now, |(first, _)| first);
                    app.measured = Some((first, now.at_ns));
                    // What was measured before stands until there is something to say instead.
                    if now.opens > first.opens || app.cost.is_none() {
                        app.cost = Some((first, now));
                    }
                    app.cost_unknown = None;
                }
                Err(why) => app.cost_unknown = Some(why),
            }
        }
        Msg::Recording(stats) => {
            let before = app.recording.take().unwrap_or_default();
            out.changed = before != stats;
            match (before.failing, stats.failing) {
                (false, true) => app.notice.clone_from(&stats.error),
                (true, false) => {
                    let missing = crate::numbers::thousands(stats.dropped);
                    app.notice = Some(format!("the recording goes on; {missing} opens are not in it"));
                }
                _ => {}
            }
            app.recording = Some(stats);
        }
        Msg::Position(position) => out.changed = super::replay::moved(app, position),
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
    count_narrowed(app);
    if app.is_examining() {
        app.live.examine(EXAMINE);
        if let Some(frozen) = &mut app.frozen {
            frozen.model.examine(EXAMINE);
        }
        app.processes.stale = true;
        app.tables_stale |= !app.is_examining();
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
    super::page::look_again(app, &mut out.effects);
    // Measuring the probe costs something at every open: all the time only while it is looked at.
    let metering = app.settings.live && app.tab == Tab::Health && app.page.is_none();
    if metering != std::mem::replace(&mut app.metering, metering) {
        app.measured = None;
        out.effects.push(Effect::Meter(metering));
    }
    out
}

/// Files and failures under a filter are counted while they are looked at.
fn count_narrowed(app: &mut App) {
    let wanted = matches!(app.tab, Tab::Files | Tab::Failures) && app.page.is_none();
    app.live.narrow(wanted && app.frozen.is_none());
    if let Some(frozen) = &mut app.frozen {
        frozen.model.narrow(wanted);
    }
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
                app.who.facts(fact);
            }
        }
        Input::Stacks(stacks) => app.live.stacks.add(&stacks, true),
        Input::Capture(change) => super::capture::answered(app, *change),
        Input::Restart => {
            let filter = app.filter().cloned();
            app.live = Model::new(app.settings.model);
            app.session.capture.clone_from(&app.first_capture);
            app.live.set_filter(filter);
            app.opens = OpenList::default();
            app.processes.stale = true;
            app.tables_stale = true;
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
    let action = app.settings.prefs.keymap.action(key);
    // Ctrl-C and F10 end it from anywhere; a letter may be meant for a line of text.
    let plain = key.modifiers.is_empty() || key.modifiers == crossterm::event::KeyModifiers::SHIFT;
    let letter = matches!(key.code, crossterm::event::KeyCode::Char(_)) && plain;
    match (action, letter) {
        (Some(Action::Quit), false) => return effects.push(Effect::Quit),
        (Some(Action::Suspend), false) => return effects.push(Effect::Suspend),
        _ => {}
    }
    match &mut app.mode {
        Mode::Prompt(_) => prompt_key(app, key, effects),
        Mode::Help(offset) => match action {
            Some(Action::Down) => *offset = offset.saturating_add(1),
            Some(Action::Up) => *offset = offset.saturating_sub(1),
            Some(Action::PageDown) => *offset = offset.saturating_add(10),
            Some(Action::PageUp) => *offset = offset.saturating_sub(10),
            Some(Action::Top) => *offset = 0,
            _ => app.mode = Mode::Normal,
        },
        Mode::Columns(cursor) => match action {
            Some(Action::Down) => *cursor = (*cursor + 1).min(COLUMNS.len() - 1),
            Some(Action::Up) => *cursor = cursor.saturating_sub(1),
            Some(Action::Pause | Action::Inspect) => {
                if let Some(column) = COLUMNS.get(*cursor) {
                    app.settings.prefs.columns.toggle(column.what);
                }
            }
            _ => app.mode = Mode::Normal,
        },
        Mode::Menu(menu) => match menu.key(key) {
            Chosen::Nothing => {}
            Chosen::Left => app.mode = Mode::Normal,
            Chosen::Filter(filter) => {
                app.mode = Mode::Normal;
                narrow(app, &filter);
            }
        },
        Mode::Normal => {
            if let Some(action) = action {
                act(app, action, effects);
            }
        }
    }
}
