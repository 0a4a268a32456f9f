//! Stacks of opens: from where in a program, and by which way through the kernel, an open came.
//!
//! Records name stacks by ids that hold for the whole session; what an id stands for comes beside the records, as soon as
//! its frames have names. What it is not: it finds no names, which is [`crate::symbols`]'s.

use std::{collections::VecDeque, fmt::Write as _, sync::Arc};

use probe_common::ProcessKey;
use rustc_hash::FxHashMap;

use crate::escape::Escaped;

/// One place in a stack. All names are bytes from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Where it was, in the memory of the process or of the kernel.
    pub address: u64,
    /// The function, demangled; empty where it is not known.
    pub function: Box<[u8]>,
    /// Bytes from the function's beginning; without a function from the module's.
    pub offset: u64,
    /// What it is part of: the file's name, `[vdso]`, `[jit]`; empty where it is not known, and for the kernel itself.
    pub module: Box<[u8]>,
    /// `file.c:42`; empty where there is no debug info.
    pub source: Box<[u8]>,
    /// The compiler put it into the frame behind it: it has no address of its own.
    pub inlined: bool,
}

impl Frame {
    /// A frame of which only the address is known.
    #[must_use]
    pub fn unknown(address: u64) -> Self {
        Self { address, ..Self::default() }
    }

    /// The function alone, or what stands for it: `main`, `libc.so.6+0x1a2b`, `0x7f0012345678`. Escaped.
    #[must_use]
    pub fn name(&self) -> String {
        if !self.function.is_empty() {
            Escaped(&self.function).to_string()
        } else if !self.module.is_empty() {
            format!("{}+{:#x}", Escaped(&self.module), self.offset)
        } else {
            format!("{:#x}", self.address)
        }
    }

    /// All of it in one line: `main+0x1f (prog main.c:10)`, `helper (inlined, prog main.c:3)`, `libc.so.6+0x1a2b`. Escaped.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = self.name();
        if self.function.is_empty() {
            return out;
        }
        if !self.inlined {
            let _ = write!(out, "+{:#x}", self.offset);
        }
        let parts = [&self.module, &self.source].map(|part| Escaped(part).to_string());
        let about: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let about = about.join(" ");
        match (self.inlined, about.is_empty()) {
            (true, true) => out.push_str(" (inlined)"),
            (true, false) => {
                let _ = write!(out, " (inlined, {about})");
            }
            (false, true) => {}
            (false, false) => {
                let _ = write!(out, " ({about})");
            }
        }
        out
    }
}

/// A stack as the kernel has it: addresses, innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Its id, as in the records; never 0.
    pub id: u32,
    /// Whether it is the kernel's.
    pub kernel: bool,
    /// Whose it is; of a kernel's stack, whoever came by it first.
    pub process: ProcessKey,
    /// Where each call was made, or rather where it is to return to.
    pub addresses: Box<[u64]>,
}

impl Addresses {
    /// The stack with nothing but its addresses.
    #[must_use]
    pub fn unnamed(&self) -> Stack {
        self.named(self.addresses.iter().map(|address| Frame::unknown(*address)).collect(), false)
    }

    /// The stack with its frames.
    #[must_use]
    pub fn named(&self, frames: Vec<Frame>, named: bool) -> Stack {
        let ProcessKey { tgid, start_ns, .. } = self.process;
        Stack { id: self.id, kernel: self.kernel, tgid, start_ns, named, frames }
    }
}

/// What a stack id stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// Its id, as in the records; never 0.
    pub id: u32,
    /// Whether it is the kernel's.
    pub kernel: bool,
    /// Whose it is; of a kernel's stack, nobody's in particular.
    pub tgid: u32,
    /// When that process started, boot clock, ns.
    pub start_ns: u64,
    /// Whether its names could be looked for. Where the process was gone too soon, or more stacks came than names could be
    /// found for, frames have what is known all the same.
    pub named: bool,
    /// From the innermost outwards: the one that called for the open first, `main` near the end.
    pub frames: Vec<Frame>,
}

impl Stack {
    /// The stack in one line, outermost first, as flame graphs take it: `main;read_config;fopen`. Escaped; a `;` within a
    /// name is written `\x3b`.
    pub fn fold_into(&self, out: &mut String) {
        for (at, frame) in self.frames.iter().rev().enumerate() {
            if at > 0 {
                out.push(';');
            }
            out.push_str(&frame.name().replace(';', "\\x3b"));
        }
    }
}

/// Opens of a process that came by a pair of stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackCount {
    /// The process.
    pub process: ProcessKey,
    /// Id of the user's stack, 0 for none.
    pub user: u32,
    /// Id of the kernel's stack, 0 for none.
    pub kernel: u32,
    /// Opens since the last hand-over.
    pub opens: u64,
    /// Those of them that failed.
    pub failed: u64,
}

/// What became known of stacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    /// Stacks that are new. Each id comes once.
    pub stacks: Vec<Stack>,
    /// Opens by stack that the kernel counted since the last hand-over: to be added up.
    pub counts: Vec<StackCount>,
}

impl Stacks {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty() && self.counts.is_empty()
    }
}

/// Stacks by their ids, as many as are likely to be named again.
#[derive(Clone, Debug, Default)]
pub struct Book {
    stacks: FxHashMap<u32, Arc<Stack>>,
    /// The users' stacks, the first known first. The kernel's are few and stay.
    order: VecDeque<u32>,
}

/// Users' stacks that a [`Book`] keeps. More than the ids that a source gives before it gives them anew.
const BOOK_MAX: usize = 8 << 10;

impl Book {
    /// Takes in a stack; the oldest goes when there are too many.
    pub fn learn(&mut self, stack: Stack) {
        let (id, kernel) = (stack.id, stack.kernel);
        if self.stacks.insert(id, Arc::new(stack)).is_some() || kernel {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > BOOK_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.stacks.remove(&oldest);
        }
    }

    /// The stack of an id; `None` for 0, and for what is not known yet or not any more.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Arc<Stack>> {
        self.stacks.get(&id)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, module: &str, source: &str, inlined: bool) -> Frame {
        Frame {
            address: 0x7f00_0000_1234,
            function: function.as_bytes().into(),
            offset: 0x1f,
            module: module.as_bytes().into(),
            source: source.as_bytes().into(),
            inlined,
        }
    }

    #[test]
    fn a_frame_says_what_is_known_of_it() {
        assert_eq!(frame("main", "prog", "main.c:10", false).text(), "main+0x1f (prog main.c:10)");
        assert_eq!(frame("main", "prog", "", false).text(), "main+0x1f (prog)");
        assert_eq!(frame("helper", "prog", "main.c:3", true).text(), "helper (inlined, prog main.c:3)");
        assert_eq!(frame("do_sys_openat2", "", "", false).text(), "do_sys_openat2+0x1f");
        assert_eq!(frame("", "prog", "", false).text(), "prog+0x1f");
        assert_eq!(frame("", "", "", false).text(), "0x7f0000001234");
    }

    #[test]
    fn no_name_reaches_a_line_raw() {
        let hostile = frame("\x1b[31m\nf", "\u{202e}m", "\x07", false);
        assert!(!hostile.text().chars().any(|c| c.is_control() || c == '\u{202e}'));
    }

    #[test]
    fn a_book_is_bounded_and_keeps_the_kernels_stacks() {
        let mut book = Book::default();
        book.learn(Stack { id: 1, kernel: true, ..Stack::default() });
        for id in 2..20_000 {
            book.learn(Stack { id, ..Stack::default() });
        }
        assert!(book.get(1).is_some() && book.get(19_999).is_some() && book.get(2).is_none());
        assert_eq!(book.stacks.len(), BOOK_MAX + 1);
    }

    #[test]
    fn a_folded_stack_begins_at_its_outermost_frame() {
        let frames = vec![frame("open;64", "libc", "", false), frame("main", "prog", "", false)];
        let mut out = String::new();
        Stack { frames, ..Stack::default() }.fold_into(&mut out);
        assert_eq!(out, "main;open\\x3b64");
    }
}
