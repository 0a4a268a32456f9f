//! Opens as Apache Parquet: the columns of the JSON lines, typed, for engines that query files (DuckDB, Spark, Polars).
//!
//! Text is escaped as everywhere. `flags`, `resolve` and `marks` are lists of words; `marks` are the keys that JSON has only
//! when they apply. The file is whole once [`Parquet::finish`] has been called: before that a reader finds nothing in it.

use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use probe_common::marks;

use super::json::{MARKS, is_relative};
use super::summary::CAPTURES_MAX;
use super::{Scratch, push_hex, push_mode};
use crate::session::{Session, clock};
use crate::{errno, event::Event, flags, source::CaptureChange};

/// Rows of a row group, at most: what is kept in memory before it is written.
const ROWS: usize = 128 * 1024;

/// Bytes of text of a row group, at most.
const BYTES: usize = 32 << 20;

/// Words of a list, one list per row.
#[derive(Default)]
struct Lists {
    values: Vec<ByteArray>,
    /// 1 for a word, 0 for an empty list.
    definition: Vec<i16>,
    /// 0 for the first of a row, 1 for those behind it.
    repetition: Vec<i16>,
}

impl Lists {
    fn push(&mut self, words: Vec<ByteArray>) {
        if words.is_empty() {
            self.definition.push(0);
            self.repetition.push(0);
        }
        for (at, word) in words.into_iter().enumerate() {
            self.values.push(word);
            self.definition.push(1);
            self.repetition.push(i16::from(at > 0));
        }
    }
}

/// Values of which some may be missing.
struct Optional<T> {
    values: Vec<T>,
    definition: Vec<i16>,
}

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Self { values: Vec::new(), definition: Vec::new() }
    }
}

impl<T> Optional<T> {
    fn push(&mut self, value: Option<T>) {
        self.definition.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

/// A row group in the making, column by column.
#[derive(Default)]
struct Rows {
    time: Vec<i64>,
    pid: Vec<i32>,
    tid: Vec<i32>,
    ppid: Vec<i32>,
    uid: Vec<i32>,
    comm: Vec<ByteArray>,
    path: Optional<ByteArray>,
    name: Optional<ByteArray>,
    flags: Lists,
    resolve: Lists,
    mode: Optional<ByteArray>,
    fd: Optional<i32>,
    errno: Optional<ByteArray>,
    duration_ns: Optional<i64>,
    via: Vec<ByteArray>,
    cgroup_id: Vec<i64>,
    marks: Lists,
    bytes: usize,
}

/// A writer, or why there is none.
pub(super) type Begun = Result<Box<Parquet>>;

/// Writes a Parquet file piece by piece.
pub struct Parquet {
    wall_offset_ns: i64,
    start_ns: u64,
    /// The captures after the first, in words.
    captures: Vec<String>,
    file: SerializedFileWriter<Vec<u8>>,
    rows: Rows,
    scratch: Scratch,
    error: Option<ParquetError>,
}

impl Parquet {
    /// A writer for the opens of `session`; what is known of the session goes into the file's metadata.
    ///
    /// # Errors
    /// Never in practice: it writes to memory.
    pub fn new(session: &Session) -> Result<Self> {
        let level = ZstdLevel::try_new(1)?;
        let facts = [
            ("opentop.host", &session.hostname),
            ("opentop.kernel", &session.kernel),
            ("opentop.attach", &session.attach.to_string()),
            ("opentop.capture", &session.capture),
        ];
        let facts = facts.map(|(key, value)| KeyValue::new(key.to_owned(), value.clone())).to_vec();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(concat!("opentop ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(facts))
            .build();
        Ok(Self {
            wall_offset_ns: session.wall_offset_ns,
            start_ns: session.start_ns,
            captures: Vec::new(),
            file: SerializedFileWriter::new(Vec::new(), schema()?, Arc::new(properties))?,
            rows: Rows::default(),
            scratch: Scratch::default(),
            error: None,
        })
    }

    /// Takes in one open. Now and then a row group is full, and goes to `out`.
    pub fn event(&mut self, out: &mut Vec<u8>, event: &Event<'_>) {
        let header = event.header();
        let rows = &mut self.rows;
        let wall = i128::from(header.start_ns) + i128::from(self.wall_offset_ns);
        rows.time.push(i64::try_from(wall).unwrap_or(i64::MAX));
        // Unsigned by their logical type: the same bits.
        rows.pid.push(header.tgid.cast_signed());
        rows.tid.push(header.tid.cast_signed());
        rows.ppid.push(header.ppid.cast_signed());
        rows.uid.push(header.uid.cast_signed());
        rows.comm.push(self.scratch.escape(event.comm()).into());
        self.scratch.with_path(event, |scratch, path, name| {
            let path = path.map(|path| ByteArray::from(scratch.escape(path)));
            let name = name.map(|name| ByteArray::from(scratch.escape(name)));
            rows.bytes += path.as_ref().map_or(0, ByteArray::len) + name.as_ref().map_or(0, ByteArray::len);
            rows.path.push(path);
            rows.name.push(name);
        });
        let mut words = Vec::new();
        let rest = flags::names(header.flags, |name| words.push(name.into()));
        rows.flags.push(with_rest(words, rest));
        let (known, mut words) = (flags::RESOLVE.iter().fold(0, |all, (bit, _)| all | bit), Vec::new());
        words.extend(flags::RESOLVE.iter().filter(|(bit, _)| header.resolve & bit != 0).map(|(_, n)| (*n).into()));
        rows.resolve.push(with_rest(words, header.resolve & !known));
        rows.mode.push(flags::creates(header.flags).then(|| text(|out| push_mode(out, header.mode))));
        rows.fd.push(event.fd());
        let failed = event.errno().filter(|_| !event.has(marks::RESULT_UNKNOWN));
        rows.errno.push(failed.map(|number| text(|out| errno::push(out, number))));
        rows.duration_ns.push(event.duration_ns().map(u64::cast_signed));
        rows.via.push(event.route().name().into());
        rows.cgroup_id.push(header.cgroup_id.cast_signed());
        let marked = MARKS.iter().filter(|(mark, _)| event.has(*mark)).map(|(_, name)| *name);
        let relative = is_relative(event).then_some("relative");
        let unknown = event.has(marks::RESULT_UNKNOWN).then_some("result_unknown");
        rows.marks.push(relative.into_iter().chain(marked).chain(unknown).map(ByteArray::from).collect());
        rows.bytes += 100;
        if rows.time.len() >= ROWS || rows.bytes >= BYTES {
            self.write_rows(out);
        }
    }

    /// Takes in that another capture began. The first `CAPTURES_MAX` are named in the file's metadata:
    /// `opentop.capture.2` and so on, each with how far into the session it began.
    pub fn captured(&mut self, change: &CaptureChange) {
        if change.refused.is_none() && self.captures.len() < CAPTURES_MAX {
            let after = clock(change.at_ns.saturating_sub(self.start_ns) / 1_000_000_000);
            self.captures.push(format!("from {after} on: {}", change.words));
        }
    }

    /// Appends the rest and the footer.
    ///
    /// # Errors
    /// Never in practice: it writes to memory.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.write_rows(out);
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        for (number, words) in (2..).zip(std::mem::take(&mut self.captures)) {
            self.file.append_key_value_metadata(KeyValue::new(format!("opentop.capture.{number}"), words));
        }
        self.file.finish()?;
        self.file.flush()?;
        out.append(self.file.inner_mut());
        Ok(())
    }

    fn write_rows(&mut self, out: &mut Vec<u8>) {
        let rows = std::mem::take(&mut self.rows);
        if rows.time.is_empty() || self.error.is_some() {
            return;
        }
        if let Err(error) = rows.write(&mut self.file) {
            self.error = Some(error);
        }
        out.append(self.file.inner_mut());
    }
}

impl Rows {
    /// Writes itself as a row group; the columns in the order of the schema.
    fn write(&self, file: &mut SerializedFileWriter<Vec<u8>>) -> Result<()> {
        let mut group = file.next_row_group()?;
        let to = &mut group;
        column::<Int64Type>(to, &self.time, None, None)?;
        for numbers in [&self.pid, &self.tid, &self.ppid, &self.uid] {
            column::<Int32Type>(to, numbers, None, None)?;
        }
        column::<ByteArrayType>(to, &self.comm, None, None)?;
        column::<ByteArrayType>(to, &self.path.values, Some(&self.path.definition), None)?;
        column::<ByteArrayType>(to, &self.name.values, Some(&self.name.definition), None)?;
        list(to, &self.flags)?;
        list(to, &self.resolve)?;
        column::<ByteArrayType>(to, &self.mode.values, Some(&self.mode.definition), None)?;
        column::<Int32Type>(to, &self.fd.values, Some(&self.fd.definition), None)?;
        column::<ByteArrayType>(to, &self.errno.values, Some(&self.errno.definition), None)?;
        column::<Int64Type>(to, &self.duration_ns.values, Some(&self.duration_ns.definition), None)?;
        column::<ByteArrayType>(to, &self.via, None, None)?;
        column::<Int64Type>(to, &self.cgroup_id, None, None)?;
        list(to, &self.marks)?;
        group.close()?;
        file.flush()?;
        Ok(())
    }
}

fn list(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, lists: &Lists) -> Result<()> {
    column::<ByteArrayType>(group, &lists.values, Some(&lists.definition), Some(&lists.repetition))
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<()> {
    let end = || ParquetError::General("more columns than the schema has".into());
    let mut column = group.next_column()?.ok_or_else(end)?;
    column.typed::<T>().write_batch(values, definition, repetition)?;
    column.close()
}

/// Bits without a name, behind those that have one.
fn with_rest(mut words: Vec<ByteArray>, rest: u32) -> Vec<ByteArray> {
    if rest != 0 {
        words.push(text(|out| push_hex(out, rest)));
    }
    words
}

fn text(push: impl FnOnce(&mut Vec<u8>)) -> ByteArray {
    let mut out = Vec::new();
    push(&mut out);
    out.into()
}

/// The columns: those of CSV, in its order.
fn schema() -> Result<TypePtr> {
    const OPTIONAL: Repetition = Repetition::OPTIONAL;
    const REQUIRED: Repetition = Repetition::REQUIRED;
    let time = LogicalType::timestamp(true, TimeUnit::NANOS);
    let (u32, u64) = (|| LogicalType::integer(32, false), || LogicalType::integer(64, false));
    let fields = vec![
        primitive("time", REQUIRED, Physical::INT64, Some(time))?,
        primitive("pid", REQUIRED, Physical::INT32, Some(u32()))?,
        primitive("tid", REQUIRED, Physical::INT32, Some(u32()))?,
        primitive("ppid", REQUIRED, Physical::INT32, Some(u32()))?,
        primitive("uid", REQUIRED, Physical::INT32, Some(u32()))?,
        string("comm", REQUIRED)?,
        string("path", OPTIONAL)?,
        string("name", OPTIONAL)?,
        words("flags")?,
        words("resolve")?,
        string("mode", OPTIONAL)?,
        primitive("fd", OPTIONAL, Physical::INT32, None)?,
        string("errno", OPTIONAL)?,
        primitive("duration_ns", OPTIONAL, Physical::INT64, Some(u64()))?,
        string("via", REQUIRED)?,
        primitive("cgroup_id", REQUIRED, Physical::INT64, Some(u64()))?,
        words("marks")?,
    ];
    Ok(Arc::new(Type::group_type_builder("opens").with_fields(fields).build()?))
}

fn primitive(name: &str, repetition: Repetition, kind: Physical, logical: Option<LogicalType>) -> Result<TypePtr> {
    let builder = Type::primitive_type_builder(name, kind).with_repetition(repetition).with_logical_type(logical);
    Ok(Arc::new(builder.build()?))
}

fn string(name: &str, repetition: Repetition) -> Result<TypePtr> {
    primitive(name, repetition, Physical::BYTE_ARRAY, Some(LogicalType::String))
}

/// The three levels of a list: "Nested Types" of the format's LogicalTypes.md.
fn words(name: &str) -> Result<TypePtr> {
    let element = string("element", Repetition::REQUIRED)?;
    let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(vec![element]);
    let outer = Type::group_type_builder(name)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::List))
        .with_converted_type(ConvertedType::LIST)
        .with_fields(vec![Arc::new(list.build()?)]);
    Ok(Arc::new(outer.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headless::{
        csv::COLUMNS,
        tests::{records, session},
    };
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;

    #[test]
    fn the_columns_are_those_of_csv() {
        let schema = schema().unwrap();
        let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, COLUMNS);
    }

    #[test]
    fn any_opens_make_a_file_that_begins_and_ends_as_parquet() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let (mut parquet, mut out) = (Parquet::new(&session()).unwrap(), Vec::new());
        for _ in 0..200 {
            let record = records().new_tree(&mut runner).unwrap().current();
            parquet.event(&mut out, &Event::decode(&record).unwrap());
        }
        parquet.finish(&mut out).unwrap();
        assert!(out.starts_with(b"PAR1") && out.ends_with(b"PAR1"));
    }

    #[test]
    fn what_waits_in_memory_is_bounded() {
        let (mut parquet, mut out) = (Parquet::new(&session()).unwrap(), Vec::new());
        let record = crate::event::RecordBuilder::new(1, "x", "/".repeat(4000)).build();
        let event = Event::decode(&record).unwrap();
        for _ in 0..20_000 {
            parquet.event(&mut out, &event);
            assert!(parquet.rows.bytes < BYTES + 8192);
        }
        assert!(!out.is_empty(), "80 MB of text, and none of it written");
    }
}
