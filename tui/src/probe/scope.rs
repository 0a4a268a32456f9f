//! Which processes the capture begins with.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Options, Scope};

/// `pids` and every descendant they have now. Those to come enter by themselves, at their fork.
pub(super) fn with_descendants(pids: &[u32]) -> FxHashSet<u32> {
    let mut children: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        // A process that is gone meanwhile has no children to follow.
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all: FxHashSet<u32> = FxHashSet::default();
    let mut todo = pids.to_vec();
    while let Some(pid) = todo.pop() {
        if all.insert(pid) {
            todo.extend(children.get(&pid).into_iter().flatten());
        }
    }
    all
}

/// ppid of a /proc/PID/stat: behind the last parenthesis, as the name before it may hold anything.
fn parent_of(stat: &[u8]) -> Option<u32> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// The capture in words.
pub(super) fn describe(options: &Options) -> String {
    let mut parts = Vec::new();
    match &options.scope {
        Scope::All => {}
        Scope::Pids(pids) if pids.is_empty() => parts.push("command".to_owned()),
        Scope::Pids(pids) => {
            let list: Vec<String> = pids.iter().map(u32::to_string).collect();
            parts.push(format!("pid:{}", list.join(",")));
        }
    }
    if let Some(uid) = options.uid {
        parts.push(format!("uid:{uid}"));
    }
    if options.failed {
        parts.push("failed".to_owned());
    }
    if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }
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
    fn a_process_is_among_its_parents_descendants() {
        let me = std::process::id();
        let parent = std::os::unix::process::parent_id();
        if parent != 0 {
            assert!(with_descendants(&[parent]).contains(&me));
        }
        assert!(with_descendants(&[]).is_empty());
    }
}
