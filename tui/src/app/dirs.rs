//! The files as a tree of directories, each with what everything in it adds up to. Only what is unfolded is built.

use rustc_hash::{FxHashMap, FxHashSet};

use super::tables::{FileRow, FileSort, compare};
use crate::model::files::File;
use crate::model::frequent::{Counted, Frequent};

/// Levels whose lines can be told from each other.
const LEVELS: u16 = 64;

/// The place of a row in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Rows above it on the way to the root.
    pub depth: u16,
    /// For each level the bit is set when more is to come below on it.
    pub lines: u64,
    /// Whether it is a directory.
    pub dir: bool,
    /// Whether what is in it is shown.
    pub open: bool,
    /// Paths in it that were opened.
    pub files: usize,
    /// Where in the path its own name begins.
    pub name: usize,
    /// As much of the path as it is known by: of a folded directory that has all in one subdirectory the path is that
    /// of the subdirectory, for as long as this is so.
    pub known: usize,
}

struct Entry {
    row: FileRow,
    node: Node,
    children: Vec<usize>,
}

impl Entry {
    fn new(path: &[u8], name: usize, dir: bool, open: bool) -> Self {
        let node = Node { depth: 0, lines: 0, dir, open, files: 0, name, known: path.len() };
        let row =
            FileRow { path: path.into(), opens: 0, failed: 0, who: Default::default(), last_ns: 0, node: Some(node) };
        Self { row, node, children: Vec::new() }
    }

    fn add(&mut self, counted: &Counted<File>) {
        self.row.opens += counted.count;
        self.row.failed += counted.with.failed;
        self.row.last_ns = self.row.last_ns.max(counted.with.last_ns);
        self.row.who.merge(&counted.with.who);
        self.node.files += 1;
    }

    /// A folded directory's path goes as deep as all that is in it.
    fn narrow(&mut self, path: &[u8], first: bool) {
        let end = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let directory = path.get(..end).unwrap_or_default();
        if first {
            self.row.path = directory.into();
        } else if !directory.starts_with(&self.row.path) {
            let same = directory.iter().zip(&self.row.path).take_while(|(a, b)| a == b).count();
            let same = directory.get(..same).unwrap_or_default();
            let end = same.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
            self.row.path = directory.get(..end.max(self.node.known)).unwrap_or_default().into();
        }
    }
}

/// The rows in order, down to what is folded. `open`: the directories that are unfolded, each with its slash at the end.
pub(super) fn rows(
    table: &Frequent<File>,
    open: &FxHashSet<Box<[u8]>>,
    sort: FileSort,
    reversed: bool,
) -> Vec<FileRow> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut known: FxHashMap<&[u8], usize> = FxHashMap::default();
    let mut roots = Vec::new();
    for (path, counted) in table.iter() {
        let (mut parent, mut at) = (None, 0);
        for prefix in directories(path).chain([path]) {
            let dir = prefix.len() < path.len() || path.ends_with(b"/") && path.len() > 1;
            let shown = dir && open.contains(prefix);
            let entry = *known.entry(prefix).or_insert_with(|| {
                entries.push(Entry::new(prefix, at, dir, shown));
                entries.len() - 1
            });
            let fresh = entries.get(entry).is_some_and(|entry| entry.node.files == 0);
            if fresh {
                match parent.and_then(|parent: usize| entries.get_mut(parent)) {
                    Some(parent) => parent.children.push(entry),
                    None => roots.push(entry),
                }
            }
            if let Some(entry) = entries.get_mut(entry) {
                entry.add(counted);
                if dir && !shown {
                    entry.narrow(path, fresh);
                }
            }
            if !shown {
                break;
            }
            (parent, at) = (Some(entry), prefix.len());
        }
    }
    assemble(&entries, roots, sort, reversed)
}

/// The directories of a path from the top: `/a/`, `/a/b/`. The root is none: everything is in it.
pub(super) fn directories(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/').map(|(at, _)| at + 1);
    ends.filter(|end| *end < path.len()).filter_map(|end| path.get(..end))
}

fn assemble(entries: &[Entry], mut roots: Vec<usize>, sort: FileSort, reversed: bool) -> Vec<FileRow> {
    let in_order = |family: &mut Vec<usize>| {
        // The last comes off the stack first.
        family.sort_unstable_by(|a, b| match (entries.get(*a), entries.get(*b)) {
            (Some(a), Some(b)) => compare(sort, reversed, &a.row, &b.row).reverse(),
            _ => std::cmp::Ordering::Equal,
        });
    };
    in_order(&mut roots);
    let mut rows = Vec::new();
    let mut stack: Vec<(usize, u16, u64, Option<usize>)> = roots.into_iter().map(|at| (at, 0, 0, None)).collect();
    while let Some((at, depth, lines, name)) = stack.pop() {
        let Some(entry) = entries.get(at) else { continue };
        let name = name.unwrap_or(entry.node.name);
        // A directory that only leads on to another one shares its row.
        if let [only] = entry.children.as_slice()
            && entries.get(*only).is_some_and(|child| child.node.dir && child.node.files == entry.node.files)
        {
            stack.push((*only, depth, lines, Some(name)));
            continue;
        }
        let mut row = entry.row.clone();
        row.node = Some(Node { depth, lines, name, ..entry.node });
        rows.push(row);
        let bit = 1 << depth.min(LEVELS - 1);
        let mut children = entry.children.clone();
        in_order(&mut children);
        // The first of them on the stack is the last on the screen.
        stack.extend(children.into_iter().enumerate().map(|(n, child)| {
            let lines = if n == 0 { lines & !bit } else { lines | bit };
            (child, depth + 1, lines, None)
        }));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, RecordBuilder};
    use crate::model::files::Files;
    use proptest::prelude::*;

    fn files(paths: &[&str]) -> Files {
        let mut files = Files::default();
        for path in paths {
            let record = RecordBuilder::new(7, "sh", *path).build();
            files.event(path.as_bytes(), &Event::decode(&record).unwrap());
        }
        files
    }

    fn shown(files: &Files, open: &[&str]) -> Vec<String> {
        let open = open.iter().map(|dir| dir.as_bytes().into()).collect();
        rows(files.table(), &open, FileSort::Path, false)
            .iter()
            .map(|row| {
                let node = row.node.unwrap();
                let name = String::from_utf8_lossy(&row.path[node.name..]).into_owned();
                format!("{}{name} {}", "  ".repeat(node.depth.into()), row.opens)
            })
            .collect()
    }

    const PATHS: [&str; 6] = ["/etc/a", "/etc/b", "/etc/b", "/usr/lib/x/one", "/usr/lib/x/two", "plain"];

    #[test]
    fn a_folded_directory_has_the_sum_and_goes_as_deep_as_all_that_is_in_it() {
        let files = files(&PATHS);
        assert_eq!(shown(&files, &[]), ["/etc/ 3", "/usr/lib/x/ 2", "plain 1"]);
        assert_eq!(
            shown(&files, &["/etc/", "/usr/", "/usr/lib/", "/usr/lib/x/"]),
            ["/etc/ 3", "  a 1", "  b 2", "/usr/lib/x/ 2", "  one 1", "  two 1", "plain 1"]
        );
    }

    #[test]
    fn an_unfolded_directory_stays_so_when_others_come_beside_it() {
        let mut paths = PATHS.to_vec();
        paths.push("/usr/bin/cc");
        assert_eq!(
            shown(&files(&paths), &["/usr/", "/usr/lib/", "/usr/lib/x/"]),
            ["/etc/ 3", "/usr/ 3", "  bin/ 1", "  lib/x/ 2", "    one 1", "    two 1", "plain 1"]
        );
    }

    proptest! {
        #[test]
        fn whatever_is_unfolded_the_top_rows_add_up_to_all(
            paths in proptest::collection::vec("[/ab]{0,8}", 0..40), open in proptest::collection::vec("/[ab/]{0,6}/", 0..10),
        ) {
            let all: Vec<&str> = paths.iter().map(String::as_str).collect();
            let files = files(&all);
            let open: FxHashSet<Box<[u8]>> = open.iter().map(|dir| dir.as_bytes().into()).collect();
            for sort in FileSort::ALL {
                let rows = rows(files.table(), &open, sort, false);
                let top: u64 = rows.iter().filter(|row| row.node.unwrap().depth == 0).map(|row| row.opens).sum();
                prop_assert_eq!(top, paths.len() as u64);
                for row in &rows {
                    let node = row.node.unwrap();
                    prop_assert!(node.name <= row.path.len() && node.known <= row.path.len());
                }
            }
        }
    }
}
