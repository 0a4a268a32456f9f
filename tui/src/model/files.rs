//! The most opened paths and the most frequent failures, in bounded memory.

use probe_common::COMM_LEN;

use super::frequent::Frequent;
use crate::event::Event;

/// Paths kept.
const FILES: usize = 32_768;

/// Failures kept, by errno and path.
const FAILURES: usize = 8_192;

/// Processes of one name, as the kernel had it at the open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The name, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// The first of them that came.
    pub pid: u32,
    /// Whether another one came.
    pub several: bool,
}

/// A few processes by their names, and whether there were more. They outlive the processes: short-lived ones come in
/// swarms of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Few {
    named: [Named; 4],
    len: u8,
    more: bool,
}

impl Few {
    fn add(&mut self, new: Named) {
        for known in self.named.iter_mut().take(usize::from(self.len)) {
            if known.comm == new.comm {
                known.several |= new.several || known.pid != new.pid;
                return;
            }
        }
        match self.named.get_mut(usize::from(self.len)) {
            Some(slot) => {
                *slot = new;
                self.len += 1;
            }
            None => self.more = true,
        }
    }

    /// Takes in those of another one.
    pub fn merge(&mut self, other: &Self) {
        other.named().iter().for_each(|named| self.add(*named));
        self.more |= other.more;
    }

    /// The first names that came.
    #[must_use]
    pub fn named(&self) -> &[Named] {
        self.named.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Whether there were more names than are kept.
    #[must_use]
    pub fn more(&self) -> bool {
        self.more
    }
}

/// Whose an open is.
fn whose(event: &Event<'_>) -> Named {
    Named { comm: event.header().comm, pid: event.header().tgid, several: false }
}

/// What is known of a path beside how often it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Opens that failed.
    pub failed: u64,
    /// When the last open began, boot clock, ns.
    pub last_ns: u64,
    /// Who opened it.
    pub who: Few,
}

/// The most opened paths.
#[derive(Clone, Debug)]
pub struct Files {
    table: Frequent<File>,
}

impl Default for Files {
    fn default() -> Self {
        Self { table: Frequent::new(FILES, 6 << 20) }
    }
}

impl Files {
    /// Takes in one open of `path`.
    pub fn event(&mut self, path: &[u8], event: &Event<'_>) {
        let failed = u64::from(event.failed());
        let (at, whose) = (event.start_ns(), whose(event));
        self.table.add(path, |file| {
            file.failed += failed;
            file.last_ns = file.last_ns.max(at);
            file.who.add(whose);
        });
    }

    /// The table itself.
    #[must_use]
    pub fn table(&self) -> &Frequent<File> {
        &self.table
    }
}

/// What is known of a failure beside how often it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// When the last one began, boot clock, ns.
    pub last_ns: u64,
    /// Whose opens failed.
    pub who: Few,
}

/// The most frequent failures, by errno and path.
#[derive(Clone, Debug)]
pub struct Failures {
    table: Frequent<Failure>,
}

impl Default for Failures {
    fn default() -> Self {
        Self { table: Frequent::new(FAILURES, 2 << 20) }
    }
}

impl Failures {
    /// Takes in one open of `path`, to which it may append.
    pub fn event(&mut self, path: &mut Vec<u8>, event: &Event<'_>) {
        let Some(errno) = event.errno() else { return };
        path.extend_from_slice(&errno.to_ne_bytes());
        let (at, whose) = (event.start_ns(), whose(event));
        self.table.add(path, |failure| {
            failure.last_ns = failure.last_ns.max(at);
            failure.who.add(whose);
        });
    }

    /// The table itself. Its keys: see [`Failures::split`].
    #[must_use]
    pub fn table(&self) -> &Frequent<Failure> {
        &self.table
    }

    /// Errno and path of a key.
    #[must_use]
    pub fn split(key: &[u8]) -> (i32, &[u8]) {
        match key.split_last_chunk::<4>() {
            Some((path, errno)) => (i32::from_ne_bytes(*errno), path),
            None => (0, key),
        }
    }
}
