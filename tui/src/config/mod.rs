//! The configuration file: its text → what a person prefers, and every complaint about it.
//!
//! Pure: where the file lies and reading it is in `run`. Nothing in the file stops the start: what is not understood
//! is told, with its line and the nearest right word, and the rest holds.

mod default;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::Duration;

use clap::ValueEnum;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::app::Layout;
use crate::app::columns::{self, COLUMNS, Columns, What};
use crate::app::keys::{Action, BINDINGS, Key, Keymap};
use crate::cli::values;
use crate::escape::escaped;
use crate::filter::Filter;
use crate::look::ThemeName;

pub use default::default_text;

/// The settings at the top level.
pub const SETTINGS: [&str; 9] =
    ["theme", "layout", "columns", "history", "interval", "filter", "mouse", "ascii", "keys"];

/// What the file says; `None` where it says nothing, or nothing that is understood.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Colours.
    pub theme: Option<ThemeName>,
    /// How the panes stand.
    pub layout: Option<Layout>,
    /// Columns of the process table.
    pub columns: Option<Columns>,
    /// Opens kept.
    pub history: Option<usize>,
    /// Between two samples of the rates.
    pub interval: Option<Duration>,
    /// Display filter at the start.
    pub filter: Option<String>,
    /// Whether the mouse is used.
    pub mouse: Option<bool>,
    /// Only ASCII for borders and bars.
    pub ascii: Option<bool>,
    /// Which key does what.
    pub keymap: Keymap,
}

/// Something in the file that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right. Escaped.
    pub message: String,
}

/// Reads the text of a configuration file.
#[must_use]
pub fn parse(text: &str) -> (Config, Vec<Complaint>) {
    let mut reading = Reading { text, config: Config::default(), complaints: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let message = error.message().to_owned();
        reading.note(error.span().map_or(0, |span| span.start), &message);
    }
    for (key, value) in table.get_ref() {
        let name: &str = key.get_ref();
        if let Err(message) = reading.setting(name, value) {
            let at = if SETTINGS.contains(&name) { value.span() } else { key.span() };
            reading.complain(at, &message);
        }
    }
    reading.complaints.sort_by_key(|c| c.line);
    (reading.config, reading.complaints)
}

struct Reading<'t> {
    text: &'t str,
    config: Config,
    complaints: Vec<Complaint>,
}

impl Reading<'_> {
    fn complain(&mut self, at: Range<usize>, message: &str) {
        // A value that is not there was told as an error of the syntax already; another one stands in for it.
        if at != (0..0) {
            self.note(at.start, message);
        }
    }

    fn note(&mut self, at: usize, message: &str) {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        self.complaints.push(Complaint { line, message: escaped(message.as_bytes()) });
    }

    fn setting(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
        let named = |message: String| format!("{name}: {message}");
        let config = &mut self.config;
        match name {
            "theme" => config.theme = Some(choice(value).map_err(named)?),
            "layout" => config.layout = Some(choice(value).map_err(named)?),
            "history" => config.history = Some(values::history(&scalar(value)).map_err(|e| named(not(value, &e)))?),
            "interval" => config.interval = Some(values::interval(&scalar(value)).map_err(|e| named(not(value, &e)))?),
            "mouse" => config.mouse = Some(yes_or_no(value).map_err(named)?),
            "ascii" => config.ascii = Some(yes_or_no(value).map_err(named)?),
            "filter" => {
                let text = string(value).map_err(named)?;
                if !text.trim().is_empty() {
                    Filter::parse(text).map_err(|e| named(e.message))?;
                    config.filter = Some(text.to_owned());
                }
            }
            "columns" => self.columns(value)?,
            "keys" => self.keys(value)?,
            _ => return Err(format!("there is no setting {name}{}", meant(name, SETTINGS.into_iter()))),
        }
        Ok(())
    }

    fn columns(&mut self, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
        let names = value.get_ref().as_array().ok_or_else(|| not(value, "a list of names: [\"pid\", \"comm\"]"))?;
        let mut shown: Vec<What> = Vec::new();
        for name in names.iter() {
            let found = string(name).and_then(|text| {
                let nearest = || format!("there is no column {text}{}", meant(text, COLUMNS.iter().map(|c| c.name)));
                columns::named(text).ok_or_else(nearest)
            });
            match found {
                Ok(column) => shown.push(column.what),
                Err(message) => self.complain(name.span(), &format!("columns: {message}")),
            }
        }
        if shown.is_empty() {
            return Err("columns: there is none left; every column is shown".into());
        }
        self.config.columns = Some(Columns::new(&shown));
        Ok(())
    }

    fn keys(&mut self, value: &Spanned<DeValue<'_>>) -> Result<(), String> {
        let table = value.get_ref().as_table().ok_or("keys is a table: write [keys] on a line of its own")?;
        let mut given: Vec<(Key, String)> = Vec::new();
        let mut bound: Vec<(Action, Vec<String>, Range<usize>)> = Vec::new();
        for (name, keys) in table {
            let text: &str = name.get_ref();
            let Some(binding) = BINDINGS.iter().find(|b| b.name() == text) else {
                let names: Vec<String> = BINDINGS.iter().map(super::app::keys::Binding::name).collect();
                let meant = meant(text, names.iter().map(String::as_str));
                self.complain(name.span(), &format!("keys: there is nothing called {text} to do{meant}"));
                continue;
            };
            let keys: Vec<&Spanned<DeValue<'_>>> = match keys.get_ref() {
                DeValue::Array(list) => list.iter().collect(),
                _ => vec![keys],
            };
            let mut texts = Vec::new();
            for key in keys {
                match self.key(key, text, &mut given) {
                    Ok(key) => texts.push(key),
                    Err(message) => self.complain(key.span(), &message),
                }
            }
            bound.push((binding.action, texts, name.span()));
        }
        // As written: whoever takes a key from another action gives that one another key, or is told.
        bound.sort_by_key(|(_, _, at)| at.start);
        let meant: Vec<Action> = bound.iter().filter(|b| b.1.is_empty()).map(|b| b.0).collect();
        let mut left = Vec::new();
        let mut last = 0..0;
        for (action, texts, at) in bound {
            left = self.config.keymap.rebind(action, &texts);
            last = at;
        }
        for action in left.into_iter().filter(|action| !meant.contains(action)) {
            let name = BINDINGS.iter().find(|b| b.action == action).map(super::app::keys::Binding::name);
            let name = name.unwrap_or_default();
            let message = format!("keys: {name} has lost its keys to others: give it one ({name} = [\"…\"])");
            self.complain(last.clone(), &message);
        }
        // There is always a way out.
        if self.config.keymap.keys(Action::Quit).is_empty() {
            self.config.keymap.rebind(Action::Quit, &["Ctrl-c".to_owned()]);
        }
        Ok(())
    }

    /// One key of an action, which no other action of the file has.
    fn key(
        &self,
        value: &Spanned<DeValue<'_>>,
        action: &str,
        given: &mut Vec<(Key, String)>,
    ) -> Result<String, String> {
        let text = string(value).map_err(|e| format!("keys: {action}: {e}"))?;
        let key = Key::parse(text).ok_or_else(|| {
            format!("keys: {action}: there is no key {text}; keys are written like q, Space, Ctrl-x, Alt-x, F5, PgUp")
        })?;
        if let Some((_, other)) = given.iter().find(|(k, _)| *k == key) {
            return Err(format!("keys: {text} is given to {other} and to {action}; it stays with {other}"));
        }
        given.push((key, action.to_owned()));
        Ok(text.to_owned())
    }
}

fn string<'v>(value: &'v Spanned<DeValue<'_>>) -> Result<&'v str, String> {
    value.get_ref().as_str().ok_or_else(|| not(value, "a text in quotes"))
}

fn yes_or_no(value: &Spanned<DeValue<'_>>) -> Result<bool, String> {
    value.get_ref().as_bool().ok_or_else(|| not(value, "true or false"))
}

/// A number, or a text, as it would be typed on the command line.
fn scalar(value: &Spanned<DeValue<'_>>) -> String {
    match value.get_ref() {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        _ => String::new(),
    }
}

fn choice<T: ValueEnum>(value: &Spanned<DeValue<'_>>) -> Result<T, String> {
    let text = string(value)?;
    T::from_str(text, false).map_err(|_| {
        let names: Vec<String> =
            T::value_variants().iter().filter_map(|v| Some(v.to_possible_value()?.get_name().to_owned())).collect();
        let meant = meant(text, names.iter().map(String::as_str));
        format!("there is no {text}{meant}; there are {}", names.join(", "))
    })
}

/// That it should be something else.
fn not(value: &Spanned<DeValue<'_>>, what: &str) -> String {
    let is = match value.get_ref() {
        DeValue::Array(_) | DeValue::Table(_) => value.get_ref().type_str().to_owned(),
        other => match other {
            DeValue::Boolean(b) => b.to_string(),
            _ => scalar(value),
        },
    };
    format!("{is} is not {what}")
}

/// The nearest of `names`, as a question, where one is near.
fn meant<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> String {
    let nearest = names.map(|name| (distance(text, name), name)).min();
    match nearest {
        Some((far, name)) if far <= 2.max(name.len() / 3) => format!("; did you mean {name}?"),
        _ => String::new(),
    }
}

/// Letters to put in, take out or change to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for (y, pair) in b.iter().zip(row.windows(2)) {
            let (diagonal, above) = (pair.first().copied().unwrap_or(0), pair.last().copied().unwrap_or(0));
            let left = next.last().copied().unwrap_or(0);
            next.push((above + 1).min(left + 1).min(diagonal + usize::from(x != *y)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
