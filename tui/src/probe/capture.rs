//! The capture in the kernel: written as a whole into the slot that no run of the probe reads, then put in force by one
//! word.
//!
//! What the program says is [`crate::filter::lower`]'s; which processes are in its trees is [`super::scope`]'s.

use std::time::Duration;

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use probe_common::{Capture as Word, capture as flag, filter::Program};

use super::{
    broken, map_error,
    scope::{self, Trees},
    take_map,
};
use crate::{
    error::{Error, Kind},
    filter::{
        capture::{CaptureProgram, Check},
        lower::{Lowered, lower},
    },
};

const PROGRAM: usize = size_of::<Program>();

/// How long a run of the probe can be under way, where the kernel does not tell that none is any more.
const GRACE: Duration = Duration::from_millis(100);

/// The maps of the capture.
pub(super) struct CaptureMaps {
    word: Array<MapData, u64>,
    slots: Array<MapData, [u8; PROGRAM]>,
    trees: Trees,
    in_force: Word,
    /// Whether the processes' trees can be followed: that takes the kernel's BTF.
    can_follow: Option<String>,
    /// The trees that everything is confined to; 0 for none.
    scope: u64,
    /// The flags that say whose stacks are taken: no part of what is captured.
    stacks: u32,
}

impl CaptureMaps {
    /// Takes the maps over and captures nothing so far. `no_btf` is why trees cannot be followed.
    pub(super) fn take(ebpf: &mut Ebpf, no_btf: Option<String>) -> Result<Self, Error> {
        let mut maps = Self {
            word: take_map(ebpf, "CAPTURE")?.try_into().map_err(|_| broken("CAPTURE"))?,
            slots: take_map(ebpf, "FILTER")?.try_into().map_err(|_| broken("FILTER"))?,
            trees: Trees::new(take_map(ebpf, "SCOPE")?.try_into().map_err(|_| broken("SCOPE"))?),
            in_force: Word::default(),
            can_follow: no_btf,
            scope: 0,
            stacks: 0,
        };
        maps.put_in_force(Word::new(flag::OFF, 0))?;
        Ok(maps)
    }

    /// Confines everything to these processes and their descendants, from the next capture on.
    pub(super) fn confine(&mut self, pids: &[u32]) -> Result<(), Error> {
        self.scope = Trees::SCOPE;
        self.trees.confine(pids)
    }

    /// Adds one that has no descendants yet.
    pub(super) fn follow(&mut self, pid: u32) -> Result<(), Error> {
        self.trees.follow(pid)
    }

    /// Puts a capture in force. Until it is, the one before goes on; when it cannot be, it stays.
    pub(super) fn set(&mut self, program: &CaptureProgram) -> Result<(), Error> {
        let pids = trees_of(program);
        if !pids.is_empty() {
            self.may_follow()?;
        }
        if let Some(pid) = self.trees.missing(wanted_trees(program)) {
            return Err(Error::new(
                Kind::Usage,
                format!("pid:{pid}: there is no such process; `pgrep NAME` finds one"),
            ));
        }
        let trees = self.trees.assign(&pids)?;
        let Lowered { mut flags, program } = lower(program, self.scope, &|pid| scope::bit(&trees, pid));
        if self.in_force.flags() & !flag::OFF != 0 || self.in_force.generation() > 0 {
            // A run that began before the last change may still read this slot.
            wait_for_runs();
            flags |= flag::CHANGED;
        }
        let word = Word::new(flags | self.stacks, self.in_force.generation().wrapping_add(1));
        let mut bytes = [0; PROGRAM];
        bytes.copy_from_slice(bytemuck::bytes_of(&*program));
        self.slots.set(word.slot(), bytes, 0).map_err(|e| map_error("the capture's program", &e))?;
        self.put_in_force(word)?;
        self.trees.retain(&pids);
        Ok(())
    }

    /// The flags of stacks.
    pub(super) fn stacks(&self) -> u32 {
        self.stacks
    }

    /// Whose stacks are taken from now on: the flags of `capture` that say so. What is captured stays as it is.
    pub(super) fn set_stacks(&mut self, stacks: u32) -> Result<(), Error> {
        let word = Word::new(self.in_force.flags() & !self.stacks | stacks, self.in_force.generation());
        self.put_in_force(word)?;
        self.stacks = stacks;
        Ok(())
    }

    /// Captures nothing from now on. What is under way ends as it would have.
    pub(super) fn off(&mut self) {
        let word = Word::new(self.in_force.flags() | flag::OFF, self.in_force.generation());
        let _ = self.put_in_force(word);
    }

    fn put_in_force(&mut self, word: Word) -> Result<(), Error> {
        self.word.set(0, word.0, 0).map_err(|e| map_error("the capture", &e))?;
        self.in_force = word;
        Ok(())
    }

    /// Whether processes can be followed here at all.
    pub(super) fn may_follow(&self) -> Result<(), Error> {
        let Some(why) = &self.can_follow else { return Ok(()) };
        Err(Error::new(
            Kind::Unsupported,
            format!(
                "following a command or a process needs the kernel's type information, and there is none to use ({why}). \
                 Run a kernel built with CONFIG_DEBUG_INFO_BTF=y (every distribution's since 2021), or capture all processes and filter what is shown with -f."
            ),
        ))
    }
}

/// The processes whose trees a program asks for, each once.
fn trees_of(program: &CaptureProgram) -> Vec<u32> {
    let conditions = program.clauses.iter().flat_map(|clause| &clause.conditions);
    let mut pids: Vec<u32> = conditions
        .filter_map(|condition| match condition.check {
            Check::Tree(pid) => Some(pid),
            _ => None,
        })
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// The processes that a program wants opens of. One whose opens are not wanted need not be there.
fn wanted_trees(program: &CaptureProgram) -> impl Iterator<Item = u32> {
    program.clauses.iter().flat_map(|clause| &clause.conditions).filter_map(|condition| match condition.check {
        Check::Tree(pid) if !condition.negated => Some(pid),
        _ => None,
    })
}

/// Waits until every run of the probe that is under way has ended. They are within RCU's read side (`trace_call_bpf`,
/// `__bpf_prog_enter`), and this command waits for a grace period (`synchronize_rcu` in kernel/sched/membarrier.c).
fn wait_for_runs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: numbers only.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if done != 0 {
        // Not on kernels with nohz_full, and perhaps not in a sandbox.
        std::thread::sleep(GRACE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Filter, capture::compile};

    #[test]
    fn a_process_under_a_negation_need_not_be_there() {
        let program = compile(&Filter::parse("pid:7 !pid:8 | !(pid:9 | !pid:10)").unwrap()).unwrap();
        let mut wanted: Vec<_> = wanted_trees(&program).collect();
        wanted.sort_unstable();
        assert_eq!(wanted, [7, 10]);
        assert_eq!(trees_of(&program), [7, 8, 9, 10]);
    }
}
