//! The kernel's own names, from `/proc/kallsyms`.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
};

use crate::source::Frame;

/// Opened at the start, as the kernel asks for privileges then and not when it is read; read when the first stack comes.
pub(super) struct Kernel {
    file: Option<File>,
    functions: Option<Functions>,
}

/// Functions by address: names lie back to back, as there are a quarter of a million.
#[derive(Default)]
struct Functions {
    starts: Vec<u64>,
    /// Ends of the names, and of the modules behind them.
    ends: Vec<(u32, u32)>,
    names: Vec<u8>,
}

impl Kernel {
    pub(super) fn open() -> Self {
        Self { file: File::open("/proc/kallsyms").ok(), functions: None }
    }

    /// The frames of a stack without those of the probe itself, and whether names were to be had.
    pub(super) fn frames(&mut self, addresses: &[u64]) -> (Vec<Frame>, bool) {
        if self.functions.is_none() {
            self.functions = Some(self.read().unwrap_or_default());
        }
        let none = Functions::default();
        let functions = self.functions.as_ref().unwrap_or(&none);
        let mut frames: Vec<Frame> = addresses
            .iter()
            .enumerate()
            .map(|(at, address)| functions.frame(*address, address.saturating_sub(u64::from(at > 0))))
            .collect();
        let own = frames.iter().take(OWN_FRAMES).rposition(|frame| is_machinery(&frame.function));
        frames.drain(..own.map_or(0, |last| last + 1));
        (frames, !functions.starts.is_empty())
    }

    fn read(&mut self) -> Option<Functions> {
        let file = self.file.as_mut()?;
        file.rewind().ok()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).ok()?;
        Some(Functions::parse(&text))
    }
}

/// How far from the beginning of a stack the probe's own frames can be.
const OWN_FRAMES: usize = 12;

/// What stands between an open and the probe: the way by which the kernel calls it.
fn is_machinery(function: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 15] = [
        b"bpf_",
        b"__bpf_",
        b"stack_map",
        b"trace_call_bpf",
        b"perf_",
        b"kprobe_",
        b"kretprobe_",
        b"ftrace_",
        b"arch_ftrace",
        b"optimized_callback",
        b"__traceiter_",
        b"aggr_pre_handler",
        b"syscall_trace_",
        b"trace_sys_",
        b"__do_trace_",
    ];
    PREFIXES.iter().any(|prefix| function.starts_with(prefix))
}

impl Functions {
    /// `ffffffff81000000 T _text`, and behind a tab the module: `[ext4]`.
    fn parse(text: &[u8]) -> Self {
        let mut lines: Vec<(u64, &[u8], &[u8])> = text.split(|b| *b == b'\n').filter_map(line).collect();
        lines.sort_by_key(|(start, ..)| *start);
        // Of several names for a place the first is as good as any.
        lines.dedup_by_key(|(start, ..)| *start);
        let mut functions = Self::default();
        for (start, name, module) in lines {
            functions.names.extend_from_slice(name);
            let name_end = functions.names.len();
            functions.names.extend_from_slice(module);
            // kallsyms is far below 4 GiB.
            let end = |len| u32::try_from(len).unwrap_or(u32::MAX);
            functions.ends.push((end(name_end), end(functions.names.len())));
            functions.starts.push(start);
        }
        functions
    }

    fn frame(&self, address: u64, call: u64) -> Frame {
        let found = self.starts.partition_point(|start| *start <= call).checked_sub(1).and_then(|at| {
            let from = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |(_, end)| *end as usize);
            let (name_end, end) = self.ends.get(at)?;
            let name = self.names.get(from..*name_end as usize)?;
            let module = self.names.get(*name_end as usize..*end as usize)?;
            Some((name, module, address.saturating_sub(*self.starts.get(at)?)))
        });
        match found {
            Some((name, module, offset)) => {
                Frame { address, function: name.into(), offset, module: module.into(), ..Frame::default() }
            }
            None => Frame { address, offset: address, module: b"[kernel]"[..].into(), ..Frame::default() },
        }
    }
}

fn line(line: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let mut words = line.split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty());
    let start = u64::from_str_radix(std::str::from_utf8(words.next()?).ok()?, 16).ok()?;
    let kind = words.next()?;
    let name = words.next()?;
    // Without the right to see addresses all of them are 0.
    (start != 0 && matches!(kind, b"t" | b"T" | b"w" | b"W")).then(|| (start, name, words.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"\
0000000000000000 A nothing
ffffffff81000000 T _text
ffffffff81001000 T do_sys_openat2
ffffffff81002000 d data
ffffffff81003000 t __x64_sys_openat
ffffffffc0001000 t bpf_prog_1f_f_openat2\t[bpf]
ffffffffc0002000 t ext4_file_open\t[ext4]
";

    fn kernel() -> Kernel {
        Kernel { file: None, functions: Some(Functions::parse(TEXT)) }
    }

    fn texts(frames: &[Frame]) -> Vec<String> {
        frames.iter().map(Frame::text).collect()
    }

    #[test]
    fn addresses_have_the_names_of_the_functions_they_lie_in() {
        let (frames, named) = kernel().frames(&[0xffff_ffff_8100_1000, 0xffff_ffff_8100_3010, 0xffff_ffff_c000_2004]);
        assert!(named);
        assert_eq!(texts(&frames), ["do_sys_openat2+0x0", "__x64_sys_openat+0x10", "ext4_file_open+0x4 ([ext4])"]);
    }

    #[test]
    fn the_probes_own_frames_are_left_out() {
        let (frames, _) = kernel().frames(&[0xffff_ffff_c000_1010, 0xffff_ffff_8100_1009, 0xffff_ffff_8100_3010]);
        assert_eq!(texts(&frames), ["do_sys_openat2+0x9", "__x64_sys_openat+0x10"]);
    }

    #[test]
    fn without_the_right_to_see_addresses_they_are_shown_bare() {
        let hidden = Functions::parse(b"0000000000000000 T _text\n0000000000000000 T do_sys_openat2\n");
        let (frames, named) = Kernel { file: None, functions: Some(hidden) }.frames(&[0xffff_ffff_8100_1000]);
        assert!(!named);
        assert_eq!(texts(&frames), ["[kernel]+0xffffffff81001000"]);
    }
}
