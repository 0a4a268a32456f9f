//! What a capture's program looks at: names and directories where they lie, and its own texts.

use aya_ebpf::helpers::generated;
use probe_common::filter::{self, Memory, Place, Program, STEPS, TEXT_MAX, Text};

use crate::{
    maps::{FILTER, INFLIGHT, LONG, NAMED_LONG},
    process::read,
};

/// Folds the beginning of the thread's name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_fold(pid_tgid: u64) -> u64 {
    match place(pid_tgid) {
        Some(place) => filter::fold(&place, &Kernel { slot: 0 }),
        None => filter::UNFOLDED,
    }
}

/// Where name and directory of the thread's open are.
#[inline(always)]
pub(super) fn place(pid_tgid: u64) -> Option<Place> {
    let entry = INFLIGHT.get_ptr_mut(pid_tgid)?;
    // SAFETY: a value of INFLIGHT that only this thread uses. The address goes through memory, where the verifier takes it
    // for the number that the functions below want.
    let (name, header) = unsafe {
        let entry = &mut *entry;
        let mut bytes = entry.bytes.as_ptr();
        if entry.named == NAMED_LONG {
            bytes = (&raw const (*LONG.get_ptr(pid_tgid)?).bytes).cast();
        }
        core::ptr::write_volatile(&raw mut entry.address, bytes as u64);
        (core::ptr::read_volatile(&raw const entry.address), &entry.header)
    };
    let name_len = u64::from(header.name_len);
    Some(Place { name, name_len, dir: name + name_len, dir_len: u64::from(header.dir_len), marks: header.marks })
}

/// The kernel's memory, and the texts of a program.
pub(super) struct Kernel {
    /// From bit 32.
    pub(super) slot: u64,
}

impl Memory for Kernel {
    #[inline(always)]
    fn equal(&self, address: u64, text: u64, len: u64) -> bool {
        filter_equal(address, self.slot | text, len) != 0
    }

    #[inline(always)]
    fn first_slash(&self, address: u64, len: u64) -> u64 {
        filter_first_slash(address, len)
    }

    #[inline(always)]
    fn behind_last_slash(&self, address: u64, len: u64) -> u64 {
        filter_behind_last_slash(address, len)
    }

    #[inline(always)]
    fn four(&self, address: u64) -> u32 {
        read(address).unwrap_or(0)
    }

    #[inline(always)]
    fn text(&self, text: u64) -> u64 {
        filter_text(self.slot | text)
    }

    #[inline(always)]
    fn leading(&self, address: u64, left: u64) -> u64 {
        filter_leading(address, left)
    }
}

/// Bytes that are looked at in one piece: what fits the stack beside its callers'.
const WINDOW: usize = 32;

/// Up to [`WINDOW`] bytes at an address, the rest zero; `len` is at most that.
#[inline(always)]
fn window(address: u64, len: u64) -> [u64; WINDOW / 8] {
    let mut window = [0u64; WINDOW / 8];
    // SAFETY: the helper checks the address itself; `len` bytes are within the window.
    unsafe { generated::bpf_probe_read_kernel(window.as_mut_ptr().cast(), len as u32, address as *const _) };
    window
}

/// Goes through `len` bytes at an address in words, of which there are at most [`TEXT_MAX`] bytes; `look` gets where they
/// begin and ends it by true.
#[inline(always)]
fn words_at(address: u64, len: u64, mut look: impl FnMut(u64, [u64; WINDOW / 8]) -> bool) {
    let mut left = len;
    for chunk in 0..TEXT_MAX / WINDOW {
        let at = (chunk * WINDOW) as u64;
        // One branch for each window: the verifier follows every one.
        if left <= WINDOW as u64 {
            look(at, window(address + at, left));
            return;
        }
        if look(at, window(address + at, WINDOW as u64)) {
            return;
        }
        left -= WINDOW as u64;
    }
}

/// The words at a byte offset into a program's texts; the slot from bit 32.
#[inline(always)]
fn texts(text: u64) -> Option<*const u8> {
    let program: *const Program = FILTER.get_ptr((text >> 32) as u32)?;
    let at = text as usize & (STEPS * size_of::<Text>() - 1);
    // SAFETY: within the texts, behind which there is slack for what is read from here.
    Some(unsafe { (&raw const (*program).texts).cast::<u8>().add(at) })
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_text(text: u64) -> u64 {
    // SAFETY: as in `texts`.
    texts(text).map_or(0, |words| unsafe { core::ptr::read_unaligned(words.cast()) })
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_equal(address: u64, text: u64, len: u64) -> u32 {
    let Some(words) = texts(text) else { return 0 };
    let mut left = len;
    for chunk in 0..TEXT_MAX / WINDOW {
        let done = chunk * WINDOW;
        let window = window(address + done as u64, if left > WINDOW as u64 { WINDOW as u64 } else { left });
        for (i, word) in window.iter().enumerate() {
            // SAFETY: less than TEXT_MAX bytes behind `words`, see `texts`.
            let other: u64 = unsafe { core::ptr::read_unaligned(words.add(done + 8 * i).cast()) };
            if left <= 8 {
                return u32::from((word ^ other) & filter::mask(left) == 0);
            }
            if *word != other {
                return 0;
            }
            left -= 8;
        }
    }
    1
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_first_slash(address: u64, len: u64) -> u64 {
    let (mut found, mut at) = (0, TEXT_MAX as u64);
    words_at(address, len, |begin, words| {
        for (i, word) in words.iter().enumerate() {
            let here = filter::slashes(*word);
            if here != 0 {
                (found, at) = (here, begin + 8 * i as u64);
                return true;
            }
        }
        false
    });
    if found == 0 { at } else { at + filter::first(found) }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_behind_last_slash(address: u64, len: u64) -> u64 {
    let skip = if len > TEXT_MAX as u64 { len - TEXT_MAX as u64 } else { 0 };
    let (mut found, mut at) = (0, 0);
    words_at(address + skip, len - skip, |begin, words| {
        for (i, word) in words.iter().enumerate() {
            let here = filter::slashes(*word);
            if here != 0 {
                (found, at) = (here, begin + 8 * i as u64);
            }
        }
        false
    });
    if found == 0 { 0 } else { skip + at + filter::last(found) + 1 }
}

/// The answer is a number that the verifier knows nothing of: it does not follow each sum of these on its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_leading(address: u64, left: u64) -> u64 {
    filter::leading(address, left, &Kernel { slot: 0 })
}
