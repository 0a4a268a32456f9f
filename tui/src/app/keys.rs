//! The one table of keys: it drives what a key does, the help screen and the footer.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use rustc_hash::FxHashMap;

/// What a key can do on the main screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is explained, to users, by its row in the table.
pub enum Action {
    Help,
    Filter,
    Capture,
    Search,
    SearchNext,
    SearchPrevious,
    Pause,
    Sort,
    SortNext,
    SortPrevious,
    SortReverse,
    Follow,
    NextPane,
    PreviousPane,
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Back,
    Reset,
    GrowSplit,
    ShrinkSplit,
    Live,
    Files,
    Failures,
    Latency,
    Health,
    Inspect,
    Only,
    Exclude,
    Copy,
    Save,
    Columns,
    Tree,
    Fold,
    FoldAll,
    Stacks,
    Slower,
    Faster,
    Earlier,
    Later,
    StepBack,
    Step,
    Beginning,
    Ending,
    GoTo,
    Mark,
    NextMark,
    PreviousMark,
    Theme,
    Redraw,
    Suspend,
    Quit,
}

/// The part of the help screen a key stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Getting about.
    Move,
    /// Choosing what is seen.
    Find,
    /// The screen itself.
    Screen,
    /// A recording that is played: shown only then.
    Replay,
}

impl Group {
    /// All of them, in the order of the help screen.
    pub const ALL: [Self; 4] = [Self::Replay, Self::Move, Self::Find, Self::Screen];

    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Move => "Move",
            Self::Find => "Find and filter",
            Self::Screen => "Screen",
            Self::Replay => "Replay (-r FILE): Space plays and pauses",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// What it does.
    pub action: Action,
    /// The keys for it, the best to remember first.
    pub keys: &'static [&'static str],
    /// A word for the footer.
    pub word: &'static str,
    /// A sentence for the help screen.
    pub help: &'static str,
    /// Where on the help screen.
    pub group: Group,
    /// Place in the footer, from the left; 0 when it is not there.
    pub footer: u8,
}

impl Binding {
    /// The action's name in the configuration.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = String::new();
        for c in format!("{:?}", self.action).chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }
}

const fn row(
    action: Action,
    keys: &'static [&'static str],
    word: &'static str,
    help: &'static str,
    group: Group,
    footer: u8,
) -> Binding {
    Binding { action, keys, word, help, group, footer }
}

/// Every key of the main screens.
pub static BINDINGS: &[Binding] = &[
    row(Action::Up, &["Up", "k"], "up", "one row up; the list stops following", Group::Move, 0),
    row(Action::Down, &["Down", "j"], "down", "one row down", Group::Move, 0),
    row(Action::PageUp, &["PgUp", "Ctrl-b"], "page up", "a page up", Group::Move, 0),
    row(Action::PageDown, &["PgDn", "Ctrl-f"], "page down", "a page down", Group::Move, 0),
    row(Action::Top, &["Home", "g"], "top", "to the first row", Group::Move, 0),
    row(Action::Bottom, &["End", "G"], "bottom", "to the last row", Group::Move, 0),
    row(Action::NextPane, &["Tab"], "pane", "to the other pane", Group::Move, 8),
    row(Action::PreviousPane, &["Shift-Tab"], "pane", "to the other pane, backwards", Group::Move, 0),
    row(Action::Inspect, &["Enter"], "inspect", "look closely at the selected process or open", Group::Move, 4),
    row(Action::Live, &["1"], "live", "view 1: processes and opens", Group::Move, 0),
    row(Action::Files, &["2"], "files", "view 2: the most opened paths", Group::Move, 0),
    row(
        Action::Failures,
        &["3"],
        "failures",
        "view 3: names looked for in vain, and where they were found",
        Group::Move,
        0,
    ),
    row(Action::Latency, &["4"], "latency", "view 4: how long opens take", Group::Move, 0),
    row(Action::Health, &["5"], "health", "view 5: what is lost, what is blind, what opentop costs", Group::Move, 0),
    row(Action::Follow, &["F"], "follow", "follow the newest opens, or the selected process", Group::Move, 10),
    row(
        Action::Tree,
        &["t", "F5"],
        "tree",
        "processes as a tree with sums; in view 2 paths in their directories",
        Group::Move,
        9,
    ),
    row(Action::Fold, &["z"], "fold", "fold or unfold the selected row of a tree", Group::Move, 0),
    row(Action::FoldAll, &["Z"], "fold all", "fold or unfold the whole tree", Group::Move, 0),
    row(Action::Filter, &["/", "F4", "\\"], "filter", "show only what matches, as you type", Group::Find, 2),
    row(Action::Capture, &["c"], "capture", "change what the kernel captures at all", Group::Find, 3),
    row(
        Action::Only,
        &["f"],
        "only",
        "show only what is like the selected row: process, name, path and so on",
        Group::Find,
        7,
    ),
    row(Action::Exclude, &["x"], "exclude", "hide what is like the selected row", Group::Find, 0),
    row(Action::Search, &["F3", "Ctrl-s"], "search", "jump to the next row that contains a word", Group::Find, 0),
    row(Action::SearchNext, &["n"], "next", "the next row found", Group::Find, 0),
    row(Action::SearchPrevious, &["N"], "previous", "the previous row found", Group::Find, 0),
    row(
        Action::Back,
        &["Esc", "Backspace"],
        "back",
        "back out: of a page, the selection, the pause, the filter",
        Group::Find,
        0,
    ),
    row(Action::Reset, &["Ctrl-r"], "reset", "drop filter, search, selection and pause", Group::Find, 0),
    row(
        Action::Pause,
        &["Space", "p"],
        "pause",
        "freeze the picture, counting goes on; a replay stops or goes on",
        Group::Screen,
        5,
    ),
    row(Action::Sort, &["s", "F6"], "sort", "sort by the next column", Group::Screen, 6),
    row(Action::SortPrevious, &["<"], "sort left", "sort by the column to the left", Group::Screen, 0),
    row(Action::SortNext, &[">"], "sort right", "sort by the column to the right", Group::Screen, 0),
    row(Action::SortReverse, &["I", "R"], "reverse", "reverse the order", Group::Screen, 0),
    row(Action::GrowSplit, &["+", "="], "grow", "more room for the processes", Group::Screen, 0),
    row(Action::ShrinkSplit, &["-"], "shrink", "more room for the opens", Group::Screen, 0),
    row(Action::Copy, &["y"], "copy", "copy the selected path or row to the clipboard (OSC 52)", Group::Screen, 0),
    row(Action::Save, &["o"], "write", "write the list to a new file in the working directory", Group::Screen, 0),
    row(Action::Columns, &["F2"], "columns", "choose the columns of the process table", Group::Screen, 0),
    row(
        Action::Stacks,
        &["S"],
        "stacks",
        "take the stacks of the selected process's opens, or no more",
        Group::Screen,
        0,
    ),
    row(Action::Later, &["Right"], "+10 s", "ten seconds on", Group::Replay, 12),
    row(Action::Earlier, &["Left"], "-10 s", "ten seconds back", Group::Replay, 13),
    row(Action::Step, &["."], "step", "stand still, one open later", Group::Replay, 14),
    row(Action::StepBack, &[","], "step back", "stand still, one open earlier", Group::Replay, 0),
    row(Action::Faster, &["]"], "faster", "twice as fast, up to 100 times", Group::Replay, 15),
    row(Action::Slower, &["["], "slower", "half as fast, down to a tenth", Group::Replay, 16),
    row(Action::Beginning, &["0"], "start", "to the beginning of the recording", Group::Replay, 0),
    row(Action::Ending, &["$"], "end", "to the end of the recording", Group::Replay, 0),
    row(Action::GoTo, &[":"], "go to", "to a time: 1:30, +20s, -5m, 50%", Group::Replay, 0),
    row(Action::Mark, &["m"], "mark", "mark this moment, or take the mark away", Group::Replay, 0),
    row(Action::NextMark, &["}"], "next mark", "to the next mark", Group::Replay, 0),
    row(Action::PreviousMark, &["{"], "last mark", "to the mark before", Group::Replay, 0),
    row(Action::Theme, &["T"], "theme", "the next colour theme", Group::Screen, 0),
    row(Action::Redraw, &["Ctrl-l"], "redraw", "draw the whole screen anew", Group::Screen, 0),
    row(Action::Help, &["?", "F1", "h"], "help", "this help", Group::Screen, 1),
    row(Action::Suspend, &["Ctrl-z"], "suspend", "to the shell; fg comes back", Group::Screen, 0),
    row(Action::Quit, &["q", "F10", "Ctrl-c"], "quit", "end opentop", Group::Screen, 11),
];

/// The keys of the line in which a filter or a search is typed: key, and what it does.
pub static PROMPT_KEYS: &[(&str, &str)] =
    &[("Enter", "keep"), ("Esc", "undo"), ("Up", "older"), ("Down", "newer"), ("Tab", "complete"), ("Ctrl-u", "clear")];

/// One key as it is looked up: a code with Ctrl and Alt; Shift is in the character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

impl From<KeyEvent> for Key {
    fn from(event: KeyEvent) -> Self {
        let mut modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        let code = match event.code {
            // Terminals send Ctrl-H for Backspace, or the other way round.
            KeyCode::Char('h') if modifiers == KeyModifiers::CONTROL => {
                modifiers = KeyModifiers::NONE;
                KeyCode::Backspace
            }
            KeyCode::Char(c) if modifiers.contains(KeyModifiers::CONTROL) => KeyCode::Char(c.to_ascii_lowercase()),
            code => code,
        };
        Self { code, modifiers }
    }
}

impl Key {
    /// From how the table writes it: "q", "Space", "Ctrl-c", "Alt-x", "F10", "`PgUp`".
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("Ctrl-") {
            return Self::parse(rest).map(|k| Self { modifiers: k.modifiers | KeyModifiers::CONTROL, ..k });
        }
        if let Some(rest) = text.strip_prefix("Alt-") {
            return Self::parse(rest).map(|k| Self { modifiers: k.modifiers | KeyModifiers::ALT, ..k });
        }
        let code = match text {
            "Space" => KeyCode::Char(' '),
            "Enter" => KeyCode::Enter,
            "Esc" => KeyCode::Esc,
            "Tab" => KeyCode::Tab,
            "Shift-Tab" => KeyCode::BackTab,
            "Backspace" => KeyCode::Backspace,
            "Del" => KeyCode::Delete,
            "Ins" => KeyCode::Insert,
            "Up" => KeyCode::Up,
            "Down" => KeyCode::Down,
            "Left" => KeyCode::Left,
            "Right" => KeyCode::Right,
            "PgUp" => KeyCode::PageUp,
            "PgDn" => KeyCode::PageDown,
            "Home" => KeyCode::Home,
            "End" => KeyCode::End,
            _ => {
                let mut chars = text.chars();
                match (chars.next()?, chars.as_str()) {
                    (c, "") => KeyCode::Char(c),
                    ('F', number) => KeyCode::F(number.parse().ok().filter(|n| (1..=12).contains(n))?),
                    _ => return None,
                }
            }
        };
        Some(Self { code, modifiers: KeyModifiers::NONE })
    }
}

/// Which key does what.
#[derive(Clone, Debug)]
pub struct Keymap {
    actions: FxHashMap<Key, Action>,
    keys: FxHashMap<Action, Vec<String>>,
}

impl Default for Keymap {
    fn default() -> Self {
        let mut map = Self { actions: FxHashMap::default(), keys: FxHashMap::default() };
        for binding in BINDINGS {
            for text in binding.keys {
                if let Some(key) = Key::parse(text) {
                    map.actions.insert(key, binding.action);
                }
            }
            map.keys.insert(binding.action, binding.keys.iter().map(|k| (*k).to_owned()).collect());
        }
        map
    }
}

impl Keymap {
    /// Gives an action these keys instead of its own; whatever had one of them loses it. Gives the actions that have
    /// no key left.
    pub fn rebind(&mut self, action: Action, keys: &[String]) -> Vec<Action> {
        self.actions.retain(|_, a| *a != action);
        for text in keys {
            let Some(key) = Key::parse(text) else { continue };
            if let Some(before) = self.actions.insert(key, action).filter(|before| *before != action)
                && let Some(texts) = self.keys.get_mut(&before)
            {
                texts.retain(|t| Key::parse(t) != Some(key));
            }
        }
        self.keys.insert(action, keys.to_vec());
        self.keys.iter().filter(|(a, keys)| keys.is_empty() && **a != action).map(|(a, _)| *a).collect()
    }

    /// The keys of an action, the best to remember first.
    #[must_use]
    pub fn keys(&self, action: Action) -> &[String] {
        self.keys.get(&action).map_or(&[], Vec::as_slice)
    }

    /// What a key does.
    #[must_use]
    pub fn action(&self, event: KeyEvent) -> Option<Action> {
        self.actions.get(&Key::from(event)).copied()
    }
}

/// The rows that mean something: those of a replay only while there is one.
pub fn rows(replaying: bool) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |b| replaying || b.group != Group::Replay)
}

/// The rows of the footer, from the left: those of a replay behind help and filter, the way out last.
pub fn footer(replaying: bool) -> impl Iterator<Item = &'static Binding> {
    // What a recording holds was captured long ago.
    let means = |b: &&Binding| b.footer > 0 && !(replaying && b.action == Action::Capture);
    let mut rows: Vec<_> = rows(replaying).filter(means).collect();
    rows.sort_by_key(|b| match b.group {
        Group::Replay => (2, b.footer),
        _ if b.action == Action::Pause && replaying => (2, 0),
        _ => (b.footer, 0),
    });
    rows.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_in_the_table_is_a_key_and_stands_there_once() {
        let mut seen = FxHashMap::default();
        for binding in BINDINGS {
            assert!(!binding.keys.is_empty(), "{:?} has no key", binding.action);
            for text in binding.keys {
                let key = Key::parse(text).unwrap_or_else(|| panic!("{text} is no key"));
                assert_eq!(seen.insert(key, binding.action), None, "{text} stands there twice");
            }
        }
    }

    #[test]
    fn every_action_stands_in_the_table_once_and_is_explained() {
        let mut seen = rustc_hash::FxHashSet::default();
        for binding in BINDINGS {
            assert!(seen.insert(binding.action), "{:?} stands there twice", binding.action);
            assert!(!binding.word.is_empty() && !binding.help.is_empty());
        }
        // `Quit` is the last of the enumeration.
        assert_eq!(seen.len(), Action::Quit as usize + 1, "an action has no key");
    }

    #[test]
    fn places_in_the_footer_are_not_shared() {
        let mut places: Vec<_> = footer(true).map(|b| b.footer).collect();
        places.sort_unstable();
        let all = places.len();
        places.dedup();
        assert_eq!(places.len(), all);
    }
}
