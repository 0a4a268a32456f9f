//! The key that takes the stacks of one process's opens, or no more.

use super::focus::{Row, row};
use super::{App, Effect, Page};
use crate::escape::escaped;

/// Processes at a time. The kernel's table has room for as many.
const STACKED_MAX: usize = 1024;

/// Turns the stacks of the selected process on or off.
pub(super) fn toggle(app: &mut App, effects: &mut Vec<Effect>) {
    if app.replay.is_some() {
        return app.notice = Some("a recording has the stacks it was made with: opentop --stacks -w FILE".into());
    }
    if app.settings.stacks {
        return app.notice = Some("the stacks of every open are taken already (--stacks)".into());
    }
    let key = match (&app.page, row(app)) {
        (Some(Page::Process(page)), _) => page.key,
        (_, Some(Row::Process(process))) => process.key,
        (_, Some(Row::Open(event))) => event.process(),
        _ => return app.notice = Some("no process is selected here: go to one with the arrow keys".into()),
    };
    let process = app.live.processes.by_key(&key);
    let name = format!("{} {}", key.tgid, process.map_or_else(String::new, |p| escaped(p.name())));
    if app.stacked.remove(&key) {
        effects.push(Effect::Stacks(key.tgid, false));
        return app.notice = Some(format!("the stacks of {name} are taken no more"));
    }
    if process.is_none_or(|process| process.exited_ns.is_some()) {
        return app.notice = Some(format!("{name} has exited: it opens nothing any more"));
    }
    if app.stacked.len() >= STACKED_MAX {
        // The kernel forgets those that exit by itself.
        let processes = &app.live.processes;
        app.stacked.retain(|key| processes.by_key(key).is_some_and(|process| process.exited_ns.is_none()));
    }
    if app.stacked.len() >= STACKED_MAX {
        return app.notice = Some(format!("the stacks of {STACKED_MAX} processes are taken, which is the most"));
    }
    app.stacked.insert(key);
    effects.push(Effect::Stacks(key.tgid, true));
    app.notice = Some(format!("the stacks of {name} are taken from now on: its page shows them"));
}

impl App {
    /// Whether the stacks of a process are taken now.
    #[must_use]
    pub fn takes_stacks_of(&self, key: &probe_common::ProcessKey) -> bool {
        self.replay.is_none() && (self.settings.stacks || self.stacked.contains(key))
    }
}
