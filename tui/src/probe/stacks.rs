//! Stacks out of the kernel's maps: what records name is looked up, given an id that holds for the whole session, and
//! forgotten in the kernel before the maps are full.
//!
//! Users' stacks go into one of two sets of maps. When the one in use has taken in so many that new stacks would too often
//! find their place taken, the probe is told to use the other. Once no record can name the first any more, its counts are
//! read for the last time, and it is emptied.

use std::{
    collections::HashMap,
    io,
    mem::offset_of,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::Ebpf;
use probe_common::{ProcessKey, RecordHeader, StackKey, StackOpens, stack};
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::{boot_ns, map_fd, sys};
use crate::{
    error::Error,
    source::{Addresses, Batch, StackCount},
};

/// Stacks whose ids are kept, so that the same stack has the same id when it comes again. Beyond it ids are given anew.
const KNOWN_MAX: usize = 4 << 10;

/// How long a program may take from the stack to the ring, even if it is preempted.
const GRACE: Duration = Duration::from_millis(100);

/// Between two readings of the counts.
const COUNTS: Duration = Duration::from_secs(1);

/// How many entries the maps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Of each of the four maps for users' stacks; 1,040 bytes each.
    pub(super) user: u32,
    /// Of both maps for the kernel's.
    pub(super) kernel: u32,
    /// Of the counts by process and stacks.
    pub(super) counts: u32,
}

impl Sizes {
    /// For the stacks of all that is captured.
    pub(super) const ALL: Self = Self { user: 4096, kernel: 1024, counts: 8192 };
    /// For those of a process that a person may ask for.
    pub(super) const SOME: Self = Self { user: 1024, kernel: 512, counts: 2048 };
    /// For none.
    pub(super) const NONE: Self = Self { user: 1, kernel: 1, counts: 1 };
}

/// Ids by what the stack is.
type Known = HashMap<(ProcessKey, Box<[u64]>), u32, FxBuildHasher>;

/// Reads the stack maps of one probe.
pub(super) struct StackReader {
    /// By set and way.
    user: [[OwnedFd; 2]; 2],
    /// By way.
    kernel: [OwnedFd; 2],
    counts: OwnedFd,
    sizes: Sizes,
    /// Whether any stack was asked for so far.
    used: bool,
    /// The set that the probe uses, as it stands in the capture's flags.
    second: bool,
    /// Until when records may still come that name the other set, boot clock, ns.
    leaving: Option<u64>,
    /// Ids by set, place in the maps, and process.
    places: [FxHashMap<(u32, ProcessKey), u32>; 2],
    /// Different places by set: how full it is.
    filled: [FxHashMap<u32, ()>; 2],
    kernels: FxHashMap<u32, u32>,
    known: Known,
    last_id: u32,
    fresh: Vec<Addresses>,
    counted: FxHashMap<StackKey, StackOpens>,
    counted_at: u64,
    /// Stacks that a record named and the maps did not have any more.
    gone: u64,
}

impl StackReader {
    pub(super) fn new(ebpf: &mut Ebpf, sizes: Sizes) -> Result<Self, Error> {
        let mut fd = |name| map_fd(ebpf, name);
        Ok(Self {
            user: [[fd("STACKS")?, fd("STACKS_WAY")?], [fd("STACKS_SET")?, fd("STACKS_SET_WAY")?]],
            kernel: [fd("KSTACKS")?, fd("KSTACKS_WAY")?],
            counts: fd("STACK_COUNTS")?,
            sizes,
            used: false,
            second: false,
            leaving: None,
            places: Default::default(),
            filled: Default::default(),
            kernels: FxHashMap::default(),
            known: Known::default(),
            last_id: 0,
            fresh: Vec::new(),
            counted: FxHashMap::default(),
            counted_at: 0,
            gone: 0,
        })
    }

    /// From here on records may name stacks.
    pub(super) fn used(&mut self) {
        self.used = true;
    }

    /// Whether any stack can be had: the maps may have been made without room for them.
    pub(super) fn has_room(&self) -> bool {
        self.sizes != Sizes::NONE
    }

    /// Stacks that were named and gone.
    pub(super) fn gone(&self) -> u64 {
        self.gone
    }

    /// Stacks that became known since the last call.
    pub(super) fn take_fresh(&mut self) -> Vec<Addresses> {
        std::mem::take(&mut self.fresh)
    }

    /// Gives the stacks that records name their ids for the session. `all`: nothing was left in the ring.
    pub(super) fn identify(&mut self, batch: &mut Batch, all: bool) {
        if !self.used {
            return;
        }
        let mut returned = 0;
        batch.for_each_mut(|record| {
            let Some(head) = record.get(..size_of::<RecordHeader>()) else { return };
            let Ok(header) = bytemuck::try_pod_read_unaligned::<RecordHeader>(head) else { return };
            returned = header.start_ns.saturating_add(header.duration_ns);
            if header.user_stack == 0 && header.kernel_stack == 0 {
                return;
            }
            let process = ProcessKey { start_ns: header.process_start_ns, tgid: header.tgid, reserved: 0 };
            let (user, kernel) = (self.user(header.user_stack, process), self.kernel(header.kernel_stack, process));
            for (at, id) in
                [(offset_of!(RecordHeader, user_stack), user), (offset_of!(RecordHeader, kernel_stack), kernel)]
            {
                if let Some(slot) = record.get_mut(at..at + 4) {
                    slot.copy_from_slice(&id.to_ne_bytes());
                }
            }
        });
        if let Some(until) = self.leaving
            && (returned > until || all && boot_ns() > until)
        {
            self.leaving = Some(0);
        }
    }

    /// The id of a user's stack by its place in the maps.
    fn user(&mut self, place: u32, process: ProcessKey) -> u32 {
        let Some(raw) = place.checked_sub(1) else { return 0 };
        let set = usize::from(raw & stack::SET != 0);
        if let Some(id) = self.places.get(set).and_then(|ids| ids.get(&(raw, process))) {
            return *id;
        }
        let way = usize::from(raw & stack::WAY != 0);
        let map = self.user.get(set).and_then(|ways| ways.get(way));
        let Some(addresses) = map.and_then(|map| addresses(map, raw & stack::ID_MASK)) else {
            self.gone += 1;
            return 0;
        };
        let key = (process, addresses);
        let id = match self.known.get(&key) {
            Some(id) => *id,
            None => {
                if self.known.len() >= KNOWN_MAX {
                    self.known.clear();
                }
                let id = self.new_id(false, process, key.1.clone());
                self.known.insert(key, id);
                id
            }
        };
        if let (Some(ids), Some(filled)) = (self.places.get_mut(set), self.filled.get_mut(set)) {
            ids.insert((raw, process), id);
            filled.insert(raw, ());
        }
        id
    }

    /// The same of a kernel's stack, which stays where it is.
    fn kernel(&mut self, place: u32, process: ProcessKey) -> u32 {
        let Some(raw) = place.checked_sub(1) else { return 0 };
        if let Some(id) = self.kernels.get(&raw) {
            return *id;
        }
        let way = usize::from(raw & stack::WAY != 0);
        let Some(addresses) = self.kernel.get(way).and_then(|map| addresses(map, raw & stack::ID_MASK)) else {
            self.gone += 1;
            return 0;
        };
        let id = self.new_id(true, process, addresses);
        self.kernels.insert(raw, id);
        id
    }

    fn new_id(&mut self, kernel: bool, process: ProcessKey, addresses: Box<[u64]>) -> u32 {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        self.fresh.push(Addresses { id: self.last_id, kernel, process, addresses });
        self.last_id
    }

    /// Opens by stack since the last reading, once a second; `now` whatever the time.
    ///
    /// # Errors
    /// When the kernel refuses a reading.
    pub(super) fn counts(&mut self, now: bool) -> io::Result<Vec<StackCount>> {
        let at = boot_ns();
        if !self.used || !now && at.saturating_sub(self.counted_at) < ns(COUNTS) {
            return Ok(Vec::new());
        }
        self.counted_at = at;
        let mut out = Vec::new();
        for (key, opens) in self.rows()? {
            let last = self.counted.insert(key, opens).unwrap_or_default();
            let (more, failed) = (opens.opens.saturating_sub(last.opens), opens.failed.saturating_sub(last.failed));
            if more > 0 {
                let process = ProcessKey { start_ns: key.start_ns, tgid: key.tgid, reserved: 0 };
                let (user, kernel) = (self.user(key.user, process), self.kernel(key.kernel, process));
                out.push(StackCount { process, user, kernel, opens: more, failed });
            }
        }
        Ok(out)
    }

    fn rows(&self) -> io::Result<Vec<(StackKey, StackOpens)>> {
        let mut rows = Vec::new();
        let mut next = sys::next_key::<StackKey>(self.counts.as_fd(), None)?;
        while let Some(key) = next {
            next = sys::next_key(self.counts.as_fd(), Some(&key))?;
            if let Some(opens) = sys::lookup(self.counts.as_fd(), &key)? {
                rows.push((key, opens));
            }
        }
        Ok(rows)
    }

    /// Which set the probe should use, if it is to be another one.
    pub(super) fn turn(&mut self) -> Option<bool> {
        let filled = self.filled.get(usize::from(self.second)).map_or(0, FxHashMap::len);
        // Processes may share a place without an end, by forks: these are kept here only.
        let places = self.places.get(usize::from(self.second)).map_or(0, FxHashMap::len);
        let full = filled > self.sizes.user as usize / 4
            || places > 8 * self.sizes.user as usize
            || self.counted.len() > self.sizes.counts as usize / 2;
        (full && self.leaving.is_none() && self.has_room()).then_some(!self.second)
    }

    /// The probe uses this set from now on.
    pub(super) fn turned(&mut self, second: bool) {
        self.second = second;
        self.leaving = Some(boot_ns() + ns(GRACE));
    }

    /// Empties the set that the probe has left, if no record can name it any more. What was counted in it is in the
    /// answer.
    ///
    /// # Errors
    /// When the kernel refuses a reading.
    pub(super) fn empty(&mut self) -> io::Result<Vec<StackCount>> {
        if self.leaving != Some(0) {
            return Ok(Vec::new());
        }
        let counts = self.counts(true)?;
        self.leaving = None;
        let left = if self.second { 0 } else { stack::SET };
        let keys: Vec<StackKey> = self.counted.keys().filter(|key| key.set == left).copied().collect();
        for key in keys {
            sys::delete(self.counts.as_fd(), &key)?;
            self.counted.remove(&key);
        }
        let set = usize::from(!self.second);
        for map in self.user.get(set).into_iter().flatten() {
            let mut next = sys::next_key::<u32>(map.as_fd(), None)?;
            while let Some(id) = next {
                next = sys::next_key(map.as_fd(), Some(&id))?;
                sys::delete(map.as_fd(), &id)?;
            }
        }
        if let (Some(places), Some(filled)) = (self.places.get_mut(set), self.filled.get_mut(set)) {
            places.clear();
            filled.clear();
        }
        Ok(counts)
    }
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A stack by its id; `None` when it is not there, or is empty.
fn addresses(map: &OwnedFd, id: u32) -> Option<Box<[u64]>> {
    let mut value = [0u64; stack::DEPTH];
    if !sys::lookup_into(map.as_fd(), &id, &mut value).unwrap_or(false) {
        return None;
    }
    let len = value.iter().position(|address| *address == 0).unwrap_or(value.len());
    value.get(..len).filter(|stack| !stack.is_empty()).map(Box::from)
}
