//! Where one is in the lists of the first view, and a picture that stands still.

use probe_common::ProcessKey;
use rustc_hash::FxHashSet;

use crate::model::Model;
use crate::model::order::{Column, Sort};
use crate::model::tree::Branch;

/// The process table's place on the screen.
#[derive(Clone, Debug)]
pub struct ProcessList {
    /// Its order.
    pub sort: Sort,
    /// The selected process; `None` stands for whichever is first.
    pub selected: Option<ProcessKey>,
    /// Indices of the processes from the first on, as far as they are needed.
    pub rows: Vec<u32>,
    /// How many there are in all.
    pub total: usize,
    /// Rows above the first visible one.
    pub offset: usize,
    /// The selected row.
    pub cursor: usize,
    /// The most there ever were: the pane has grown to that.
    pub most: usize,
    /// The tree, while the table is one.
    pub tree: Option<Tree>,
    pub(super) stale: bool,
    pub(super) samples: u64,
}

impl Default for ProcessList {
    fn default() -> Self {
        Self {
            sort: Sort { column: Column::Rate, reversed: false },
            selected: None,
            rows: Vec::new(),
            total: 0,
            offset: 0,
            cursor: 0,
            most: 0,
            tree: None,
            stale: true,
            samples: 0,
        }
    }
}

/// The place in the list of opens.
#[derive(Clone, Debug, Default)]
pub struct OpenList {
    /// The selected open; `None` while following the newest.
    pub selected: Option<u64>,
    /// The row of the list that is the first visible one.
    pub offset: usize,
    /// The selected row.
    pub cursor: Option<usize>,
    /// The open in the first visible row while not following: it stays there.
    pub(super) top: u64,
}

/// The process table as a tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Processes whose descendants are folded away.
    pub folded: FxHashSet<ProcessKey>,
    /// What belongs to each of the rows.
    pub branches: Vec<Branch>,
}

/// A frozen picture.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// What was there.
    pub model: Box<Model>,
    /// When it froze, boot clock, ns.
    pub at_ns: u64,
}
