//! How the dashboard looks, by name: what command line, configuration and keys choose from.

/// How it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The colours by name.
    pub theme: ThemeName,
    /// How many colours the terminal has.
    pub colors: Colors,
    /// Only ASCII for borders and bars.
    pub ascii: bool,
}

/// The themes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ThemeName {
    /// For a dark terminal.
    Dark,
    /// For a light one.
    Light,
    /// Strong contrast on black.
    HighContrast,
    /// Catppuccin Mocha.
    Catppuccin,
    /// Only the sixteen colours that the terminal defines.
    Terminal,
}

impl ThemeName {
    /// All, in the order in which the key goes through them.
    pub const ALL: [Self; 5] = [Self::Dark, Self::Light, Self::HighContrast, Self::Catppuccin, Self::Terminal];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::HighContrast => "high-contrast",
            Self::Catppuccin => "catppuccin",
            Self::Terminal => "terminal",
        }
    }

    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        let here = Self::ALL.iter().position(|n| *n == self).unwrap_or(0);
        Self::ALL.into_iter().cycle().nth(here + 1).unwrap_or(self)
    }
}

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Colors {
    /// None, or none are wanted (`NO_COLOR`).
    None,
    /// The sixteen.
    Sixteen,
    /// 256.
    Indexed,
    /// 24 bits.
    True,
}

impl Colors {
    /// What `NO_COLOR`, `COLORTERM` and `TERM` say.
    #[must_use]
    pub fn from_env(no_color: Option<&str>, colorterm: Option<&str>, term: Option<&str>) -> Self {
        let term = term.unwrap_or_default();
        if no_color.is_some_and(|v| !v.is_empty())
            || term == "dumb"
            || term.starts_with("vt1")
            || term.starts_with("vt2")
        {
            Self::None
        } else if matches!(colorterm, Some("truecolor" | "24bit")) || term.contains("direct") {
            Self::True
        } else if term.contains("256") || colorterm.is_some_and(|v| !v.is_empty()) {
            Self::Indexed
        } else {
            Self::Sixteen
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_what_the_terminal_says_it_has() {
        assert_eq!(Colors::from_env(Some("1"), Some("truecolor"), Some("xterm-256color")), Colors::None);
        assert_eq!(Colors::from_env(Some(""), Some("truecolor"), Some("xterm")), Colors::True);
        assert_eq!(Colors::from_env(None, None, Some("screen-256color")), Colors::Indexed);
        assert_eq!(Colors::from_env(None, None, Some("linux")), Colors::Sixteen);
        assert_eq!(Colors::from_env(None, None, Some("dumb")), Colors::None);
    }
}
