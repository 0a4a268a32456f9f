//! The lists of the views Files and Failures: what is in them, and where one is in them.

use std::cmp::Ordering;

use super::dirs::{self, Node};
use super::{App, Tab};
use crate::model::files::{Few, Files};
use crate::model::missing::{Missing, missing};

/// Rows that are kept ready; what is further down is reached by a filter.
const ROWS: usize = 2_000;

/// A path and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// The path.
    pub path: Box<[u8]>,
    /// How often it was opened or tried.
    pub opens: u64,
    /// How often that failed.
    pub failed: u64,
    /// By whom.
    pub who: Few,
    /// When last, boot clock, ns.
    pub last_ns: u64,
    /// Its place in the tree, while there is one.
    pub node: Option<Node>,
}

impl FileRow {
    /// Whether it stands for a directory with all that is in it.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.node.is_some_and(|node| node.dir)
    }

    /// What it is known by while other rows come and go.
    fn identity(&self) -> (&[u8], bool) {
        let known = self.node.map_or(self.path.len(), |node| node.known);
        (self.path.get(..known).unwrap_or(&self.path), self.is_dir())
    }
}

/// What files are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSort {
    /// Opens.
    Opens,
    /// Failures.
    Failed,
    /// Time of the last open.
    Last,
    /// Path.
    Path,
}

impl FileSort {
    /// All, in the order of the columns.
    pub const ALL: [Self; 4] = [Self::Opens, Self::Failed, Self::Last, Self::Path];
}

/// What failures are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureSort {
    /// How often.
    Count,
    /// The name of the errno.
    Error,
    /// Places that were tried.
    Places,
    /// The name that was looked for.
    Name,
    /// Whether it was found in the end: what was found nowhere comes first.
    Found,
}

impl FailureSort {
    /// All, in the order of the columns.
    pub const ALL: [Self; 5] = [Self::Count, Self::Error, Self::Places, Self::Name, Self::Found];

    /// Whether the greatest come first.
    #[must_use]
    pub fn descends(self) -> bool {
        matches!(self, Self::Count | Self::Places)
    }

    fn compare(self, a: &Missing, b: &Missing) -> Ordering {
        let by = match self {
            Self::Count => b.count.cmp(&a.count),
            Self::Error => crate::errno::name(a.errno).cmp(&crate::errno::name(b.errno)).then(a.errno.cmp(&b.errno)),
            Self::Places => b.tried.cmp(&a.tried),
            Self::Name => a.name.cmp(&b.name),
            Self::Found => a.found.is_some().cmp(&b.found.is_some()),
        };
        by.then(b.count.cmp(&a.count))
    }
}

/// A list, and the place in it.
#[derive(Clone, Debug)]
pub struct TableList<T> {
    /// The rows, as far as they are kept ready.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub total: usize,
    /// The selected row.
    pub cursor: usize,
    /// Rows above the first visible one.
    pub offset: usize,
    /// Whether the selection was moved: then it stays with what was selected.
    pub held: bool,
}

impl<T> Default for TableList<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), total: 0, cursor: 0, offset: 0, held: false }
    }
}

impl<T> TableList<T> {
    /// Takes new rows; what was selected stays so if it is still there.
    fn set(&mut self, rows: Vec<T>, total: usize, same: impl Fn(&T, &T) -> bool) {
        let old = self.rows.get(self.cursor).filter(|_| self.held);
        if let Some(at) = old.and_then(|old| rows.iter().position(|row| same(row, old))) {
            self.cursor = at;
        }
        (self.rows, self.total) = (rows, total);
    }

    /// Moves the selection.
    pub(super) fn step(&mut self, by: isize) {
        self.cursor = self.cursor.saturating_add_signed(by).min(self.rows.len().saturating_sub(1));
        self.held = self.cursor > 0;
    }

    /// Makes the place fit the rows and the height.
    pub(super) fn settle(&mut self, height: usize) {
        self.cursor = self.cursor.min(self.rows.len().saturating_sub(1));
        self.offset = super::settle::visible(self.offset, self.cursor, height, self.rows.len());
    }
}

/// Brings the list of the view up to date.
pub(super) fn refresh(app: &mut App) {
    if !matches!(app.tab, Tab::Files | Tab::Failures) {
        return;
    }
    // The tables count everything; what passes a filter is counted beside them.
    let model = app.model();
    let narrowed = model.narrowed.as_deref();
    let (files, failures) = narrowed.map_or((&model.files, &model.failures), |n| (&n.files, &n.failures));
    if app.tab == Tab::Files {
        let (rows, total) = match &app.file_tree {
            Some(open) => {
                let mut rows = dirs::rows(files.table(), open, app.file_sort, app.file_sort_reversed);
                let total = rows.len();
                rows.truncate(10 * ROWS);
                (rows, total)
            }
            None => file_rows(files, app.file_sort, app.file_sort_reversed),
        };
        app.files.set(rows, total, |a, b| a.identity() == b.identity());
    } else {
        let (sort, reversed) = app.failure_sort;
        let (rows, total) = missing(failures, files, ROWS, |a, b| {
            let by = sort.compare(a, b);
            if reversed { by.reverse() } else { by }
        });
        app.failures.set(rows, total, |a, b| a.name == b.name && a.errno == b.errno);
    }
}

fn file_rows(files: &Files, sort: FileSort, reversed: bool) -> (Vec<FileRow>, usize) {
    let table = files.table();
    let row = |(path, counted): (&[u8], &crate::model::frequent::Counted<crate::model::files::File>)| FileRow {
        path: path.into(),
        opens: counted.count,
        failed: counted.with.failed,
        who: counted.with.who,
        last_ns: counted.with.last_ns,
        node: None,
    };
    let mut rows: Vec<FileRow> = if sort == FileSort::Path || reversed {
        table.iter().map(row).collect()
    } else {
        let rank = |_: &[u8], c: &crate::model::frequent::Counted<crate::model::files::File>| {
            Some(match sort {
                FileSort::Opens | FileSort::Path => (c.count, 0),
                FileSort::Failed => (c.with.failed, c.count),
                FileSort::Last => (c.with.last_ns, 0),
            })
        };
        table.top_by(ROWS, rank).into_iter().map(row).collect()
    };
    rows.sort_unstable_by(|a, b| compare(sort, reversed, a, b));
    rows.truncate(ROWS);
    (rows, table.len())
}

/// Which of two rows comes first.
pub(super) fn compare(sort: FileSort, reversed: bool, a: &FileRow, b: &FileRow) -> Ordering {
    let by = match sort {
        FileSort::Opens => b.opens.cmp(&a.opens),
        FileSort::Failed => b.failed.cmp(&a.failed).then(b.opens.cmp(&a.opens)),
        FileSort::Last => b.last_ns.cmp(&a.last_ns),
        FileSort::Path => a.path.cmp(&b.path),
    };
    let by = if reversed { by.reverse() } else { by };
    by.then_with(|| a.path.cmp(&b.path))
}
