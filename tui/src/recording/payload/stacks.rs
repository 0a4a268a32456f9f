//! Stacks, and opens counted by them ↔ bytes.

use probe_common::ProcessKey;

use super::super::format::{Cursor, PAYLOAD_MAX, put_u64s};
use crate::source::{Frame, Stack, StackCount};

/// Most frames of a stack, inlined ones among them: the kernel walks 127, and each may hold a few more.
pub const FRAMES_MAX: usize = 1024;

/// Longest bytes kept of a function, a module or a place in the source.
pub const SYMBOL_MAX: usize = 200;

/// Appends one stack; of more than [`FRAMES_MAX`] frames the outermost are left out, long names are cut.
pub fn put_stack(out: &mut Vec<u8>, stack: &Stack) {
    let u32s = [stack.id, stack.tgid];
    u32s.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    put_u64s(out, [stack.start_ns]);
    out.push(u8::from(stack.kernel) | u8::from(stack.named) << 1);
    let frames = stack.frames.iter().take(FRAMES_MAX);
    out.extend_from_slice(&u16::try_from(frames.len()).unwrap_or(0).to_le_bytes());
    for frame in frames {
        put_u64s(out, [frame.address, frame.offset]);
        out.push(u8::from(frame.inlined));
        for name in [&frame.function, &frame.module, &frame.source] {
            let cut = name.get(..SYMBOL_MAX).unwrap_or(name);
            // SYMBOL_MAX fits.
            out.push(u8::try_from(cut.len()).unwrap_or(0));
            out.extend_from_slice(cut);
        }
    }
}

/// The stacks of a payload that holds `count` of them.
#[must_use]
pub fn take_stacks(bytes: &[u8], count: u32) -> Option<Vec<Stack>> {
    let (mut cursor, mut all) = (Cursor::new(bytes), Vec::new());
    for _ in 0..count {
        let (id, tgid, start_ns, set) = (cursor.u32()?, cursor.u32()?, cursor.u64()?, cursor.u8()?);
        let mut frames = Vec::new();
        for _ in 0..cursor.u16()? {
            let (address, offset, inlined) = (cursor.u64()?, cursor.u64()?, cursor.u8()? != 0);
            let mut name = || {
                let len = cursor.u8()?;
                cursor.take(usize::from(len)).map(Box::from)
            };
            let (function, module, source) = (name()?, name()?, name()?);
            frames.push(Frame { address, function, offset, module, source, inlined });
        }
        all.push(Stack { id, kernel: set & 1 != 0, tgid, start_ns, named: set & 2 != 0, frames });
    }
    Some(all)
}

/// Appends opens by stack of one process.
pub fn put_stack_count(out: &mut Vec<u8>, count: &StackCount) {
    put_u64s(out, [count.process.start_ns]);
    for value in [count.process.tgid, count.user, count.kernel] {
        out.extend_from_slice(&value.to_le_bytes());
    }
    put_u64s(out, [count.opens, count.failed]);
}

/// The opens by stack of a payload that holds `count` of them.
#[must_use]
pub fn take_stack_counts(bytes: &[u8], count: u32) -> Option<Vec<StackCount>> {
    let (mut cursor, mut all) = (Cursor::new(bytes), Vec::new());
    for _ in 0..count {
        let (start_ns, tgid) = (cursor.u64()?, cursor.u32()?);
        let process = ProcessKey { start_ns, tgid, reserved: 0 };
        let (user, kernel) = (cursor.u32()?, cursor.u32()?);
        let (opens, failed) = (cursor.u64()?, cursor.u64()?);
        all.push(StackCount { process, user, kernel, opens, failed });
    }
    Some(all)
}

// The largest stack that this build writes fits the bound.
const _: () = {
    assert!(FRAMES_MAX * (17 + 3 * (SYMBOL_MAX + 1)) + 64 <= PAYLOAD_MAX - PAYLOAD_MAX / 4);
    assert!(SYMBOL_MAX <= u8::MAX as usize);
};
