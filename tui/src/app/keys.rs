//! The one table of keys: it drives what a key does, the help screen and the footer.

mod keymap;
mod table;

pub use keymap::{Key, Keymap};
pub use table::{BINDINGS, PROMPT_KEYS};

/// What a key can do on the main screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is explained, to users, by its row in the table")]
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
        // The way back is looked for first, where there is one.
        _ if b.action == Action::Back => (1, 1),
        Group::Replay => (2, b.footer),
        _ if b.action == Action::Pause && replaying => (2, 0),
        _ => (b.footer, 0),
    });
    rows.into_iter()
}

#[cfg(test)]
mod tests {
    use rustc_hash::FxHashMap;

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
