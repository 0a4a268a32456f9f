//! One process's memory: what lies where, learnt while the process is there and kept when it is gone.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use probe_common::ProcessKey;

use super::{
    file_name,
    files::Files,
    looker::Looker,
    maps::{self, Mapping},
    perf_map::{BYTES_MAX, PerfMap},
};
use crate::source::Frame;

/// Longest `/proc/PID/maps` that is read, bytes: 65,530 mappings are the kernel's default limit.
const MAPS_MAX: u64 = 16 << 20;

/// Least time between two looks for an address that lies nowhere, after the first [`LOOKS`]: a program that begins maps its
/// libraries one after the other, and may be gone soon.
const AGAIN: Duration = Duration::from_millis(100);
const LOOKS: u32 = 16;

/// A process's memory.
pub(super) struct Space {
    process: ProcessKey,
    mappings: Vec<Mapping>,
    /// The program: another one means that all of the memory is.
    program: PathBuf,
    /// Whether its paths are ours as well.
    shares: bool,
    jit: Option<PerfMap>,
    jit_len: u64,
    looked: Option<Instant>,
    looks: u32,
}

impl Space {
    pub(super) fn new(process: ProcessKey) -> Self {
        Self {
            process,
            mappings: Vec::new(),
            program: PathBuf::new(),
            shares: false,
            jit: None,
            jit_len: 0,
            looked: None,
            looks: 0,
        }
    }

    /// Whether anything could be learnt of it.
    pub(super) fn is_known(&self) -> bool {
        !self.mappings.is_empty()
    }

    /// Looks at the process where what is known does not cover `addresses`, or it runs another program by now.
    pub(super) fn refresh(&mut self, looker: &Looker, addresses: &[u64]) {
        let covered = addresses.iter().all(|address| self.mapping(*address).is_some());
        let program = looker.program(self.process.tgid);
        let other = program.as_ref().is_some_and(|(program, _)| *program != self.program);
        let lately = self.looks >= LOOKS && self.looked.is_some_and(|at| at.elapsed() < AGAIN);
        if other || !covered && !lately {
            self.look(looker, program.unwrap_or_default());
        }
        // What a compiler tells of its code goes with the process, too.
        let made = addresses.iter().find(|address| self.mapping(**address).is_some_and(|m| m.path.is_empty())).copied();
        if let Some(address) = made {
            self.jit(looker, address);
        }
    }

    fn look(&mut self, looker: &Looker, (program, shares): (PathBuf, bool)) {
        self.looked = Some(Instant::now());
        self.looks = self.looks.saturating_add(1);
        let Some(text) = looker.maps(self.process.tgid).and_then(|maps| read(maps, MAPS_MAX)) else { return };
        // A pid is reused: only of the very process anything is learnt. Asked afterwards, so that it held meanwhile.
        let mappings = maps::parse(&text);
        if mappings.is_empty() || !self.is_same() {
            return;
        }
        (self.mappings, self.program, self.shares) = (mappings, program, shares);
    }

    /// Whether the process of that pid is still the one that is meant.
    fn is_same(&self) -> bool {
        if self.process.start_ns == 0 {
            return true;
        }
        let Ok(stat) = fs::read(self.proc("stat")) else { return false };
        started(&stat).is_some_and(|ticks| ticks.abs_diff(self.process.start_ns / NS_PER_TICK) <= 1)
    }

    fn proc(&self, what: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{what}", self.process.tgid))
    }

    fn mapping(&self, address: u64) -> Option<&Mapping> {
        let behind = self.mappings.partition_point(|mapping| mapping.addresses.start <= address);
        self.mappings.get(behind.checked_sub(1)?).filter(|mapping| mapping.addresses.contains(&address))
    }

    /// Appends what is at `address`, where `call` is the call's own.
    pub(super) fn frame(
        &mut self,
        (looker, files): (&Looker, &mut Files),
        address: u64,
        call: u64,
        out: &mut Vec<Frame>,
    ) {
        let Some(mapping) = self.mapping(call) else { return out.push(Frame::unknown(address)) };
        let (offset, path) = (mapping.file_offset(call), mapping.path.clone());
        let module = file_name(path.strip_suffix(b" (deleted)").unwrap_or(&path));
        let frame = Frame { address, offset: mapping.file_offset(address), module: module.into(), ..Frame::default() };
        if mapping.is_file() {
            let opened = match self.shares {
                true => Some(PathBuf::from(OsStr::from_bytes(&path))),
                // In its own mounts the same path is another file.
                false => looker.file(self.process.tgid, &path).and_then(|file| files.opened(file)),
            };
            if opened.and_then(|path| files.frames(&path, offset, &frame, out)).is_none() {
                out.push(frame);
            }
            return;
        }
        // Memory without a file: a compiler may have told what it put there.
        if path.first() != Some(&b'[')
            && let Some((function, offset)) = self.jit(looker, call)
        {
            out.push(Frame { function, offset, module: b"[jit]"[..].into(), ..frame });
            return;
        }
        let module: Box<[u8]> = if frame.module.is_empty() { b"[anon]"[..].into() } else { frame.module.clone() };
        let offset = if path.is_empty() { address } else { frame.offset };
        out.push(Frame { module, offset, ..frame });
    }

    /// The function that a just-in-time compiler made there. Its file grows: it is read again when it has.
    fn jit(&mut self, looker: &Looker, call: u64) -> Option<(Box<[u8]>, u64)> {
        let known = |jit: &Option<PerfMap>| {
            jit.as_ref().and_then(|map| map.find(call)).map(|(name, offset)| (Box::from(name), offset))
        };
        let found = known(&self.jit);
        if found.is_some() {
            return found;
        }
        let file = looker.file(self.process.tgid, self.perf_map_path().as_bytes())?;
        let meta = file.metadata().ok()?;
        // Anybody may write to /tmp: only what the process itself tells is believed.
        let owner = fs::metadata(format!("/proc/{}", self.process.tgid)).ok()?.uid();
        if meta.uid() != owner || self.jit.is_some() && meta.len() == self.jit_len {
            return None;
        }
        self.jit = Some(PerfMap::parse(&read(file, BYTES_MAX)?));
        self.jit_len = meta.len();
        known(&self.jit)
    }

    /// In the process's own `/tmp`, under the pid that the process knows itself by.
    fn perf_map_path(&self) -> String {
        // Its name in there may be any bytes.
        let status = fs::read(self.proc("status")).unwrap_or_default();
        let status = String::from_utf8_lossy(&status);
        let inner = status.lines().find_map(|line| line.strip_prefix("NStgid:"));
        let own = self.process.tgid.to_string();
        let pid = inner.and_then(|pids| pids.split_whitespace().next_back()).unwrap_or(&own);
        format!("/tmp/perf-{pid}.map")
    }
}

/// `/proc/PID/stat` counts in hundredths of a second (USER_HZ).
const NS_PER_TICK: u64 = 10_000_000;

/// `starttime` of a /proc/PID/stat, its 22nd field: behind the last parenthesis, as the name before it may hold anything.
fn started(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

fn read(file: File, most: u64) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text).ok()?;
    Some(text)
}
