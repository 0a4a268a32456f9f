//! Records made up: for tests of everything that reads them, and for sources in benches.

use probe_common::{RECORD_VERSION, RecordHeader, marks, route};

/// Builds records: for the tests of everything that reads them, and for made-up sources in benches.
#[derive(Clone, Debug)]
pub struct RecordBuilder {
    /// The fixed part; the lengths are filled in by [`RecordBuilder::build`].
    pub header: RecordHeader,
    /// The name as passed.
    pub name: Vec<u8>,
    /// The directory as a path (`/home/u`), turned into the order of the walk; `None` for an unknown one.
    pub dir: Option<Vec<u8>>,
}

impl RecordBuilder {
    /// A successful openat of `name` by process `tgid` called `comm`, at 1 s of the boot clock, taking 1 µs.
    #[must_use]
    pub fn new(tgid: u32, comm: &str, name: impl AsRef<[u8]>) -> Self {
        let mut header: RecordHeader = bytemuck::Zeroable::zeroed();
        header.version = RECORD_VERSION;
        header.route = route::OPENAT;
        header.start_ns = 1_000_000_000;
        header.duration_ns = 1_000;
        header.process_start_ns = 1;
        (header.tgid, header.tid, header.ppid) = (tgid, tgid, 1);
        header.ret = 3;
        header.dirfd = -100;
        for (to, from) in header.comm.iter_mut().take(15).zip(comm.bytes()) {
            *to = from;
        }
        Self { header, name: name.as_ref().to_vec(), dir: None }
    }

    /// Makes it a failure with `errno`.
    #[must_use]
    pub fn errno(mut self, errno: i32) -> Self {
        self.header.ret = -errno;
        self
    }

    /// Sets the start, boot clock, ns.
    #[must_use]
    pub fn at(mut self, start_ns: u64) -> Self {
        self.header.start_ns = start_ns;
        self
    }

    /// Sets the directory, given as a path.
    #[must_use]
    pub fn dir(mut self, dir: impl AsRef<[u8]>) -> Self {
        self.dir = Some(dir.as_ref().to_vec());
        self
    }

    /// The record's bytes. Name and directory are cut to what the lengths can say.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut header = self.header;
        let mut walked = Vec::new();
        if let Some(dir) = &self.dir {
            header.marks |= marks::HAS_DIR;
            for component in dir.split(|b| *b == b'/').rev().filter(|c| !c.is_empty()) {
                walked.extend_from_slice(component);
                walked.push(b'/');
            }
        }
        let mut name = self.name.clone();
        name.truncate(usize::from(u16::MAX));
        walked.truncate(usize::from(u16::MAX));
        header.name_len = u16::try_from(name.len()).unwrap_or(u16::MAX);
        header.dir_len = u16::try_from(walked.len()).unwrap_or(u16::MAX);
        let mut bytes = bytemuck::bytes_of(&header).to_vec();
        bytes.extend_from_slice(&name);
        bytes.extend_from_slice(&walked);
        bytes
    }
}
