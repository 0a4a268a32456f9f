//! The frame of the file: prelude, frame headers, and the bounded cursor that all decoding goes through.
//!
//! Everything here is little-endian and explicit; only the records inside keep the byte order of their machine, which
//! the prelude names. What the payloads mean is in [`super::payload`].

use probe_common::RECORD_VERSION;

/// First bytes of every recording. The high bit, the line ends and the ^Z catch transfers that took it for text.
pub const MAGIC: [u8; 8] = *b"\x8fOTOP\r\n\x1a";

/// Version of the file format. Raised when a reader of the version before would misread the file; new kinds of
/// frames do not raise it, as readers pass over kinds they do not know.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes of the prelude: the same in every version, now and later.
pub const PRELUDE_LEN: usize = 24;

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 48;

/// Most bytes of a payload, both as stored and decompressed. No length in a file makes a reader allocate more.
pub const PAYLOAD_MAX: usize = 1 << 20;

/// Values of [`FrameHeader::kind`].
pub mod kind {
    /// The session's facts; always the first frame.
    pub const SESSION: u8 = 1;
    /// Records.
    pub const RECORDS: u8 = 2;
    /// The kernel's counters.
    pub const COUNTERS: u8 = 3;
    /// Facts on processes.
    pub const FACTS: u8 = 4;
    /// Where frames are.
    pub const INDEX: u8 = 5;
    /// The end of a recording that was closed properly; always the last frame.
    pub const END: u8 = 6;
    /// Stacks.
    pub const STACKS: u8 = 7;
    /// Opens by stack.
    pub const STACK_COUNTS: u8 = 8;
    /// The capture from here on.
    pub const CAPTURE: u8 = 9;
}

/// Values of [`FrameHeader::codec`].
pub mod codec {
    /// As it is.
    pub const NONE: u8 = 0;
    /// One zstd frame.
    pub const ZSTD: u8 = 1;
}

/// Byte order of the records in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Least significant byte first: x86-64, aarch64, riscv64.
    Little,
    /// Most significant byte first: s390x.
    Big,
}

impl Order {
    /// This machine's.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

/// The first [`PRELUDE_LEN`] bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelude {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u16,
    /// Byte order of the records.
    pub order: Order,
    /// [`RECORD_VERSION`] of the records.
    pub record_version: u8,
    /// Random bytes that begin each frame of this file. Nobody who names files on the recorded machine can know them,
    /// so no file name can pass for a frame when a damaged file is scanned.
    pub marker: [u8; 8],
}

/// Why the first bytes are no prelude this build can go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreludeError {
    /// Not a recording at all.
    Junk,
    /// The magic is there, the rest of the prelude is damaged or cut.
    Damaged,
    /// A file format that is newer than this build.
    NewerFormat(u16),
    /// Records that are newer than this build.
    NewerRecords(u8),
}

impl Prelude {
    /// A prelude of this build, with `marker`.
    #[must_use]
    pub fn new(marker: [u8; 8]) -> Self {
        Self { version: FORMAT_VERSION, order: Order::NATIVE, record_version: RECORD_VERSION, marker }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.version.to_le_bytes());
        out.push(match self.order {
            Order::Little => 1,
            Order::Big => 2,
        });
        out.push(self.record_version);
        out.extend_from_slice(&self.marker);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads it from the first bytes of a file.
    ///
    /// # Errors
    /// When they are none, are damaged, or name a version newer than this build.
    pub fn decode(bytes: &[u8]) -> Result<Self, PreludeError> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(MAGIC.len()) != Some(&MAGIC) {
            return Err(PreludeError::Junk);
        }
        let summed = bytes.get(..PRELUDE_LEN - 4).ok_or(PreludeError::Damaged)?;
        let fields = (|| Some((cursor.u16()?, cursor.u8()?, cursor.u8()?, cursor.array()?, cursor.u32()?)))();
        let (version, order, record_version, marker, crc) = fields.ok_or(PreludeError::Damaged)?;
        if crc != crc32fast::hash(summed) {
            return Err(PreludeError::Damaged);
        }
        // The version comes before everything that a later one may have changed.
        if version > FORMAT_VERSION {
            return Err(PreludeError::NewerFormat(version));
        }
        let order = match order {
            1 => Order::Little,
            2 => Order::Big,
            _ => return Err(PreludeError::Damaged),
        };
        if record_version > RECORD_VERSION {
            return Err(PreludeError::NewerRecords(record_version));
        }
        Ok(Self { version, order, record_version, marker })
    }
}

/// What stands before each payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// One of [`kind`]; others are passed over.
    pub kind: u8,
    /// One of [`codec`].
    pub codec: u8,
    /// Records, rows, facts or entries in the payload.
    pub count: u32,
    /// No open in this or an earlier frame returned later than this, boot clock, ns. Never falls within a file.
    pub time_ns: u64,
    /// Records in all frames before this one: a reader that had to skip some knows how many are missing.
    pub ordinal: u64,
    /// Bytes of the payload in the file, at most [`PAYLOAD_MAX`].
    pub stored_len: u32,
    /// Bytes of the payload once decompressed, at most [`PAYLOAD_MAX`].
    pub raw_len: u32,
    /// CRC-32 of the payload as stored.
    pub payload_crc: u32,
}

impl FrameHeader {
    /// Its bytes, [`HEADER_LEN`] of them, beginning with `marker` and ending with their own CRC-32.
    pub fn encode(&self, marker: [u8; 8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&marker);
        out.push(self.kind);
        out.push(self.codec);
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.time_ns.to_le_bytes());
        out.extend_from_slice(&self.ordinal.to_le_bytes());
        out.extend_from_slice(&self.stored_len.to_le_bytes());
        out.extend_from_slice(&self.raw_len.to_le_bytes());
        out.extend_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Reads one. `None` when the bytes are not an intact header of this file, or its lengths are out of bounds.
    #[must_use]
    pub fn decode(marker: [u8; 8], bytes: &[u8]) -> Option<Self> {
        let summed = bytes.get(..HEADER_LEN - 4)?;
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != marker {
            return None;
        }
        let header = {
            let (kind, codec, _reserved, count) = (cursor.u8()?, cursor.u8()?, cursor.u16()?, cursor.u32()?);
            let (time_ns, ordinal) = (cursor.u64()?, cursor.u64()?);
            let (stored_len, raw_len, payload_crc) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
            Self { kind, codec, count, time_ns, ordinal, stored_len, raw_len, payload_crc }
        };
        let bounded = header.stored_len as usize <= PAYLOAD_MAX && header.raw_len as usize <= PAYLOAD_MAX;
        (cursor.u32()? == crc32fast::hash(summed) && bounded).then_some(header)
    }
}

/// Takes values off the front of bytes that may end anywhere.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Over `bytes`, from their beginning.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes; `None`, taking nothing, when there are not as many.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// The next two bytes, little-endian.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes, little-endian.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes, little-endian.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next eight bytes, little-endian, signed.
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// Bytes behind their length as a u32.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }
}

/// Appends `bytes` behind their length as a u32: what [`Cursor::bytes`] takes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Nothing of 4 GiB gets here: payloads are bounded by PAYLOAD_MAX.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes.get(..len as usize).unwrap_or(bytes));
}

/// Appends integers, little-endian.
pub fn put_u64s(out: &mut Vec<u8>, values: impl IntoIterator<Item = u64>) {
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Offset and width of each integer of [`probe_common::RecordHeader`] that has more than one byte.
const RECORD_FIELDS: [(usize, usize); 20] = [
    (2, 2),
    (4, 2),
    (6, 2),
    (8, 8),
    (16, 8),
    (24, 8),
    (32, 8),
    (40, 4),
    (44, 4),
    (48, 4),
    (52, 4),
    (56, 4),
    (60, 4),
    (64, 4),
    (68, 4),
    (72, 2),
    (74, 2),
    (76, 4),
    (80, 4),
    (100, 4),
];

/// Turns the byte order of a record round, in place. Bytes that are too short for a record stay as they are.
pub fn swap_record(record: &mut [u8]) {
    for (at, width) in RECORD_FIELDS {
        if let Some(field) = record.get_mut(at..at + width) {
            field.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prelude_reads_back_and_a_newer_one_is_refused_by_its_number() {
        let prelude = Prelude::new([7; 8]);
        let bytes = prelude.encode();
        assert_eq!(bytes.len(), PRELUDE_LEN);
        assert_eq!(Prelude::decode(&bytes), Ok(prelude));
        let newer = Prelude { version: 9, ..prelude };
        assert_eq!(Prelude::decode(&newer.encode()), Err(PreludeError::NewerFormat(9)));
        let newer = Prelude { record_version: 200, ..prelude };
        assert_eq!(Prelude::decode(&newer.encode()), Err(PreludeError::NewerRecords(200)));
        assert_eq!(Prelude::decode(b"PK\x03\x04 and so on, as a zip has it"), Err(PreludeError::Junk));
    }

    #[test]
    fn a_header_with_any_bit_turned_is_no_header() {
        let header = FrameHeader {
            kind: kind::RECORDS,
            codec: codec::ZSTD,
            count: 3,
            time_ns: 4,
            ordinal: 5,
            stored_len: 6,
            raw_len: 7,
            payload_crc: 8,
        };
        let mut bytes = Vec::new();
        header.encode([1; 8], &mut bytes);
        assert_eq!(bytes.len(), HEADER_LEN);
        assert_eq!(FrameHeader::decode([1; 8], &bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode([1; 8], &bad), None, "bit {bit}");
        }
    }

    #[test]
    fn lengths_beyond_the_bound_are_no_header_even_with_a_right_checksum() {
        let mut header = FrameHeader {
            kind: kind::RECORDS,
            codec: codec::NONE,
            count: 0,
            time_ns: 0,
            ordinal: 0,
            stored_len: PAYLOAD_MAX as u32 + 1,
            raw_len: 0,
            payload_crc: 0,
        };
        for _ in 0..2 {
            let mut bytes = Vec::new();
            header.encode([1; 8], &mut bytes);
            assert_eq!(FrameHeader::decode([1; 8], &bytes), None);
            (header.stored_len, header.raw_len) = (0, u32::MAX);
        }
    }

    #[test]
    fn swapping_a_record_turns_every_integer_and_nothing_else() {
        let mut header: probe_common::RecordHeader = bytemuck::Zeroable::zeroed();
        header.start_ns = 0x0102_0304_0506_0708;
        header.tgid = 0x0102_0304;
        header.mode = 0x0102;
        header.comm = *b"abcdefghijklmnop";
        header.reserved2 = 1;
        let mut bytes = bytemuck::bytes_of(&header).to_vec();
        swap_record(&mut bytes);
        let swapped: probe_common::RecordHeader = bytemuck::pod_read_unaligned(&bytes);
        assert_eq!(swapped.start_ns, header.start_ns.swap_bytes());
        assert_eq!(swapped.tgid, header.tgid.swap_bytes());
        assert_eq!(swapped.mode, header.mode.swap_bytes());
        assert_eq!(swapped.reserved2, 1u32.swap_bytes());
        assert_eq!(swapped.comm, header.comm);
        swap_record(&mut bytes);
        assert_eq!(bytes, bytemuck::bytes_of(&header));
    }
}
