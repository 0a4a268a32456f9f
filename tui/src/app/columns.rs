//! The columns of the process table: which there are, what they are called, and which of them are shown.

use crate::model::order::Column as By;
use crate::model::rate::SPARK;

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// What rows can be sorted by.
    Sorted(By),
    /// The rate of late, as a line.
    Spark,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What it shows.
    pub what: What,
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its head.
    pub head: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Cells; 0 takes what the others leave.
    pub width: u16,
    /// Whether it stands against the right.
    pub right: bool,
    /// From which width of the pane on it is there.
    pub from: u16,
}

const fn column(what: What, [name, head, help]: [&'static str; 3], width: u16, right: bool, from: u16) -> Column {
    Column { what, name, head, help, width, right, from }
}

/// Every column, from the left.
pub static COLUMNS: [Column; 10] = [
    column(What::Sorted(By::Pid), ["pid", "PID", "process id"], 7, true, 0),
    column(What::Sorted(By::User), ["user", "USER", "name of the user"], 9, false, 72),
    column(What::Sorted(By::Comm), ["comm", "COMM", "name of the process"], 15, false, 0),
    column(
        What::Sorted(By::Matched),
        ["match", "MATCH", "kept opens that pass the filter, while there is one"],
        7,
        true,
        0,
    ),
    column(What::Sorted(By::Opens), ["opens", "OPENS", "opens since the capture began, exact"], 8, true, 0),
    column(What::Sorted(By::Rate), ["rate", "OPENS/s", "opens per second of late"], 8, true, 0),
    column(What::Sorted(By::Failed), ["failed", "FAIL%", "share of the opens that failed"], 6, true, 0),
    column(What::Sorted(By::P99), ["p99", "p99", "99 % of the opens took at most this"], 6, true, 86),
    column(What::Spark, ["graph", "RATE", "opens per second over the last samples"], SPARK as u16, false, 104),
    column(What::Sorted(By::Last), ["path", "LAST PATH", "the path opened last"], 0, false, 0),
];

/// The column of a name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|c| c.name == name)
}

/// Which columns are shown, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns(Vec<What>);

impl Default for Columns {
    fn default() -> Self {
        Self(COLUMNS.iter().map(|c| c.what).collect())
    }
}

impl Columns {
    /// These, in this order; the one that takes what the others leave comes last.
    #[must_use]
    pub fn new(shown: &[What]) -> Self {
        let wide = |what: &What| COLUMNS.iter().any(|c| c.what == *what && c.width == 0);
        let mut columns: Vec<What> = Vec::new();
        for what in shown.iter().filter(|w| !wide(w)).chain(shown.iter().filter(|w| wide(w))) {
            if !columns.contains(what) {
                columns.push(*what);
            }
        }
        Self(columns)
    }

    /// Whether a column is shown.
    #[must_use]
    pub fn has(&self, what: What) -> bool {
        self.0.contains(&what)
    }

    /// Shows what is hidden, hides what is shown; the last one stays.
    pub fn toggle(&mut self, what: What) {
        if self.has(what) {
            if self.0.len() > 1 {
                self.0.retain(|w| *w != what);
            }
        } else {
            // Back to where the table has it, after the last shown one that stands before it there.
            let place = |what: &What| COLUMNS.iter().position(|c| c.what == *what);
            let at = self.0.iter().rposition(|w| place(w) < place(&what)).map_or(0, |at| at + 1);
            self.0.insert(at, what);
            *self = Self::new(&self.0);
        }
    }

    /// The shown ones, from the left.
    pub fn iter(&self) -> impl Iterator<Item = &'static Column> {
        self.0.iter().filter_map(|what| COLUMNS.iter().find(|c| c.what == *what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_column_comes_back_to_its_place_and_the_last_one_cannot_be_hidden() {
        let mut columns = Columns::default();
        columns.toggle(What::Sorted(By::User));
        assert!(!columns.has(What::Sorted(By::User)));
        columns.toggle(What::Sorted(By::User));
        assert_eq!(columns, Columns::default());
        for column in &COLUMNS {
            columns.toggle(column.what);
        }
        assert_eq!(columns.iter().count(), 1);
    }
}
