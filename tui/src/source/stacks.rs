//! Stacks of opens: from where in a program, and by which way through the kernel, an open came.
//!
//! Records name stacks by ids that hold for the whole session; what an id stands for comes beside the records, as soon as
//! its frames have names. What it is not: it finds no names.

use std::fmt::Write as _;

use probe_common::ProcessKey;

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
    fn a_folded_stack_begins_at_its_outermost_frame() {
        let frames = vec![frame("open;64", "libc", "", false), frame("main", "prog", "", false)];
        let mut out = String::new();
        Stack { frames, ..Stack::default() }.fold_into(&mut out);
        assert_eq!(out, "main;open\\x3b64");
    }
}
