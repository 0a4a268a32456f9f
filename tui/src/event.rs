//! Bytes → an open. Total: whatever the bytes, decoding answers with an event or an error, never with a panic.
//!
//! An [`Event`] borrows from the record it was decoded from, so reading the ring, keeping history and replaying
//! a recording all work on the same bytes without an allocation per event. Nothing here touches aya.

mod builder;

use std::fmt;

use probe_common::{HISTOGRAM_BUCKETS, RECORD_VERSION, RecordHeader, marks, route};

pub use builder::RecordBuilder;

/// Size of the fixed part of a record, bytes.
pub const HEADER_LEN: usize = size_of::<RecordHeader>();

/// The way by which an open reached the kernel: the `via` of every output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// A system call; the hook cannot tell which.
    Syscall,
    /// open(2).
    Open,
    /// openat(2).
    Openat,
    /// openat2(2).
    Openat2,
    /// creat(2).
    Creat,
    /// io_uring's `IORING_OP_OPENAT` and `IORING_OP_OPENAT2`.
    IoUring,
    /// execve(2): the program and its interpreter.
    Exec,
    /// open_by_handle_at(2).
    Handle,
}

impl Route {
    /// Every route, in the order in which they are listed to people.
    pub const ALL: [Self; 8] =
        [Self::Open, Self::Openat, Self::Openat2, Self::Creat, Self::IoUring, Self::Exec, Self::Handle, Self::Syscall];

    /// The word for it in JSON, CSV, the filter language and on the screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Open => "open",
            Self::Openat => "openat",
            Self::Openat2 => "openat2",
            Self::Creat => "creat",
            Self::IoUring => "io_uring",
            Self::Exec => "exec",
            Self::Handle => "handle",
        }
    }

    /// From [`RecordHeader::route`].
    #[must_use]
    pub fn from_abi(value: u8) -> Option<Self> {
        Some(match value {
            route::SYSCALL => Self::Syscall,
            route::OPEN => Self::Open,
            route::OPENAT => Self::Openat,
            route::OPENAT2 => Self::Openat2,
            route::CREAT => Self::Creat,
            route::IO_URING => Self::IoUring,
            route::EXEC => Self::Exec,
            route::HANDLE => Self::Handle,
            _ => return None,
        })
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than the header, or than the lengths in it say.
    Short {
        /// Bytes that a whole record would have.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// A record version this build does not know.
    Version(u8),
    /// A route this build does not know.
    Route(u8),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { need, have } => write!(f, "record of {have} bytes where {need} are needed"),
            Self::Version(v) => write!(f, "record version {v}, this build knows {RECORD_VERSION}"),
            Self::Route(r) => write!(f, "unknown route {r}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// One open, borrowed from its record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    header: RecordHeader,
    name: &'a [u8],
    dir: &'a [u8],
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = Vec::new();
        self.path_into(&mut path);
        f.debug_struct("Event")
            .field("tgid", &self.header.tgid)
            .field("comm", &crate::escape::escaped(self.comm()))
            .field("via", &self.route().name())
            .field("ret", &self.header.ret)
            .field("path", &crate::escape::escaped(&path))
            .finish_non_exhaustive()
    }
}

impl<'a> Event<'a> {
    /// Decodes one record. Bytes behind its end are not looked at.
    ///
    /// ```
    /// use opentop::{event::{Event, RecordBuilder}, filter::Filter};
    ///
    /// let record = RecordBuilder::new(42, "nginx", "/etc/nginx.conf").errno(2).build();
    /// let event = Event::decode(&record).unwrap();
    /// assert!(Filter::parse("comm:nginx err:ENOENT").unwrap().matches(&event));
    /// ```
    ///
    /// # Errors
    /// When the bytes are no record of a version this build knows.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let short = |need| DecodeError::Short { need, have: bytes.len() };
        let head = bytes.get(..HEADER_LEN).ok_or(short(HEADER_LEN))?;
        // Records in the ring are aligned to 8, those in a recording to nothing.
        let header: RecordHeader = bytemuck::try_pod_read_unaligned(head).map_err(|_| short(HEADER_LEN))?;
        if header.version != RECORD_VERSION {
            return Err(DecodeError::Version(header.version));
        }
        if Route::from_abi(header.route).is_none() {
            return Err(DecodeError::Route(header.route));
        }
        let name_end = HEADER_LEN + usize::from(header.name_len);
        let dir_end = name_end + usize::from(header.dir_len);
        let name = bytes.get(HEADER_LEN..name_end).ok_or(short(dir_end))?;
        let dir = bytes.get(name_end..dir_end).ok_or(short(dir_end))?;
        Ok(Self { header, name, dir })
    }

    /// The fixed part, as it came.
    #[must_use]
    pub fn header(&self) -> &RecordHeader {
        &self.header
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn len(&self) -> usize {
        HEADER_LEN + self.name.len() + self.dir.len()
    }

    /// Never: a record has a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// When the open began, boot clock, ns.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.header.start_ns
    }

    /// How long it took, ns; `None` where its entry was not seen.
    #[must_use]
    pub fn duration_ns(&self) -> Option<u64> {
        (!self.has(marks::NO_ENTRY)).then_some(self.header.duration_ns)
    }

    /// The process and when it started: the identity that survives a reused pid.
    #[must_use]
    pub fn process(&self) -> probe_common::ProcessKey {
        probe_common::ProcessKey { start_ns: self.header.process_start_ns, tgid: self.header.tgid, reserved: 0 }
    }

    /// The way by which it came.
    #[must_use]
    pub fn route(&self) -> Route {
        // `decode` refused every other value.
        Route::from_abi(self.header.route).unwrap_or(Route::Syscall)
    }

    /// Whether all bits of `mark` (see [`marks`]) are set.
    #[must_use]
    pub fn has(&self, mark: u16) -> bool {
        self.header.marks & mark == mark
    }

    /// Name of the thread, without its padding.
    #[must_use]
    pub fn comm(&self) -> &[u8] {
        let end = self.header.comm.iter().position(|b| *b == 0).unwrap_or(self.header.comm.len());
        self.header.comm.get(..end).unwrap_or_default()
    }

    /// The name as the process passed it. Empty where it was empty or unreadable (see the marks).
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// The directory a relative name starts from, as the record has it: leaf first, each component followed by a `/`.
    #[must_use]
    pub fn dir(&self) -> &'a [u8] {
        self.dir
    }

    /// Whether the open failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.header.ret < 0
    }

    /// errno of a failure.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.failed().then(|| self.header.ret.saturating_neg())
    }

    /// Descriptor of a success; `None` for a failure, for exec, and where it could not be learnt.
    #[must_use]
    pub fn fd(&self) -> Option<i32> {
        (!self.failed() && !self.has(marks::NO_FD) && !self.has(marks::RESULT_UNKNOWN)).then_some(self.header.ret)
    }

    /// Whether [`Event::path_into`] gives an absolute path: false for a relative name whose directory is not
    /// known, and for a name that could not be read.
    #[must_use]
    pub fn path_is_absolute(&self) -> bool {
        !self.has(marks::NAME_UNREADABLE) && (self.name.first() == Some(&b'/') || self.has(marks::HAS_DIR))
    }

    /// Appends the path as the process sees it: the name if it is absolute, else its directory and the name.
    ///
    /// Leading `./` and `../` of the name are folded into the directory, which has no symbolic links and so
    /// makes that exact; a `..` further in is left alone, as it may follow a link. An empty name gives the directory. A deleted directory is
    /// followed by ` (deleted)`, as `/proc/PID/cwd` has it. Where the directory is not known the name stands alone.
    pub fn path_into(&self, out: &mut Vec<u8>) {
        if self.name.first() == Some(&b'/') || !self.has(marks::HAS_DIR) {
            out.extend_from_slice(self.name);
            return;
        }
        let (up, rest) = fold_leading_dots(self.name);
        let start = out.len();
        // A directory whose upper end is missing must not read as if it hung off the root.
        if self.has(marks::DIR_TRUNCATED) {
            out.extend_from_slice(b"...");
        } else if self.has(marks::DIR_UNREACHABLE) {
            out.extend_from_slice(b"(unreachable)");
        }
        for component in components(self.dir).skip(up).collect::<Components<'_>>().iter_rev() {
            out.push(b'/');
            out.extend_from_slice(component);
        }
        if self.has(marks::DIR_DELETED) && up == 0 {
            out.extend_from_slice(b" (deleted)");
        }
        if !rest.is_empty() || out.len() == start {
            out.push(b'/');
            out.extend_from_slice(rest);
        }
    }
}

/// The components of a walked directory, kept to be read from the root down. Small walks stay on the stack.
struct Components<'a> {
    few: [&'a [u8]; 16],
    many: Vec<&'a [u8]>,
    len: usize,
}

impl<'a> FromIterator<&'a [u8]> for Components<'a> {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(iter: I) -> Self {
        let mut all = Self { few: [&[]; 16], many: Vec::new(), len: 0 };
        for component in iter {
            match all.few.get_mut(all.len) {
                Some(slot) => *slot = component,
                None => all.many.push(component),
            }
            all.len += 1;
        }
        all
    }
}

impl<'a> Components<'a> {
    fn iter_rev(&self) -> impl Iterator<Item = &'a [u8]> {
        let few = self.few.get(..self.len.min(self.few.len())).unwrap_or_default();
        self.many.iter().rev().chain(few.iter().rev()).copied()
    }
}

/// Splits a walked directory into its components, leaf first.
fn components(dir: &[u8]) -> impl Iterator<Item = &[u8]> {
    dir.split(|b| *b == b'/').filter(|c| !c.is_empty())
}

/// Takes leading `.` and `..` components off a relative name: how many to go up, and what is left.
fn fold_leading_dots(name: &[u8]) -> (usize, &[u8]) {
    let (mut up, mut rest) = (0, name);
    loop {
        let (component, after) = match rest.iter().position(|b| *b == b'/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, &b""[..]),
        };
        match component {
            b"." | b"" if !rest.is_empty() => {}
            b".." => up += 1,
            _ => return (up, rest),
        }
        rest = after.strip_prefix(b"/").unwrap_or(after);
    }
}

/// The bucket of a duration in ns, see [`HISTOGRAM_BUCKETS`].
#[must_use]
pub fn bucket(duration_ns: u64) -> usize {
    (duration_ns.max(1).ilog2() as usize).min(HISTOGRAM_BUCKETS - 1)
}

#[cfg(test)]
mod tests;
