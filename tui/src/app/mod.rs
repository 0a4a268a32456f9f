//! The state of the dashboard, and what happens to it: a message comes in, [`update`] changes the state and answers
//! with what is to be done outside. Pure: no clock, no input or output, no drawing.

mod act;
mod capture;
pub mod columns;
pub mod container;
pub mod dirs;
mod find;
pub mod focus;
mod fold;
pub mod keys;
pub mod layout;
mod lists;
pub mod menu;
mod mouse;
pub mod page;
pub mod prompt;
pub mod replay;
mod save;
mod settings;
mod settle;
mod stacks;
pub mod tables;
mod update;

use std::sync::Arc;

use crossterm::event::{KeyEvent, MouseEvent};
use probe_common::ProcessKey;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::filter::{Filter, ParseError, Recorded};
use crate::model::Model;
use crate::model::who::Who;
use crate::recording::Stats;
use crate::session::Session;
use crate::source::replay::{Control, Position};
use crate::source::{Input, ProbeCost, Recapture};

pub use lists::{Frozen, OpenList, ProcessList, Tree};
pub use page::{Looked, Page};
use prompt::Prompt;
pub use settings::{CaptureText, Layout, Prefs, Settings};
pub use update::update;

/// What can happen.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key went down.
    Key(KeyEvent),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// The screen has another size: columns, rows.
    Resize(u16, u16),
    /// Something came from the source.
    Input(Input),
    /// Time passed: boot clock, ns.
    Tick(u64),
    /// What /proc says of a process.
    Looked(ProcessKey, Looked),
    /// What opentop itself used so far.
    Own(Own),
    /// What the probe cost so far, or why that is not known.
    Cost(Result<ProbeCost, String>),
    /// A sentence for the person.
    Said(String),
    /// Where a replay is.
    Position(Position),
    /// How the recording of `-w` stands.
    Recording(Stats),
    /// Names of users became known; `None` where a uid has no name.
    Users(Vec<(u32, Option<String>)>),
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// End.
    Quit,
    /// Give the terminal to the shell until it brings us back.
    Suspend,
    /// Draw every cell anew: something else wrote to the terminal.
    Repaint,
    /// Read in /proc who this process is: answered by [`Msg::Looked`].
    Look(ProcessKey),
    /// Capture this from now on: answered by [`Input::Capture`].
    Capture(Box<Recapture>),
    /// Tell the replay this.
    Control(Control),
    /// Write this text to a new file: what kind of list it is, and the text.
    Save(&'static str, Vec<u8>),
    /// Put this text on the clipboard.
    Copy(String),
    /// Find the names of these users.
    NameUsers(Vec<u32>),
    /// Measure what the probe costs, answered by [`Msg::Cost`] now and then, or do so no longer.
    Meter(bool),
    /// Take the stacks of this process (tgid) from now on, or no more.
    Stacks(u32, bool),
}

/// The answer to a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Whether the screen may look different now.
    pub changed: bool,
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
}

/// The views, by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// Processes and opens.
    Live,
    /// The most opened paths.
    Files,
    /// What was looked for in vain.
    Failures,
    /// How long opens take.
    Latency,
    /// What is missing, what is blind, what opentop costs.
    Health,
}

impl Tab {
    /// All, in their order.
    pub const ALL: [Self; 5] = [Self::Live, Self::Files, Self::Failures, Self::Latency, Self::Health];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "Live",
            Self::Files => "Files",
            Self::Failures => "Failures",
            Self::Latency => "Latency",
            Self::Health => "Health",
        }
    }
}

/// What opentop itself uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// When it was measured, boot clock, ns.
    pub at_ns: u64,
    /// CPU time since the start, user and system, ns.
    pub cpu_ns: u64,
    /// Most memory so far, bytes.
    pub memory: u64,
}

/// The panes of the first view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// The process table.
    Processes,
    /// The list of opens.
    Opens,
}

/// Who gets the keys.
#[derive(Clone, Debug)]
pub enum Mode {
    /// The screen.
    Normal,
    /// A line to type in.
    Prompt(Box<Prompt>),
    /// The help, scrolled by so many lines.
    Help(u16),
    /// A list to choose from.
    Menu(menu::Menu),
    /// The columns of the process table, the selected one.
    Columns(usize),
}

/// The whole state.
#[derive(Clone, Debug)]
pub struct App {
    /// The session's unchanging facts.
    pub session: Session,
    /// The capture that it began with, in words: it may be changed while it runs.
    pub first_capture: String,
    /// What it started with; the look may change.
    pub settings: Settings,
    /// What goes on, shown or not.
    pub live: Model,
    /// The replay, where opens come from a recording.
    pub replay: Option<replay::Replay>,
    /// The picture that is shown instead while paused.
    pub frozen: Option<Frozen>,
    /// Names of users.
    pub users: FxHashMap<u32, String>,
    /// Names of the processes that the page of an open speaks of by pid, escaped.
    pub comms: FxHashMap<u32, String>,
    /// Who the processes are, as far as it became known; never frozen.
    pub who: Who,
    /// How the recording of `-w` stands, if there is one.
    pub recording: Option<Stats>,
    /// Columns and rows.
    pub size: (u16, u16),
    /// The view.
    pub tab: Tab,
    /// The pane with the keys.
    pub pane: Pane,
    /// The process table.
    pub processes: ProcessList,
    /// The list of opens.
    pub opens: OpenList,
    /// The files.
    pub files: tables::TableList<tables::FileRow>,
    /// The directories that are unfolded, while the files are a tree.
    pub file_tree: Option<FxHashSet<Box<[u8]>>>,
    /// What they are sorted by.
    pub file_sort: tables::FileSort,
    /// Against the usual direction.
    pub file_sort_reversed: bool,
    /// What the failures are sorted by, and whether against the usual direction.
    pub failure_sort: (tables::FailureSort, bool),
    /// The failures.
    pub failures: tables::TableList<crate::model::missing::Missing>,
    /// A process or an open looked at closely.
    pub page: Option<Page>,
    /// Lines that a text is scrolled by.
    pub scroll: u16,
    /// What opentop itself uses.
    pub own: Own,
    /// What the probe costs: the first and the last reading of the latest measurement in which there was an open.
    pub cost: Option<(ProbeCost, ProbeCost)>,
    /// The first reading of the measurement that goes on, and when the last one was, boot clock, ns.
    measured: Option<(ProbeCost, u64)>,
    /// Why it is not measured now.
    pub cost_unknown: Option<String>,
    /// Whether it is asked for.
    metering: bool,
    /// Who gets the keys.
    pub mode: Mode,
    /// What is searched for.
    pub search: String,
    /// Share of the processes' pane, percent.
    pub split: u16,
    /// Whether the person moved the splitter.
    pub split_moved: bool,
    /// Whether the splitter is being moved by the mouse.
    dragging: bool,
    /// A sentence for the person, in the footer until the next key.
    pub notice: Option<String>,
    /// Processes whose stacks a key asked for.
    pub stacked: FxHashSet<ProcessKey>,
    lines: Vec<String>,
    clock_s: u64,
    tables_stale: bool,
    table_samples: u64,
}

impl App {
    /// Makes a filter of a text. In a replay the users are those of the machine that recorded.
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn parse(&self, text: &str) -> Result<Filter, ParseError> {
        match self.replay {
            None => (self.settings.parse)(text),
            Some(_) => Filter::parse_with(text, &Recorded(&self.users)),
        }
    }

    /// A dashboard of a session.
    #[must_use]
    pub fn new(session: Session, settings: Settings) -> Self {
        let mut live = Model::new(settings.model);
        if let Some(filter) = &settings.filter {
            live.set_filter(Some(Arc::new(filter.clone())));
        }
        let notice = settings.prefs.notice.clone();
        Self {
            first_capture: session.capture.clone(),
            session,
            live,
            settings,
            replay: None,
            frozen: None,
            users: FxHashMap::default(),
            comms: FxHashMap::default(),
            who: Who::default(),
            recording: None,
            size: (0, 0),
            tab: Tab::Live,
            pane: Pane::Processes,
            processes: ProcessList::default(),
            opens: OpenList::default(),
            files: tables::TableList::default(),
            file_tree: None,
            file_sort: tables::FileSort::Opens,
            file_sort_reversed: false,
            failure_sort: (tables::FailureSort::Count, false),
            failures: tables::TableList::default(),
            page: None,
            scroll: 0,
            own: Own::default(),
            cost: None,
            measured: None,
            cost_unknown: None,
            metering: false,
            mode: Mode::Normal,
            search: String::new(),
            split: 45,
            split_moved: false,
            dragging: false,
            notice,
            stacked: FxHashSet::default(),
            lines: Vec::new(),
            clock_s: 0,
            tables_stale: true,
            table_samples: 0,
        }
    }

    /// The model that is on the screen.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.frozen.as_ref().map_or(&self.live, |f| &f.model)
    }

    /// Opens that came since the pause.
    #[must_use]
    pub fn meanwhile(&self) -> Option<u64> {
        Some(self.live.opens().saturating_sub(self.frozen.as_ref()?.model.opens()))
    }

    /// The display filter in force.
    #[must_use]
    pub fn filter(&self) -> Option<&Arc<Filter>> {
        self.live.listing.filter()
    }

    /// A user's name, or the number.
    #[must_use]
    pub fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    /// Time that the session has run, seconds.
    #[must_use]
    pub fn elapsed_s(&self) -> u64 {
        self.live.now_ns.saturating_sub(self.session.start_ns) / 1_000_000_000
    }

    /// Whether older opens are still being examined by a new filter: more messages should come soon.
    #[must_use]
    pub fn is_examining(&self) -> bool {
        self.live.is_examining() || self.frozen.as_ref().is_some_and(|f| f.model.is_examining())
    }
}

#[cfg(test)]
pub(crate) mod tests;
