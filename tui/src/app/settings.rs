//! What a person prefers, and what the dashboard starts with.

use super::columns;
use super::keys::Keymap;
use crate::filter::{Filter, ParseError};
use crate::look::Look;
use crate::model::Options;

/// How the two panes of the first view stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// Side by side where there is room
    #[default]
    Auto,
    /// Side by side
    Side,
    /// Processes above opens
    Stacked,
}

/// What a person may prefer, and put into the configuration.
#[derive(Clone, Debug, Default)]
pub struct Prefs {
    /// How the panes stand.
    pub layout: Layout,
    /// Columns of the process table.
    pub columns: columns::Columns,
    /// Which key does what.
    pub keymap: Keymap,
    /// A sentence that stands in the footer at first.
    pub notice: Option<String>,
}

/// The capture as a person edits it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureText {
    /// The expression in force; empty for all.
    pub text: String,
    /// With a command, to which it is confined: the processes beside it.
    pub command: Option<Vec<u32>>,
}

/// What the dashboard starts with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the person prefers.
    pub prefs: Prefs,
    /// How the model is bounded.
    pub model: Options,
    /// How it looks.
    pub look: Look,
    /// Whether opens come from the kernel now: then time passes by the clock, else by what comes.
    pub live: bool,
    /// For times of day.
    pub time_zone: jiff::tz::TimeZone,
    /// Makes a filter of a text. It may look users up, which is why it is given from outside.
    pub parse: fn(&str) -> Result<Filter, ParseError>,
    /// Display filter at the start.
    pub filter: Option<Filter>,
    /// The capture; while it runs, the one in force.
    pub capture: CaptureText,
    /// Whether the stacks of every open are taken.
    pub stacks: bool,
}
