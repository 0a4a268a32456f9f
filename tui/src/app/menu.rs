//! A short list to choose from: what of a row to filter by.

use crossterm::event::{KeyCode, KeyEvent};

use super::App;
use super::focus::{Row, row};
use crate::escape::escaped;
use crate::event::Event;
use crate::filter::quote;

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key that chooses it at once.
    pub key: char,
    /// What it is about.
    pub label: &'static str,
    /// The filter that it stands for.
    pub filter: String,
}

/// The list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Menu {
    /// Whether what is chosen is hidden, instead of all else.
    pub exclude: bool,
    /// The lines.
    pub items: Vec<Item>,
    /// The selected one.
    pub cursor: usize,
}

/// What a key made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Still choosing.
    Nothing,
    /// Away without a choice.
    Left,
    /// This filter.
    Filter(String),
}

impl Menu {
    /// What the selected row can be filtered by; `None` where nothing is selected.
    #[must_use]
    pub fn new(app: &App, exclude: bool) -> Option<Self> {
        let mut items = Vec::new();
        let mut add = |key, label, filter: String| items.push(Item { key, label, filter });
        match row(app)? {
            Row::Process(process) => {
                add('p', "this process", format!("pid:{}", process.key.tgid));
                add('c', "this name", format!("comm:{}", quote(process.name())));
                add('u', "this user", format!("uid:{}", process.uid));
            }
            Row::Open(event) => of_open(&event, &mut add),
            Row::Dir(path) => add('d', "this directory", below(path)),
            Row::Path(path, errno) => {
                of_path(path, &mut add);
                if let Some(errno) = errno {
                    add(
                        'e',
                        "this error",
                        format!("err:{}", crate::errno::name(errno).map_or_else(|| errno.to_string(), str::to_owned)),
                    );
                }
            }
        }
        Some(Self { exclude, items, cursor: 0 })
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent) -> Chosen {
        let last = self.items.len().saturating_sub(1);
        match key.code {
            KeyCode::Down | KeyCode::Char('j') | KeyCode::Tab => self.cursor = (self.cursor + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Char('x' | '!') => self.exclude = !self.exclude,
            KeyCode::Enter => return self.choose(self.cursor),
            KeyCode::Char(c) => {
                if let Some(at) = self.items.iter().position(|item| item.key == c) {
                    return self.choose(at);
                }
            }
            KeyCode::Esc | KeyCode::Backspace => return Chosen::Left,
            _ => {}
        }
        Chosen::Nothing
    }

    /// The filter of a line.
    #[must_use]
    pub fn choose(&self, at: usize) -> Chosen {
        self.items.get(at).map_or(Chosen::Left, |item| {
            Chosen::Filter(if self.exclude { format!("!{}", item.filter) } else { item.filter.clone() })
        })
    }
}

fn of_open(event: &Event<'_>, add: &mut impl FnMut(char, &'static str, String)) {
    add('p', "this process", format!("pid:{}", event.header().tgid));
    add('c', "this name", format!("comm:{}", quote(event.comm())));
    let mut path = Vec::new();
    event.path_into(&mut path);
    of_path(&path, add);
    match event.errno() {
        Some(errno) => {
            let name = crate::errno::name(errno).map_or_else(|| errno.to_string(), str::to_owned);
            add('e', "this error", format!("err:{name}"));
        }
        None => add('e', "any error", "failed".to_owned()),
    }
    add('v', "this route", format!("via:{}", event.route().name()));
}

fn of_path(path: &[u8], add: &mut impl FnMut(char, &'static str, String)) {
    add('f', "this path", format!("path:{}", quote(path)));
    let name = crate::model::missing::name_of(path);
    if let Some(dir) = path.len().checked_sub(name.len()).and_then(|end| path.get(..end)).filter(|d| d.len() > 1) {
        add('d', "this directory", below(dir));
    }
}

/// Everything below a directory, which has its slash at the end.
fn below(dir: &[u8]) -> String {
    // A glob works outside of quotes only; what needs them is searched for as it stands.
    let quoted = quote(dir);
    if quoted.starts_with('"') { escaped(quoted.as_bytes()) } else { format!("path:{quoted}**") }
}
