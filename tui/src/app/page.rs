//! Pages: one process or one open, looked at closely.

use std::collections::VecDeque;
use std::sync::Arc;

use probe_common::ProcessKey;

use super::act::set_filter;
use super::focus::{Focus, Row, focus, row};
use super::{App, Effect, Pane};
use crate::filter::Filter;
use crate::model::Model;
use crate::model::detail::Detail;
use crate::model::processes::Process;
use crate::model::who::Who;
use crate::source::ProcessFacts;

/// Between two looks at /proc while the page of a process is open, ns.
const LOOK: u64 = 2_000_000_000;

/// Samples of the rate that a page keeps while it is open.
const RATES: usize = 600;

/// Most parents that are shown.
const DEPTH: usize = 32;

/// A page.
#[derive(Clone, Debug)]
pub enum Page {
    /// A process.
    Process(Box<ProcessPage>),
    /// An open: its record, which stays whatever the history lets go.
    Event(Vec<u8>),
}

/// The page of a process.
#[derive(Clone, Debug)]
pub struct ProcessPage {
    /// Which.
    pub key: ProcessKey,
    /// Its opens per second since the page is open, and shortly before.
    pub rates: VecDeque<f64>,
    /// What the kept opens say.
    pub detail: Detail,
    /// What is known beside the counts.
    pub looked: Looked,
    /// The filter to go back to.
    before: Option<Arc<Filter>>,
    samples: u64,
    /// When /proc was asked last, boot clock, ns.
    asked_ns: u64,
}

/// What /proc or a recording says of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The process itself, its parent, and so on up to init, as far as they are known.
    pub family: Vec<ProcessFacts>,
    /// Its cgroup, as /proc has it; empty when it is not known.
    pub cgroup: Vec<u8>,
    /// How many threads it has; 0 when it is not known.
    pub threads: u32,
}

/// Opens the page of the selected row.
pub(super) fn open(app: &mut App, effects: &mut Vec<Effect>) {
    let at_text = focus(app) == Focus::Text;
    match row(app) {
        Some(Row::Process(process)) if !at_text => {
            let key = process.key;
            process_page(app, key, effects);
        }
        // From an open the way leads on to its process.
        Some(Row::Open(event)) if at_text => {
            let key = event.process();
            process_page(app, key, effects);
        }
        Some(Row::Open(_)) => {
            let model = app.model();
            let newest = || model.listing.seq(&model.history, model.listing.len(&model.history).checked_sub(1)?);
            let record = app.opens.selected.or_else(newest).and_then(|seq| model.history.record(seq));
            let Some(record) = record.map(<[u8]>::to_vec) else { return };
            // From the page of a process this leads on: its filter is not needed any more.
            close(app);
            app.page = Some(Page::Event(record));
        }
        Some(Row::Dir(_)) => super::fold::toggle(app),
        Some(Row::Path(path, _)) => {
            // Who opens it: the opens of this path.
            let text = format!("path:{}", crate::filter::quote(path));
            if let Ok(filter) = app.parse(&text) {
                set_filter(app, Some(Arc::new(filter)));
                super::act::view(app, super::Tab::Live);
                app.pane = Pane::Opens;
                app.notice = Some(format!("filter: {text} · Esc drops it"));
            }
        }
        _ => {}
    }
}

fn process_page(app: &mut App, key: ProcessKey, effects: &mut Vec<Effect>) {
    let model = app.model();
    let Some(process) = model.processes.by_key(&key) else {
        app.notice = Some("this process has retired from the table".into());
        return;
    };
    let rates = process.spark.at(model.processes.round()).iter().map(|v| f64::from(*v)).collect();
    let samples = model.samples();
    let before = app.filter().cloned();
    let family = family(model, &app.who, process);
    let detail = Detail::of(model, &key);
    let looked = Looked { family, ..Looked::default() };
    let asked_ns = app.live.now_ns;
    app.page = Some(Page::Process(Box::new(ProcessPage { key, rates, detail, looked, before, samples, asked_ns })));
    (app.scroll, app.pane) = (0, Pane::Processes);
    app.opens.selected = None;
    if let Ok(filter) = app.parse(&format!("pid:{}", key.tgid)) {
        set_filter(app, Some(Arc::new(filter)));
    }
    if app.settings.live {
        effects.push(Effect::Look(key));
    }
}

/// The process itself, its parent, and so on up, as far as they are known.
fn family(model: &Model, who: &Who, process: &Process) -> Vec<ProcessFacts> {
    let seen = |process: &Process| {
        who.of(&process.key).cloned().unwrap_or_else(|| ProcessFacts {
            tgid: process.key.tgid,
            start_ns: process.key.start_ns,
            ppid: process.ppid,
            uid: process.uid,
            exe: process.name().to_vec(),
            ..ProcessFacts::default()
        })
    };
    let mut family: Vec<ProcessFacts> = who.of(&process.key).cloned().into_iter().collect();
    let mut ppid = match process.ppid {
        0 => family.first().map_or(0, |own| own.ppid),
        ppid => ppid,
    };
    // The depth of the tree is not ours: a loop of reused pids must not hold us.
    while ppid > 0 && family.len() < DEPTH {
        let parent = model.processes.by_pid(ppid).map(seen).or_else(|| who.parent(ppid).cloned());
        let Some(parent) = parent else { break };
        let above = parent.ppid;
        family.push(parent);
        if above == ppid {
            break;
        }
        ppid = above;
    }
    family
}

/// Closes the page; what the filter was before it is again.
pub(super) fn close(app: &mut App) {
    if let Some(Page::Process(page)) = app.page.take() {
        set_filter(app, page.before);
    }
    app.scroll = 0;
}

/// Brings the page up to date: a sample was taken.
pub(super) fn refresh(app: &mut App) {
    let model = app.frozen.as_ref().map_or(&app.live, |f| &f.model);
    let Some(Page::Process(page)) = &mut app.page else { return };
    if page.samples == model.samples() {
        return;
    }
    page.samples = model.samples();
    page.detail = Detail::of(model, &page.key);
    if let Some(process) = model.processes.by_key(&page.key) {
        // What /proc said goes up to init; this may have come later, and of a process that is gone by now.
        let known = family(model, &app.who, process);
        if known.len() > page.looked.family.len() {
            page.looked.family = known;
        }
        let newest = process.spark.at(model.processes.round()).last().copied().unwrap_or(0.0);
        page.rates.push_back(f64::from(newest));
        if page.rates.len() > RATES {
            page.rates.pop_front();
        }
    }
}

/// Asks /proc anew now and then: a process may run another program, or get another parent.
pub(super) fn look_again(app: &mut App, effects: &mut Vec<Effect>) {
    if !app.settings.live || app.frozen.is_some() || app.live.ended {
        return;
    }
    let Some(Page::Process(page)) = &mut app.page else { return };
    let lives = app.live.processes.by_key(&page.key).is_some_and(|process| process.exited_ns.is_none());
    if lives && app.live.now_ns.saturating_sub(page.asked_ns) >= LOOK {
        page.asked_ns = app.live.now_ns;
        effects.push(Effect::Look(page.key));
    }
}
