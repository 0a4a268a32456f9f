//! Which processes are in the trees that a capture asks for: a process and its descendants, those to come too.
//!
//! A tree is a bit in the values of the `SCOPE` map. A fork copies its parent's bits in the kernel; who is there already
//! when a tree is made is found in /proc.

use aya::maps::{HashMap as BpfHashMap, MapData, MapError};
use rustc_hash::{FxHashMap, FxHashSet};

use super::map_error;
use crate::error::{Error, Kind};

/// Looks through /proc for the members of a new tree. One finds them; the next those that were forked meanwhile by a process
/// which was not marked yet. More than this only a storm of forks needs, and then no number is enough.
const PASSES: usize = 16;

/// The process trees of the captures.
pub(super) struct Trees {
    map: BpfHashMap<MapData, u32, u64>,
    /// Processes with their bits.
    assigned: Vec<(u32, u64)>,
    /// Bits that processes may still have although nobody asks for them.
    stale: u64,
}

/// The bit of a process among those of [`Trees::assign`].
pub(super) fn bit(trees: &[(u32, u64)], pid: u32) -> u64 {
    trees.iter().find(|(of, _)| *of == pid).map_or(0, |(_, bit)| *bit)
}

impl Trees {
    /// The tree that everything is confined to: the command behind `--`.
    pub(super) const SCOPE: u64 = 1;

    pub(super) fn new(map: BpfHashMap<MapData, u32, u64>) -> Self {
        Self { map, assigned: Vec::new(), stale: 0 }
    }

    /// Puts these and their descendants into the tree that everything is confined to.
    pub(super) fn confine(&mut self, pids: &[u32]) -> Result<(), Error> {
        let members: Vec<_> = pids.iter().map(|pid| (*pid, Self::SCOPE)).collect();
        self.gather(&members)
    }

    /// Puts one into it that has no descendants yet.
    pub(super) fn follow(&mut self, pid: u32) -> Result<(), Error> {
        // It may be in another tree already.
        let trees = self.map.get(&pid, 0).unwrap_or(0) | Self::SCOPE;
        self.map.insert(pid, trees, 0).map_err(|e| map_error("the table of captured processes", &e))
    }

    /// Gives each of these a tree and finds its members; those of the capture in force stay. All the bits come back.
    pub(super) fn assign(&mut self, pids: &[u32]) -> Result<Vec<(u32, u64)>, Error> {
        let mut used = self.assigned.iter().fold(Self::SCOPE | self.stale, |used, (_, bit)| used | bit);
        let mut new = Vec::new();
        for pid in pids.iter().filter(|pid| bit(&self.assigned, **pid) == 0) {
            if used == u64::MAX {
                return Err(Error::new(
                    Kind::Usage,
                    "a capture follows at most 63 processes with their descendants; capture more broadly and filter what is shown with -f",
                ));
            }
            let free = 1 << used.trailing_ones();
            used |= free;
            new.push((*pid, free));
        }
        if let Err(error) = self.gather(&new) {
            // Some of its members may have been marked: the same process asked for again begins anew.
            self.forget(new.iter().fold(0, |bits, (_, bit)| bits | bit));
            return Err(error);
        }
        self.assigned.extend_from_slice(&new);
        Ok(self.assigned.clone())
    }

    /// One of these that has no tree yet and is no process: a tree of it would stay empty.
    pub(super) fn missing(&self, mut pids: impl Iterator<Item = u32>) -> Option<u32> {
        pids.find(|pid| bit(&self.assigned, *pid) == 0 && !exists(*pid))
    }

    /// Forgets the trees of all processes but these.
    pub(super) fn retain(&mut self, pids: &[u32]) {
        let gone = self.assigned.iter().filter(|(pid, _)| !pids.contains(pid)).fold(0, |gone, (_, bit)| gone | bit);
        self.assigned.retain(|(pid, _)| pids.contains(pid));
        self.forget(gone);
    }

    /// Takes these bits from everybody, and those that are still stale.
    fn forget(&mut self, bits: u64) {
        self.stale |= bits;
        // A fork may copy a bit from a parent whose turn has not come.
        for _ in 0..PASSES {
            match self.clear(self.stale) {
                Ok(0) => {
                    self.stale = 0;
                    return;
                }
                Ok(_) => {}
                // They stay stale: no other process gets them.
                Err(_) => return,
            }
        }
    }

    /// Takes bits from everybody; how many had them.
    fn clear(&mut self, bits: u64) -> Result<usize, MapError> {
        if bits == 0 {
            return Ok(0);
        }
        let all: Vec<u32> = self.map.keys().collect::<Result<_, _>>()?;
        let mut had = 0;
        for pid in all {
            let Ok(value) = self.map.get(&pid, 0) else { continue };
            if value & bits == 0 {
                continue;
            }
            had += 1;
            // Both fail when the process has exited meanwhile.
            let _ = match value & !bits {
                0 => self.map.remove(&pid),
                rest => self.map.insert(pid, rest, BPF_EXIST),
            };
        }
        Ok(had)
    }

    /// Marks these and their descendants.
    fn gather(&mut self, trees: &[(u32, u64)]) -> Result<(), Error> {
        if trees.is_empty() {
            return Ok(());
        }
        for _ in 0..PASSES {
            if self.pass(trees)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Looks through /proc once; how many were not marked yet.
    fn pass(&mut self, trees: &[(u32, u64)]) -> Result<usize, Error> {
        let full = |e| map_error("the table of captured processes", &e);
        let children = children();
        let mut added = 0;
        for (root, bit) in trees {
            let mut seen = FxHashSet::default();
            let mut todo = vec![(*root, 0)];
            while let Some((pid, parents)) = todo.pop() {
                if !seen.insert(pid) {
                    continue;
                }
                // One that is not there yet may be just forked: then it has its parent's.
                let had = self.map.get(&pid, 0).ok();
                let trees = had.unwrap_or(parents) | bit;
                if had != Some(trees) {
                    self.map.insert(pid, trees, 0).map_err(full)?;
                    if exists(pid) {
                        added += 1;
                    } else {
                        // It exited since the look, and nobody would take it out any more. Fails when the probe has.
                        let _ = self.map.remove(&pid);
                    }
                }
                todo.extend(children.get(&pid).into_iter().flatten().map(|child| (*child, trees)));
            }
        }
        Ok(added)
    }
}

/// `BPF_EXIST` of linux/bpf.h: only if it is there.
const BPF_EXIST: u64 = 2;

/// Whether there is such a process.
fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Every process's children, as /proc has them now.
fn children() -> FxHashMap<u32, Vec<u32>> {
    let mut children: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        // A process that is gone meanwhile has no children to follow.
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

/// ppid of a /proc/PID/stat: behind the last parenthesis, as the name before it may hold anything.
fn parent_of(stat: &[u8]) -> Option<u32> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_hide_the_parent() {
        assert_eq!(parent_of(b"42 (a) R 7 (b) S 17 42 42 0"), Some(17));
        assert_eq!(parent_of(b"42 (sh) S 1 42"), Some(1));
        assert_eq!(parent_of(b"garbage"), None);
    }

    #[test]
    fn this_process_exists_and_one_beyond_every_limit_does_not() {
        assert!(exists(std::process::id()));
        assert!(!exists(u32::MAX));
    }

    #[test]
    fn a_process_is_among_its_parents_children() {
        let parent = std::os::unix::process::parent_id();
        if parent != 0 {
            assert!(children().get(&parent).is_some_and(|all| all.contains(&std::process::id())));
        }
    }
}
