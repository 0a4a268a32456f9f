//! Pages: one process or one open, looked at closely.

use std::collections::VecDeque;
use std::sync::Arc;

use probe_common::ProcessKey;

use super::act::set_filter;
use super::focus::{Focus, Row, focus, row};
use super::{App, Effect, Pane};
use crate::filter::Filter;
use crate::model::detail::Detail;
use crate::source::ProcessFacts;

/// Samples of the rate that a page keeps while it is open.
const RATES: usize = 600;

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
    /// The process itself, its parent, and so on up to init, as far as they are known.
    pub family: Vec<ProcessFacts>,
    /// Its cgroup, as /proc has it; empty when it is not known.
    pub cgroup: Vec<u8>,
    /// The filter to go back to.
    before: Option<Arc<Filter>>,
    samples: u64,
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
        Some(Row::Path(path, _)) => {
            // Who opens it: the opens of this path.
            let text = format!("path:{}", crate::filter::quote(path));
            if let Ok(filter) = (app.settings.parse)(&text) {
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
    let mut family: Vec<ProcessFacts> = process.facts.as_deref().cloned().into_iter().collect();
    let mut ppid = process.ppid;
    // The depth of the tree is not ours: a loop of reused pids must not hold us.
    while let Some(parent) = model.processes.by_pid(ppid).filter(|_| ppid > 0 && family.len() < 32) {
        family.push(parent.facts.as_deref().cloned().unwrap_or_else(|| ProcessFacts {
            tgid: parent.key.tgid,
            start_ns: parent.key.start_ns,
            ppid: parent.ppid,
            uid: parent.uid,
            exe: parent.name().to_vec(),
            ..ProcessFacts::default()
        }));
        if parent.ppid == ppid {
            break;
        }
        ppid = parent.ppid;
    }
    let detail = Detail::of(model, &key);
    app.page =
        Some(Page::Process(Box::new(ProcessPage { key, rates, detail, family, cgroup: Vec::new(), before, samples })));
    (app.scroll, app.pane) = (0, Pane::Processes);
    app.opens.selected = None;
    if let Ok(filter) = (app.settings.parse)(&format!("pid:{}", key.tgid)) {
        set_filter(app, Some(Arc::new(filter)));
    }
    if app.settings.live {
        effects.push(Effect::Look(key));
    }
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
        let newest = process.spark.at(model.processes.round()).last().copied().unwrap_or(0.0);
        page.rates.push_back(f64::from(newest));
        if page.rates.len() > RATES {
            page.rates.pop_front();
        }
    }
}
