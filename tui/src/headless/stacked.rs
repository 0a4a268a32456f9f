//! Stacks behind the lines of opens: indented lines for people, two more keys in JSON, two more columns in CSV.
//!
//! The names of a stack come after the first open that came by it, so opens wait here until all they name is known:
//! the lines of a file do not change afterwards.

use std::collections::VecDeque;

use probe_common::RecordHeader;

use super::{TraceFormat, csv::push_field, json::push_string};
use crate::{
    event::Event,
    source::{Batch, Book, Stack, Stacks},
};

/// Most bytes of opens that wait; then they are written without what is still missing.
const WAITING_MAX: usize = 16 << 20;

/// Opens on their way, and the stacks they name.
#[derive(Clone, Debug, Default)]
pub struct Stacked {
    book: Book,
    waiting: VecDeque<Batch>,
    bytes: usize,
}

impl Stacked {
    /// Takes in stacks that became known.
    pub fn learn(&mut self, stacks: Stacks) {
        stacks.stacks.into_iter().for_each(|stack| self.book.learn(stack));
    }

    /// Takes in opens.
    pub fn push(&mut self, batch: Batch) {
        self.bytes += batch.byte_len();
        self.waiting.push_back(batch);
    }

    /// The next opens of which every stack is known, or the oldest when too many wait, or when `all` are wanted.
    pub fn pop(&mut self, all: bool) -> Option<Batch> {
        let first = self.waiting.front()?;
        let known = |id: u32| id == 0 || self.book.get(id).is_some();
        let ready = || {
            let mut events = first.events().filter_map(Result::ok);
            events.all(|event| known(event.header().user_stack) && known(event.header().kernel_stack))
        };
        if !all && self.bytes <= WAITING_MAX && !ready() {
            return None;
        }
        let batch = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(batch.byte_len());
        Some(batch)
    }

    /// Adds the stacks of an open to its line, which stands at the end of `out`.
    pub fn line(&self, format: TraceFormat, out: &mut Vec<u8>, event: &Event<'_>) {
        let RecordHeader { user_stack, kernel_stack, .. } = *event.header();
        let (user, kernel) = (self.book.get(user_stack), self.book.get(kernel_stack));
        match format {
            TraceFormat::Text => {
                text(out, user.map(|stack| &**stack), "        ");
                text(out, kernel.map(|stack| &**stack), "        kernel: ");
            }
            TraceFormat::Json => {
                out.truncate(out.len().saturating_sub(b"}\n".len()));
                for (key, id, stack) in [("stack_user", user_stack, user), ("stack_kernel", kernel_stack, kernel)] {
                    if id != 0 {
                        out.extend_from_slice(format!(",\"{key}\":").as_bytes());
                        match stack {
                            Some(stack) => json(out, stack),
                            None => out.extend_from_slice(b"null"),
                        }
                    }
                }
                out.extend_from_slice(b"}\n");
            }
            TraceFormat::Csv => {
                out.truncate(out.len().saturating_sub(b"\r\n".len()));
                for stack in [user, kernel] {
                    out.push(b',');
                    let mut folded = String::new();
                    if let Some(stack) = stack {
                        stack.fold_into(&mut folded);
                    }
                    push_field(out, &folded);
                }
                out.extend_from_slice(b"\r\n");
            }
            // A file of columns has none for them: refused on the command line.
            #[cfg(feature = "parquet")]
            TraceFormat::Parquet => {}
        }
    }
}

/// Adds the columns of the stacks to the header, which stands at the end of `out`.
pub fn header(format: TraceFormat, out: &mut Vec<u8>) {
    if format == TraceFormat::Csv {
        out.truncate(out.len().saturating_sub(b"\r\n".len()));
        out.extend_from_slice(b",stack_user,stack_kernel\r\n");
    }
}

fn text(out: &mut Vec<u8>, stack: Option<&Stack>, indent: &str) {
    for frame in stack.into_iter().flat_map(|stack| &stack.frames) {
        out.extend_from_slice(indent.as_bytes());
        out.extend_from_slice(frame.text().as_bytes());
        out.push(b'\n');
    }
}

/// Appends the frames as a JSON array, innermost first.
pub(crate) fn json(out: &mut Vec<u8>, stack: &Stack) {
    out.push(b'[');
    for (at, frame) in stack.frames.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(out, &frame.text());
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::RecordBuilder,
        headless::{Writer, tests::session},
        source::Frame,
    };

    fn stack(id: u32, kernel: bool, functions: &[&str]) -> Stack {
        let frame = |name: &&str| Frame {
            function: name.as_bytes().into(),
            offset: 1,
            module: if kernel { Box::default() } else { b"prog"[..].into() },
            ..Frame::default()
        };
        Stack { id, kernel, named: true, frames: functions.iter().map(frame).collect(), ..Stack::default() }
    }

    fn open(user: u32, kernel: u32) -> Vec<u8> {
        let mut builder = RecordBuilder::new(1, "prog", "/x");
        (builder.header.user_stack, builder.header.kernel_stack) = (user, kernel);
        builder.build()
    }

    fn batch(record: &[u8]) -> Batch {
        let mut batch = Batch::default();
        batch.push(record);
        batch
    }

    fn stacked() -> Stacked {
        let mut stacked = Stacked::default();
        let stacks = vec![stack(3, false, &["open64", "main\""]), stack(4, true, &["do_sys_openat2"])];
        stacked.learn(Stacks { stacks, counts: Vec::new() });
        stacked
    }

    fn line(format: TraceFormat, record: &[u8]) -> String {
        let (mut out, event) = (Vec::new(), Event::decode(record).unwrap());
        Writer::new(format, &session()).event(&mut out, &event);
        stacked().line(format, &mut out, &event);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_open_waits_until_its_stacks_are_known_and_the_others_behind_it() {
        let mut stacked = Stacked::default();
        stacked.push(batch(&open(3, 4)));
        stacked.push(batch(&open(0, 0)));
        assert_eq!(stacked.pop(false), None);
        stacked.learn(Stacks { stacks: vec![stack(3, false, &["f"])], counts: Vec::new() });
        assert_eq!(stacked.pop(false), None);
        stacked.learn(Stacks { stacks: vec![stack(4, true, &["g"])], counts: Vec::new() });
        assert_eq!(stacked.pop(false), Some(batch(&open(3, 4))));
        assert_eq!(stacked.pop(false), Some(batch(&open(0, 0))));
        stacked.push(batch(&open(9, 0)));
        assert_eq!(stacked.pop(true), Some(batch(&open(9, 0))));
        assert_eq!(stacked.pop(true), None);
    }

    #[test]
    fn too_many_opens_do_not_wait_for_ever() {
        let mut stacked = Stacked::default();
        let record = open(9, 0);
        for _ in 0..=WAITING_MAX / record.len() {
            stacked.push(batch(&record));
        }
        assert!(stacked.pop(false).is_some());
        assert!(stacked.bytes <= WAITING_MAX && stacked.pop(false).is_none());
    }

    #[test]
    fn json_has_the_stacks_as_arrays_innermost_first() {
        let json: serde_json::Value = serde_json::from_str(&line(TraceFormat::Json, &open(3, 4))).unwrap();
        assert_eq!(json["stack_user"], serde_json::json!(["open64+0x1 (prog)", "main\"+0x1 (prog)"]));
        assert_eq!(json["stack_kernel"], serde_json::json!(["do_sys_openat2+0x1"]));
        assert_eq!(json["path"], "/x");
        let json: serde_json::Value = serde_json::from_str(&line(TraceFormat::Json, &open(0, 9))).unwrap();
        assert_eq!((json.get("stack_user"), &json["stack_kernel"]), (None, &serde_json::Value::Null));
    }

    #[test]
    fn text_has_a_line_for_each_frame_and_csv_a_column_for_each_stack() {
        let text = line(TraceFormat::Text, &open(3, 4));
        let lines: Vec<_> = text.lines().skip(1).collect();
        let indent = "        ";
        assert_eq!(
            lines,
            [
                format!("{indent}open64+0x1 (prog)"),
                format!("{indent}main\"+0x1 (prog)"),
                format!("{indent}kernel: do_sys_openat2+0x1")
            ]
        );
        let mut table = Vec::new();
        Writer::new(TraceFormat::Csv, &session()).header(&mut table);
        header(TraceFormat::Csv, &mut table);
        let rows = super::super::csv::read(&(String::from_utf8(table).unwrap() + &line(TraceFormat::Csv, &open(3, 4))));
        assert_eq!(rows[0].len(), rows[1].len());
        assert_eq!(rows[0][rows[0].len() - 2..], ["stack_user", "stack_kernel"]);
        assert_eq!(rows[1][rows[1].len() - 2..], ["main\";open64", "do_sys_openat2"]);
    }
}
