//! What the payloads mean: session, counters, facts, index, end ↔ bytes. Records need none of this: they are stored
//! as they came.
//!
//! Decoding is total: whatever the bytes, it answers with a value or `None`, and allocates in proportion to them.

use probe_common::{COMM_LEN, HISTOGRAM_BUCKETS, ProcessCounts, ProcessKey};

pub use self::stacks::{FRAMES_MAX, SYMBOL_MAX, put_stack, put_stack_count, take_stack_counts, take_stacks};
use super::format::{Cursor, PAYLOAD_MAX, put_bytes, put_u64s};
use crate::escape;
use crate::session::{AttachKind, RouteState, Session};
use crate::source::{CaptureChange, Counters, Losses, ProcessFacts, Totals};

mod stacks;

/// Most process rows of one counters frame; a larger snapshot becomes several frames.
pub const ROWS_MAX: usize = 2048;

/// Longest bytes kept of one string of a session or of a process's facts.
pub const STRING_MAX: usize = 32 * 1024;

/// Most entries of an index.
pub const INDEX_MAX: usize = 16 * 1024;

/// A session and which file of it this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFrame {
    /// The session.
    pub session: Session,
    /// 1 for the first or only file, then counting with each rotation.
    pub part: u32,
    /// Name and version of the program that wrote it.
    pub writer: String,
}

impl SessionFrame {
    /// Its payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (mut out, session) = (Vec::new(), &self.session);
        for text in
            [&self.writer, session.attach.name(), &session.reason, &session.kernel, &session.hostname, &session.capture]
        {
            put_bytes(&mut out, cut(text.as_bytes()));
        }
        out.extend_from_slice(&session.wall_offset_ns.to_le_bytes());
        out.extend_from_slice(&session.start_ns.to_le_bytes());
        out.extend_from_slice(&session.ring_bytes.to_le_bytes());
        out.extend_from_slice(&self.part.to_le_bytes());
        let routes = session.routes.iter().take(64);
        out.push(u8::try_from(routes.len()).unwrap_or(0));
        for route in routes {
            put_bytes(&mut out, route.name.as_bytes());
            out.push(u8::from(route.blind.is_some()));
            let reason = route.blind.as_deref().unwrap_or_default().as_bytes();
            put_bytes(&mut out, reason.get(..1024).unwrap_or(reason));
        }
        out
    }

    /// Reads it back. `None` when the bytes are none, or name a way to attach that this build does not know.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let writer = text(&mut cursor)?;
        let attach = match cursor.bytes()? {
            b"kprobe" => AttachKind::Kprobe,
            b"fentry" => AttachKind::Fentry,
            b"tracepoint" => AttachKind::Tracepoint,
            _ => return None,
        };
        let (reason, kernel) = (text(&mut cursor)?, text(&mut cursor)?);
        let (hostname, capture) = (text(&mut cursor)?, text(&mut cursor)?);
        let (wall_offset_ns, start_ns) = (cursor.i64()?, cursor.u64()?);
        let (ring_bytes, part) = (cursor.u32()?, cursor.u32()?);
        let mut routes = Vec::new();
        for _ in 0..cursor.u8()? {
            let name = route_name(cursor.bytes()?);
            let blind = cursor.u8()? != 0;
            let reason = text(&mut cursor)?;
            routes.push(RouteState { name, blind: blind.then_some(reason) });
        }
        let session =
            Session { attach, reason, kernel, hostname, wall_offset_ns, start_ns, routes, capture, ring_bytes };
        Some(Self { session, part, writer })
    }
}

/// The names that [`RouteState`] knows; another program's are shown as "other".
fn route_name(name: &[u8]) -> &'static str {
    const NAMES: [&str; 9] = ["open", "openat", "openat2", "creat", "compat", "io_uring", "exec", "handle", "syscall"];
    NAMES.into_iter().find(|known| known.as_bytes() == name).unwrap_or("other")
}

/// A string that people will see: text of opentop's own writing stays as it is, anything a terminal would obey is
/// escaped. (A backslash alone is left: the writer's side has escaped what it got from outside.)
fn text(cursor: &mut Cursor<'_>) -> Option<String> {
    let bytes = cursor.bytes()?;
    let escaped = escape::escaped(bytes);
    Some(match std::str::from_utf8(bytes) {
        Ok(plain) if escaped.replace("\\\\", "\\") == plain => plain.to_owned(),
        _ => escaped,
    })
}

fn cut(bytes: &[u8]) -> &[u8] {
    bytes.get(..STRING_MAX).unwrap_or(bytes)
}

/// A counters frame: the counters, and what the recorder itself had to drop until then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CountersFrame {
    /// The kernel's counters, with at most [`ROWS_MAX`] rows.
    pub counters: Counters,
    /// Records that came from the kernel and are not in the file, because writing could not keep up or failed.
    pub dropped: u64,
    /// Whether these are the last ones.
    pub last: bool,
}

impl CountersFrame {
    /// Its payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (mut out, counters) = (Vec::new(), &self.counters);
        let totals = &counters.totals;
        out.push(u8::from(self.last));
        put_u64s(&mut out, [counters.at_ns, self.dropped, counters.ring_used]);
        put_u64s(&mut out, [totals.opens, totals.failed, totals.latency_ns, totals.latency_max_ns]);
        put_list(&mut out, &totals.histogram);
        put_list(&mut out, &totals.losses.to_list());
        out.push(u8::from(counters.others.is_some()));
        if let Some(others) = &counters.others {
            put_counts(&mut out, others);
        }
        let rows = counters.processes.iter().take(ROWS_MAX);
        out.extend_from_slice(&u32::try_from(rows.len()).unwrap_or(0).to_le_bytes());
        for (key, counts) in rows {
            put_u64s(&mut out, [key.start_ns]);
            out.extend_from_slice(&key.tgid.to_le_bytes());
            put_counts(&mut out, counts);
        }
        out
    }

    /// Reads it back.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let last = cursor.u8()? != 0;
        let (at_ns, dropped, ring_used) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let (opens, failed) = (cursor.u64()?, cursor.u64()?);
        let (latency_ns, latency_max_ns) = (cursor.u64()?, cursor.u64()?);
        let histogram = take_list(&mut cursor)?;
        let losses = Losses::from_list(take_list(&mut cursor)?);
        let others = match cursor.u8()? {
            0 => None,
            _ => Some(take_counts(&mut cursor)?),
        };
        let mut processes = Vec::new();
        for _ in 0..cursor.u32()? {
            let (start_ns, tgid) = (cursor.u64()?, cursor.u32()?);
            processes.push((ProcessKey { start_ns, tgid, reserved: 0 }, take_counts(&mut cursor)?));
        }
        let totals = Totals { opens, failed, latency_ns, latency_max_ns, histogram, losses };
        Some(Self { counters: Counters { at_ns, totals, processes, others, ring_used }, dropped, last })
    }
}

fn put_counts(out: &mut Vec<u8>, counts: &ProcessCounts) {
    put_u64s(out, [counts.opens, counts.failed, counts.lost, counts.name_bytes_lost]);
    put_u64s(out, [counts.latency_ns, counts.latency_max_ns, counts.last_ns]);
    for value in [counts.exited, counts.uid, counts.ppid] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    out.extend_from_slice(&counts.comm);
    put_list(out, &counts.histogram);
}

fn take_counts(cursor: &mut Cursor<'_>) -> Option<ProcessCounts> {
    Some(ProcessCounts {
        opens: cursor.u64()?,
        failed: cursor.u64()?,
        lost: cursor.u64()?,
        name_bytes_lost: cursor.u64()?,
        latency_ns: cursor.u64()?,
        latency_max_ns: cursor.u64()?,
        last_ns: cursor.u64()?,
        exited: cursor.u32()?,
        uid: cursor.u32()?,
        ppid: cursor.u32()?,
        reserved: 0,
        comm: cursor.array::<COMM_LEN>()?,
        histogram: take_list::<HISTOGRAM_BUCKETS>(cursor)?,
    })
}

/// A list of u64 behind its length: more may come at its end later, and what is missing there is 0.
fn put_list(out: &mut Vec<u8>, values: &[u64]) {
    out.push(u8::try_from(values.len()).unwrap_or(u8::MAX));
    put_u64s(out, values.iter().copied().take(usize::from(u8::MAX)));
}

fn take_list<const N: usize>(cursor: &mut Cursor<'_>) -> Option<[u64; N]> {
    let mut values = [0; N];
    for at in 0..usize::from(cursor.u8()?) {
        let value = cursor.u64()?;
        if let Some(slot) = values.get_mut(at) {
            *slot = value;
        }
    }
    Some(values)
}

/// Appends one process's facts. Strings longer than [`STRING_MAX`] are cut.
pub fn put_facts(out: &mut Vec<u8>, facts: &ProcessFacts) {
    put_u64s(out, [facts.start_ns]);
    for value in [facts.tgid, facts.ppid, facts.uid] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    for bytes in [&facts.user, &facts.exe, &facts.command_line] {
        put_bytes(out, cut(bytes));
    }
}

/// The facts of a payload that holds `count` of them.
#[must_use]
pub fn take_facts(bytes: &[u8], count: u32) -> Option<Vec<ProcessFacts>> {
    let (mut cursor, mut all) = (Cursor::new(bytes), Vec::new());
    for _ in 0..count {
        let start_ns = cursor.u64()?;
        let (tgid, ppid, uid) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let user = cursor.bytes()?.to_vec();
        let exe = cursor.bytes()?.to_vec();
        let command_line = cursor.bytes()?.to_vec();
        all.push(ProcessFacts { tgid, start_ns, ppid, uid, user, exe, command_line });
    }
    Some(all)
}

/// The payload of a capture that is another one from here on.
#[must_use]
pub fn encode_capture(change: &CaptureChange) -> Vec<u8> {
    let mut out = Vec::new();
    put_u64s(&mut out, [change.at_ns]);
    put_bytes(&mut out, cut(change.text.as_bytes()));
    put_bytes(&mut out, cut(change.words.as_bytes()));
    out
}

/// Reads it back.
#[must_use]
pub fn decode_capture(bytes: &[u8]) -> Option<CaptureChange> {
    let mut cursor = Cursor::new(bytes);
    let (at_ns, typed, words) = (cursor.u64()?, text(&mut cursor)?, text(&mut cursor)?);
    Some(CaptureChange { at_ns, text: typed, words, refused: None })
}

/// One frame of records, in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexEntry {
    /// Where the frame begins in the file, bytes.
    pub offset: u64,
    /// Its `time_ns`: no open in it returned later.
    pub time_ns: u64,
    /// Records in all frames before it.
    pub ordinal: u64,
}

/// The payload of an index.
#[must_use]
pub fn encode_index(entries: &[IndexEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries.iter().take(INDEX_MAX) {
        put_u64s(&mut out, [entry.offset, entry.time_ns, entry.ordinal]);
    }
    out
}

/// Reads an index back; at most [`INDEX_MAX`] entries, of which one that runs backwards ends the list.
#[must_use]
pub fn decode_index(bytes: &[u8]) -> Vec<IndexEntry> {
    let (mut cursor, mut entries) = (Cursor::new(bytes), Vec::new());
    let mut before = IndexEntry::default();
    while entries.len() < INDEX_MAX {
        let (Some(offset), Some(time_ns), Some(ordinal)) = (cursor.u64(), cursor.u64(), cursor.u64()) else { break };
        if offset <= before.offset || time_ns < before.time_ns || ordinal < before.ordinal {
            break;
        }
        before = IndexEntry { offset, time_ns, ordinal };
        entries.push(before);
    }
    entries
}

/// The last frame's payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Where the index frame begins in the file, bytes; 0 for none.
    pub index_offset: u64,
    /// Records in the file.
    pub records: u64,
    /// Records that are not in the file because writing could not keep up or failed.
    pub dropped: u64,
}

impl End {
    /// Bytes of its payload, which is never compressed: the frame of a closed file is found from the file's end.
    pub const LEN: usize = 24;

    /// Its payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LEN);
        put_u64s(&mut out, [self.index_offset, self.records, self.dropped]);
        out
    }

    /// Reads it back.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        Some(Self { index_offset: cursor.u64()?, records: cursor.u64()?, dropped: cursor.u64()? })
    }
}

// The largest payloads that this build makes fit the bound.
const _: () = {
    assert!(ROWS_MAX * (12 + 8 * 7 + 12 + COMM_LEN + 1 + 8 * HISTOGRAM_BUCKETS) + 4096 <= PAYLOAD_MAX);
    assert!(INDEX_MAX * 24 <= PAYLOAD_MAX);
    assert!(3 * STRING_MAX + 64 <= PAYLOAD_MAX / 4);
    assert!(6 * STRING_MAX + 64 * (1024 + 64) <= PAYLOAD_MAX);
};
