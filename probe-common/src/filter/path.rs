//! The path of an open compared with a program's text where it lies, in pieces: nobody puts it together first.

use super::{Step, TEXT_MAX, Text, how};
use crate::marks;

/// Most leading `.` and `..` of a relative name that are folded into its directory; the path of one with more is not
/// known to a capture.
pub const FOLDS: u32 = 16;

/// Where name and directory of an open are.
#[derive(Clone, Copy)]
pub struct Place {
    /// Address of the name.
    pub name: u64,
    /// Its bytes.
    pub name_len: u64,
    /// Address of the directory, leaf first.
    pub dir: u64,
    /// Its bytes.
    pub dir_len: u64,
    /// The record's marks.
    pub marks: u16,
}

/// What looks into memory: that of the kernel, or of a test.
pub trait Memory {
    /// Whether `len` bytes at `address` are those at `text`, a byte offset into [`super::Program::texts`]. `len` is at most
    /// [`TEXT_MAX`].
    fn equal(&self, address: u64, text: u64, len: u64) -> bool;
    /// Index of the first `/` in `len` bytes at `address`, of which 256 are looked at; 256 where there is none.
    fn first_slash(&self, address: u64, len: u64) -> u64;
    /// Index behind the last `/` in `len` bytes at `address`, of which the last 256 are looked at; else 0.
    fn behind_last_slash(&self, address: u64, len: u64) -> u64;
    /// The four bytes at `address`, as far as they can be read.
    fn four(&self, address: u64) -> u32;
    /// The eight bytes at `text`.
    fn text(&self, text: u64) -> u64;
    /// [`leading`] of a name.
    fn leading(&self, address: u64, left: u64) -> u64;
}

/// What `fold` answers when there is too much to fold.
pub const UNFOLDED: u64 = u64::MAX;

/// The leading component of a relative name, of which `left` bytes are at `address`, if it is to be folded: its bytes with
/// the `/` behind it, and [`UP`] if it is a `..`; else 0.
#[inline(always)]
pub fn leading(address: u64, left: u64, memory: &impl Memory) -> u64 {
    let word = memory.four(address);
    let byte = |n: u32| (word >> (8 * n)) & 0xff;
    let (dot, slash) = (u32::from(b'.'), u32::from(b'/'));
    if left == 0 {
        0
    } else if byte(0) == slash {
        1
    } else if byte(0) != dot {
        0
    } else if left == 1 || byte(1) == slash {
        2
    } else if byte(1) == dot && (left == 2 || byte(2) == slash) {
        3 | UP
    } else {
        0
    }
}

/// See [`leading`].
pub const UP: u64 = 4;

/// Takes leading `.` and `..` off a relative name, and for each `..` a component off its directory: bytes to skip of the
/// name, and from bit 32 on of the directory plus one, if any `..` was there. The same as `path_into` of a record.
#[inline(always)]
pub fn fold(place: &Place, memory: &impl Memory) -> u64 {
    let (mut at, mut skip, mut up) = (0u64, 0u64, 0u64);
    for _ in 0..FOLDS {
        let left = place.name_len.saturating_sub(at);
        let leading = memory.leading(place.name + at, left);
        if leading == 0 {
            return at | ((skip + up) << 32);
        }
        at += leading & 3;
        if leading & UP != 0 {
            up = 1;
            if skip < place.dir_len {
                skip += memory.first_slash(place.dir + skip, place.dir_len - skip) + 1;
            }
        }
    }
    UNFOLDED
}

/// How the comparison of a text stands.
#[derive(Clone, Copy)]
struct Walk {
    /// Bytes of the text that agreed.
    at: u64,
    /// The text ended within a piece: what follows there in the path is a `/`.
    slash: bool,
    /// The same, and it is not.
    more: bool,
    failed: bool,
}

/// Goes on with the next piece of a path.
#[inline(always)]
fn piece(walk: Walk, step: &Step, text: u64, address: u64, len: u64, memory: &impl Memory) -> Walk {
    let left = u64::from(step.len) - walk.at;
    if walk.failed || walk.more || walk.slash || len == 0 {
        return walk;
    }
    let n = if len < left { len } else { left };
    if n != 0 && !memory.equal(address, text + walk.at, n) {
        return Walk { failed: true, ..walk };
    }
    let mut walk = Walk { at: walk.at + n, ..walk };
    if n < len {
        let slash = memory.four(address + n) & 0xff == u32::from(b'/');
        (walk.slash, walk.more) = (slash, !slash);
    }
    walk
}

/// What is behind the name of a deleted directory.
const DELETED: [u8; 10] = *b" (deleted)";

/// [`piece`] with [`DELETED`].
#[inline(always)]
fn deleted_piece(walk: Walk, step: &Step, text: u64, memory: &impl Memory) -> Walk {
    let left = u64::from(step.len) - walk.at;
    if walk.failed || walk.more || walk.slash {
        return walk;
    }
    let n = if left < 10 { left } else { 10 };
    let [a, b, c, d, e, f, g, h, i, j] = DELETED;
    let low = memory.text(text + walk.at) ^ u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let high = memory.text(text + walk.at + 8) ^ u64::from_le_bytes([i, j, 0, 0, 0, 0, 0, 0]);
    if low & mask(n) != 0 || n > 8 && high & mask(n - 8) != 0 {
        return Walk { failed: true, ..walk };
    }
    Walk { at: walk.at + n, more: n < 10, ..walk }
}

/// The lowest `bytes` bytes of a word, 8 and more: all.
#[inline(always)]
pub fn mask(bytes: u64) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}

/// The high bit of each byte of `word` that is a `/`.
#[inline(always)]
pub fn slashes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let other = word ^ 0x2f2f_2f2f_2f2f_2f2f;
    !(((other & LOW) + LOW) | other | LOW)
}

/// Index of the lowest byte of `found`, which [`slashes`] gave and is not 0. BPF has no instruction for it.
#[inline(always)]
pub fn first(found: u64) -> u64 {
    let (mut found, mut at) = (found, 0);
    if found & 0xffff_ffff == 0 {
        (found, at) = (found >> 32, 4);
    }
    if found & 0xffff == 0 {
        (found, at) = (found >> 16, at + 2);
    }
    if found & 0xff == 0 { at + 1 } else { at }
}

/// Index of the highest byte of `found`.
#[inline(always)]
pub fn last(found: u64) -> u64 {
    let (mut found, mut at) = (found, 0);
    if found >> 32 != 0 {
        (found, at) = (found >> 32, 4);
    }
    if found >> 16 != 0 {
        (found, at) = (found >> 16, at + 2);
    }
    if found >> 8 != 0 { at + 1 } else { at }
}

/// Whether the whole text agreed, and what is behind it is as wanted.
#[inline(always)]
fn agreed(walk: Walk, step: &Step) -> bool {
    if walk.failed || walk.at != u64::from(step.len) {
        return false;
    }
    match step.how {
        how::EXACT => !walk.more && !walk.slash,
        how::UNDER => !walk.more,
        _ => true,
    }
}

/// Whether the path of an open is as a step wants it: what `path_into` of its record would give, compared where it lies.
/// `folded` is what [`fold`] says of it.
#[inline(always)]
pub fn path_matches(step: &Step, at: u32, place: &Place, folded: u64, memory: &impl Memory) -> bool {
    if place.marks & marks::NAME_UNREADABLE != 0 {
        return false;
    }
    let text = u64::from(at) * size_of::<Text>() as u64;
    let dir_text = text + TEXT_MAX as u64;
    let mut walk = Walk { at: 0, slash: false, more: false, failed: false };
    let absolute = place.name_len != 0 && memory.four(place.name) & 0xff == u32::from(b'/');
    if absolute || place.marks & marks::HAS_DIR == 0 {
        walk = piece(walk, step, text, place.name, place.name_len, memory);
        return agreed(walk, step);
    }
    // "...", or "(unreachable)": no text begins so.
    if place.marks & (marks::DIR_TRUNCATED | marks::DIR_UNREACHABLE) != 0 {
        return false;
    }
    if folded == UNFOLDED {
        return false;
    }
    let (name_skip, dir_skip) = (folded & 0xffff_ffff, folded >> 32);
    let up = dir_skip != 0;
    let dir_skip = if up { dir_skip - 1 } else { 0 };
    let (mut dir, mut dir_len) = (place.dir, place.dir_len);
    if dir_skip < dir_len {
        dir += dir_skip;
        dir_len -= dir_skip;
    } else {
        dir_len = 0;
    }
    let (mut name, mut name_len) = (place.name, place.name_len);
    if name_skip < name_len {
        name += name_skip;
        name_len -= name_skip;
    } else {
        name_len = 0;
    }
    // In a deleted directory the last component reads "leaf (deleted)": it is no longer compared as a directory.
    let is_deleted = place.marks & marks::DIR_DELETED != 0 && !up;
    let (leaf, mut leaf_len) = (dir, 0);
    if is_deleted {
        leaf_len = memory.first_slash(dir, dir_len);
        if leaf_len >= dir_len {
            return false;
        }
        dir += leaf_len + 1;
        dir_len -= leaf_len + 1;
    }
    // All of these paths begin with a `/`.
    if step.len == 0 && step.how != how::UNDER {
        return false;
    }
    let r = u64::from(step.dir_len);
    if dir_len > r {
        // The text's directories are the upper end of this one.
        let below = dir_len - r;
        if r != 0 && !(memory.four(dir + below - 1) & 0xff == u32::from(b'/') && memory.equal(dir + below, dir_text, r))
        {
            return false;
        }
        if step.how == how::UNDER {
            return true;
        }
        let rest = u64::from(step.len) - 1 - r;
        if step.how == how::EXACT {
            // Only the directory itself can be it: what is below has one component more.
            return name_len == 0
                && !is_deleted
                && rest != 0
                && below == rest + 1
                && memory.equal(dir, text + 1 + r, rest);
        }
        if rest == 0 {
            return true;
        }
        let start = memory.behind_last_slash(dir, below - 1);
        return rest <= below - 1 - start && memory.equal(dir + start, text + 1 + r, rest);
    }
    // This directory is the upper end of the text's.
    let above = r - dir_len;
    if dir_len != 0 && !memory.equal(dir, dir_text + above, dir_len) {
        return false;
    }
    if step.how == how::UNDER && above == 0 {
        return true;
    }
    // A component begins here in the text, too.
    if above != 0 && memory.text(dir_text + above - 1) & 0xff != u64::from(b'/') {
        return false;
    }
    walk.at = 1 + dir_len;
    if is_deleted {
        walk = piece(walk, step, text, leaf, leaf_len, memory);
        walk = deleted_piece(walk, step, text, memory);
        if name_len != 0 {
            walk = piece(walk, step, text, leaf + leaf_len, 1, memory);
        }
    } else if name_len == 0 && dir_len != 0 {
        // The path is the directory, without a `/` at its end.
        return false;
    }
    walk = piece(walk, step, text, name, name_len, memory);
    agreed(walk, step)
}
