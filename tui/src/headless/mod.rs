//! Opens as lines: text for people, JSON and CSV for machines; and the [`summary`] of a session. Siblings of the
//! view: they format what they are given and do no I/O themselves.
//!
//! Every writer appends to a `Vec<u8>` that its caller reuses, without an allocation per event once the buffers have
//! grown. Every byte from outside goes through [`escape`].

pub mod csv;
pub mod json;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod stacked;
pub mod summary;
pub mod text;
pub mod time;

use probe_common::marks;

use crate::{escape, event::Event, session::Session, source::CaptureChange};

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// RFC 4180 with a header row.
    Csv,
}

/// How `opentop trace` writes opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TraceFormat {
    /// Aligned columns for people
    #[default]
    Text,
    /// One JSON object per line
    Json,
    /// RFC 4180 with a header row
    Csv,
    /// Apache Parquet, to be queried: whole once opentop has ended
    #[cfg(feature = "parquet")]
    Parquet,
}

impl TraceFormat {
    /// Whether it is nothing for a terminal.
    #[must_use]
    pub fn is_binary(self) -> bool {
        !matches!(self, Self::Text | Self::Json | Self::Csv)
    }
}

impl From<Format> for TraceFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
            Format::Csv => Self::Csv,
        }
    }
}

/// Writes opens in one format.
pub struct Writer {
    inner: Inner,
}

enum Inner {
    Text(text::Text),
    Json(json::Json),
    Csv(csv::Csv),
    /// Or why it could not be begun: told by [`Writer::finish`].
    #[cfg(feature = "parquet")]
    Parquet(parquet::Begun),
}

impl Writer {
    /// A writer for the opens of `session`, whose clock it needs. Text shows the local time of this machine.
    #[must_use]
    pub fn new(format: impl Into<TraceFormat>, session: &Session) -> Self {
        Self {
            inner: match format.into() {
                TraceFormat::Text => Inner::Text(text::Text::new(session, jiff::tz::TimeZone::system())),
                TraceFormat::Json => Inner::Json(json::Json::new(session)),
                TraceFormat::Csv => Inner::Csv(csv::Csv::new(session)),
                #[cfg(feature = "parquet")]
                TraceFormat::Parquet => Inner::Parquet(parquet::Parquet::new(session).map(Box::new)),
            },
        }
    }

    /// Appends what stands above the first open: the header line of text and CSV, nothing for JSON.
    pub fn header(&self, out: &mut Vec<u8>) {
        match &self.inner {
            Inner::Text(_) => text::header(out),
            Inner::Json(_) => {}
            Inner::Csv(_) => csv::header(out),
            // Its head comes with its first rows.
            #[cfg(feature = "parquet")]
            Inner::Parquet(_) => {}
        }
    }

    /// Appends one open with its line end.
    pub fn event(&mut self, out: &mut Vec<u8>, event: &Event<'_>) {
        match &mut self.inner {
            Inner::Text(text) => text.event(out, event),
            Inner::Json(json) => json.event(out, event),
            Inner::Csv(csv) => csv.event(out, event),
            #[cfg(feature = "parquet")]
            Inner::Parquet(parquet) => {
                if let Ok(parquet) = parquet {
                    parquet.event(out, event);
                }
            }
        }
    }

    /// Takes in that another capture began: a format that tells the capture tells this one, too.
    pub fn captured(&mut self, #[allow(unused_variables, reason = "lines do not tell it")] change: &CaptureChange) {
        match &mut self.inner {
            Inner::Text(_) | Inner::Json(_) | Inner::Csv(_) => {}
            #[cfg(feature = "parquet")]
            Inner::Parquet(Ok(parquet)) => parquet.captured(change),
            #[cfg(feature = "parquet")]
            Inner::Parquet(Err(_)) => {}
        }
    }

    /// Appends what stands behind the last open: nothing for lines.
    ///
    /// # Errors
    /// When a format can't be begun or ended, in words. Never in practice.
    pub fn finish(
        &mut self,
        #[allow(unused_variables, reason = "lines have no end")] out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match &mut self.inner {
            Inner::Text(_) | Inner::Json(_) | Inner::Csv(_) => Ok(()),
            #[cfg(feature = "parquet")]
            Inner::Parquet(Ok(parquet)) => parquet.finish(out).map_err(|e| e.to_string()),
            #[cfg(feature = "parquet")]
            Inner::Parquet(Err(error)) => Err(error.to_string()),
        }
    }
}

/// Appends a number in decimal.
pub(crate) fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends permission bits as people write them: `0644`.
pub(crate) fn push_mode(out: &mut Vec<u8>, mode: u16) {
    let mut octal = [b'0'; 6];
    let mut rest = mode;
    for slot in octal.iter_mut().rev() {
        // Below 8.
        *slot = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    // Four digits at least, more where the process passed more.
    let from = octal.iter().position(|d| *d != b'0').unwrap_or(octal.len()).min(2);
    out.extend_from_slice(octal.get(from..).unwrap_or_default());
}

/// Appends bits without a name: `0x40000000`.
pub(crate) fn push_hex(out: &mut Vec<u8>, bits: u32) {
    out.extend_from_slice(b"0x");
    let from = (bits.max(1).ilog2() / 4) as i32;
    for nibble in (0..=from).rev() {
        let digit = char::from_digit(bits >> (nibble * 4) & 15, 16).unwrap_or('0');
        out.push(digit as u8);
    }
}

/// Where paths are put together and text is escaped, kept for the next open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    path: Vec<u8>,
    text: String,
}

impl Scratch {
    /// Appends `bytes`, escaped.
    pub(crate) fn push_escaped(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        if escape::is_plain(bytes) {
            out.extend_from_slice(bytes);
        } else {
            out.extend_from_slice(self.escape(bytes).as_bytes());
        }
    }

    /// `bytes`, escaped.
    pub(crate) fn escape(&mut self, bytes: &[u8]) -> &str {
        self.text.clear();
        escape::push(&mut self.text, bytes);
        &self.text
    }

    /// Hands the path as the process sees it (raw bytes, `None` where the name could not be read) to `then`, and the name
    /// as passed where it says something else.
    pub(crate) fn with_path(&mut self, event: &Event<'_>, then: impl FnOnce(&mut Self, Option<&[u8]>, Option<&[u8]>)) {
        let name = event.name();
        if event.has(marks::NAME_UNREADABLE) {
            return then(self, None, None);
        }
        if name.first() == Some(&b'/') || !event.has(marks::HAS_DIR) {
            return then(self, Some(name), None);
        }
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        event.path_into(&mut path);
        // A file handle is not a name.
        let differs = !event.has(marks::DIR_IS_FILE) && name != path.as_slice();
        then(self, Some(&path), differs.then_some(name));
        self.path = path;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{event::RecordBuilder, session::AttachKind};
    use proptest::prelude::*;

    /// A session whose boot clock began 2026-01-02T03:04:05Z.
    pub(crate) fn session() -> Session {
        Session {
            attach: AttachKind::Kprobe,
            reason: "first choice".into(),
            kernel: "6.1.0".into(),
            hostname: "host".into(),
            wall_offset_ns: 1_767_323_045_000_000_000,
            start_ns: 0,
            routes: Vec::new(),
            capture: "all".into(),
            ring_bytes: 1 << 20,
        }
    }

    fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[a-z/.,\"\\\\ =]{0,40}".prop_map(String::into_bytes),
            "/(etc|usr|home)/[a-z]{1,8}(\\.conf|\\.so)?".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..max),
        ]
    }

    /// Any record that decodes.
    pub(crate) fn records() -> impl Strategy<Value = Vec<u8>> {
        let names = (bytes(60), proptest::option::of(bytes(40)), bytes(16));
        let numbers = (any::<(u64, u64, u64)>(), any::<(u32, u32, u32, u32)>(), 0_u8..8, any::<u16>(), any::<u16>());
        let ret = prop_oneof![0_i32..20, -135_i32..0, any::<i32>()];
        let small = proptest::bool::ANY;
        (names, numbers, ret, any::<u32>(), small).prop_map(|((name, dir, comm), numbers, ret, flags, small)| {
            let ((start, duration, cgroup), (tgid, tid, ppid, uid), route, set, mode) = numbers;
            let mut builder = RecordBuilder::new(tgid, "", name);
            builder.dir = dir;
            for (to, from) in builder.header.comm.iter_mut().take(16).zip(comm) {
                *to = from;
            }
            let header = &mut builder.header;
            (header.start_ns, header.duration_ns, header.cgroup_id) = (start, duration, cgroup);
            (header.tid, header.ppid, header.uid) = (tid, ppid, uid);
            (header.route, header.mode, header.ret) = (route, mode, ret);
            // Half of them like most opens: no marks, small numbers, so that comparisons have both answers.
            header.marks = if small { 0 } else { set & !marks::HAS_DIR };
            header.flags = if small { flags & 0x0028_0ec3 } else { flags };
            if small {
                (header.tgid, header.tid, header.ppid, header.uid) = (tgid % 8, tid % 8, ppid % 8, uid % 4);
                (header.duration_ns, header.cgroup_id) = (duration % 5_000_000, cgroup % 8);
            }
            builder.build()
        })
    }

    /// One open, written.
    pub(crate) fn line(format: Format, record: &[u8]) -> String {
        let mut out = Vec::new();
        Writer::new(format, &session()).event(&mut out, &Event::decode(record).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_people_write_them() {
        let shown = |push: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            push(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(&|o| push_mode(o, 0o644)), "0644");
        assert_eq!(shown(&|o| push_mode(o, 0)), "0000");
        assert_eq!(shown(&|o| push_mode(o, 0o4755)), "4755");
        assert_eq!(shown(&|o| push_mode(o, 0o177_777)), "177777");
        assert_eq!(shown(&|o| push_hex(o, 0x4000_0020)), "0x40000020");
        assert_eq!(shown(&|o| push_hex(o, 0)), "0x0");
    }

    proptest! {
        #[test]
        fn every_event_is_one_line_of_printable_text(record in records()) {
            for format in [Format::Text, Format::Json, Format::Csv] {
                let line = line(format, &record);
                let line = line.strip_suffix('\n').unwrap();
                let line = if format == Format::Csv { line.strip_suffix('\r').unwrap() } else { line };
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
