//! Who the processes are, beyond what the kernel counts: command lines, programs, users, parents, as they became known.
//!
//! Bounded in bytes. Parents that open nothing themselves are known by their number only.

use std::collections::VecDeque;

use probe_common::ProcessKey;
use rustc_hash::FxHashMap;

use crate::source::ProcessFacts;

/// Most bytes kept of processes, and as many again of parents: some thirty thousand of each.
const BYTES: usize = 8 << 20;

/// What a process costs beside its strings.
const EACH: usize = 160;

/// Facts on processes.
#[derive(Clone, Debug, Default)]
pub struct Who {
    by_key: FxHashMap<ProcessKey, ProcessFacts>,
    /// The keys, the oldest first.
    order: VecDeque<ProcessKey>,
    bytes: usize,
    parents: FxHashMap<u32, ProcessFacts>,
    parent_bytes: usize,
}

fn weight(facts: &ProcessFacts) -> usize {
    EACH + facts.user.len() + facts.exe.len() + facts.command_line.len()
}

impl Who {
    /// Takes in what became known of a process. Of facts about nobody (a user's name alone) nothing is kept.
    pub fn facts(&mut self, facts: &ProcessFacts) {
        match (facts.tgid, facts.start_ns) {
            (0, _) => {}
            (pid, 0) => {
                if self.parent_bytes + weight(facts) > BYTES {
                    (self.parents, self.parent_bytes) = (FxHashMap::default(), 0);
                }
                self.parent_bytes += weight(facts);
                if let Some(old) = self.parents.insert(pid, facts.clone()) {
                    self.parent_bytes -= weight(&old);
                }
            }
            _ => {
                self.bytes += weight(facts);
                match self.by_key.insert(facts.key(), facts.clone()) {
                    Some(old) => self.bytes -= weight(&old),
                    None => self.order.push_back(facts.key()),
                }
                while self.bytes > BYTES {
                    let Some(oldest) = self.order.pop_front() else { break };
                    self.bytes -= self.by_key.remove(&oldest).as_ref().map_or(0, weight);
                }
            }
        }
    }

    /// What is known of a process.
    #[must_use]
    pub fn of(&self, key: &ProcessKey) -> Option<&ProcessFacts> {
        // Where the kernel could not tell when it started, the number is all there is.
        self.by_key.get(key).or_else(|| self.parents.get(&key.tgid).filter(|_| key.start_ns == 0))
    }

    /// What is known of a parent that is in no table.
    #[must_use]
    pub fn parent(&self, pid: u32) -> Option<&ProcessFacts> {
        self.parents.get(&pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(tgid: u32, start_ns: u64, bytes: usize) -> ProcessFacts {
        ProcessFacts { tgid, start_ns, command_line: vec![b'x'; bytes], ..ProcessFacts::default() }
    }

    #[test]
    fn the_latest_of_a_process_counts_and_a_parent_is_found_by_its_number() {
        let mut who = Who::default();
        who.facts(&facts(7, 3, 1));
        who.facts(&facts(7, 3, 2));
        who.facts(&facts(1, 0, 3));
        who.facts(&ProcessFacts { uid: 5, user: b"maria".to_vec(), ..ProcessFacts::default() });
        assert_eq!(who.of(&facts(7, 3, 0).key()).map(|f| f.command_line.len()), Some(2));
        assert_eq!(who.of(&facts(7, 4, 0).key()), None);
        assert_eq!(who.parent(1).map(|f| f.command_line.len()), Some(3));
        assert_eq!(who.parent(0), None);
    }

    #[test]
    fn it_is_bounded_and_the_oldest_go() {
        let mut who = Who::default();
        for n in 1..=3000 {
            who.facts(&facts(n, 1, 4096));
            who.facts(&facts(n, 0, 4096));
        }
        assert!(who.bytes <= BYTES && who.parent_bytes <= BYTES);
        assert!(who.by_key.len() > 1000 && who.order.len() == who.by_key.len());
        assert!(who.of(&facts(1, 1, 0).key()).is_none());
        assert!(who.of(&facts(3000, 1, 0).key()).is_some() && who.parent(3000).is_some());
    }
}
