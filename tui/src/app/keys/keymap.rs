//! Which key does what: the table's keys, or those of the configuration instead.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use rustc_hash::FxHashMap;

use super::{Action, BINDINGS};

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
