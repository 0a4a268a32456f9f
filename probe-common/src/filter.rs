//! The capture filter: a small program in plain data, and what runs it. The probe runs it on opens in the kernel, tests
//! run the same code on records in user space.
//!
//! A program is a list of steps. Each checks one thing and names the step to go on with, one for either answer; steps
//! only lead forward, so that [`STEPS`] of them end. Written for the verifier of 5.10: no loop that is not counted, no
//! index that is not masked.

mod path;

use bytemuck::{Pod, Zeroable};

pub use path::{FOLDS, Memory, Place, UNFOLDED, UP, first, fold, last, leading, mask, path_matches, slashes};

/// Most steps of a program. A power of two: an index is masked by it.
pub const STEPS: usize = 64;

/// Most bytes of text in a step.
pub const TEXT_MAX: usize = 256;

/// [`Step::on_true`], [`Step::on_false`]: the open is captured.
pub const PASS: u16 = 0x100;

/// The same: it is not.
pub const FAIL: u16 = 0x101;

/// Values of [`Step::check`]. Those below [`check::ERRNO`] are known when an open begins, those below [`check::PATH`] when
/// it returns, the path when its name was read.
pub mod check {
    /// The process is in one of the trees `a`, see [`super::Program::trees`].
    pub const TREE: u8 = 0;
    /// The process (tgid) is from `a` to `b`. So are the other numbers.
    pub const PID: u8 = 1;
    /// The thread.
    pub const TID: u8 = 2;
    /// tgid of the parent.
    pub const PPID: u8 = 3;
    /// Real uid.
    pub const UID: u8 = 4;
    /// cgroup v2 id.
    pub const CGROUP: u8 = 5;
    /// The two words of comm, masked by `c` and `d`, are `a` and `b`.
    pub const COMM: u8 = 6;
    /// All bits of `a` are set, none of `b`, and the access mode is in the set `c`.
    pub const FLAGS: u8 = 7;
    /// The route is in the set `a`.
    pub const ROUTE: u8 = 8;
    /// errno of a failure; a success has none.
    pub const ERRNO: u8 = 9;
    /// Duration, ns; an open whose entry was not seen has none.
    pub const DURATION: u8 = 10;
    /// As [`FLAGS`], where it asks for a flag that the kernel's own additions hide until the return (`O_LARGEFILE`).
    pub const FLAGS_AT_RETURN: u8 = 11;
    /// The path, by [`super::how`].
    pub const PATH: u8 = 12;
}

/// Values of [`Step::how`].
pub mod how {
    /// All of it.
    pub const EXACT: u8 = 0;
    /// Its beginning.
    pub const PREFIX: u8 = 1;
    /// Its beginning, behind which it ends or a `/` follows.
    pub const UNDER: u8 = 2;
}

/// One step.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Step {
    /// One of [`check`].
    pub check: u8,
    /// Non-zero: it must not hold.
    pub negated: u8,
    /// One of [`how`], for a path.
    pub how: u8,
    /// Zero.
    pub reserved: u8,
    /// What to go on with when it holds: a later step, [`PASS`] or [`FAIL`].
    pub on_true: u16,
    /// The same when it does not.
    pub on_false: u16,
    /// Bytes of [`Text::path`].
    pub len: u16,
    /// Bytes of [`Text::dir`].
    pub dir_len: u16,
    /// Zero.
    pub reserved2: u32,
    /// What the check says.
    pub a: u64,
    /// The same.
    pub b: u64,
    /// The same.
    pub c: u64,
    /// The same.
    pub d: u64,
}

/// The text of the step with the same index, padded with zeros.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Text {
    /// The path, or its beginning.
    pub path: [u8; TEXT_MAX],
    /// Its directories as records have them: leaf first, each followed by a `/`. Without what is behind the last `/`,
    /// except with [`how::UNDER`], where all of it is a directory.
    pub dir: [u8; TEXT_MAX],
}

/// A program, in one of the two slots of the `FILTER` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Program {
    /// With [`super::capture::SCOPE`]: the process must be in one of these trees. Each bit is a process with its
    /// descendants, as in the values of the `SCOPE` map.
    pub trees: u64,
    /// With [`super::capture::UID`]: the uid.
    pub uid: u32,
    /// Zero.
    pub reserved: u32,
    /// The steps; it begins with the first.
    pub steps: [Step; STEPS],
    /// Their texts.
    pub texts: [Text; STEPS],
    /// Zeros: a text is read in whole words.
    pub slack: [u64; 32],
}

/// Whether what a step checks is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is.
    Yes,
    /// Not yet: it may hold or not, a later run decides.
    Later,
    /// It is not and will not be: neither it nor its contrary holds.
    Never,
}

/// An open as a program sees it.
pub trait Open {
    /// Whether what `check` looks at is known.
    fn known(&self, check: u8) -> Known;
    /// A number, the flags or the route, by [`check`]; `None` where it has none.
    fn number(&self, check: u8) -> Option<u64>;
    /// Trees that the process is in.
    fn trees(&self) -> u64;
    /// The words of comm.
    fn comm(&self) -> [u64; 2];
}

/// Answer of [`follow`]: the path has to be compared, see [`path_matches`].
pub const ASK_PATH: u32 = 0x102;

/// What to go on with after `step`: another step, [`PASS`], [`FAIL`] or [`ASK_PATH`].
#[inline(always)]
pub fn follow(step: &Step, open: &impl Open) -> u32 {
    match open.known(step.check) {
        Known::Yes => {}
        Known::Later => return u32::from(step.on_true),
        Known::Never => return u32::from(step.on_false),
    }
    let holds = match step.check {
        check::TREE => open.trees() & step.a != 0,
        check::COMM => {
            let comm = open.comm();
            comm[0] & step.c == step.a && comm[1] & step.d == step.b
        }
        check::FLAGS | check::FLAGS_AT_RETURN => {
            let flags = open.number(check::FLAGS).unwrap_or(0);
            flags & step.a == step.a && flags & step.b == 0 && (step.c >> (flags & 3)) & 1 != 0
        }
        check::ROUTE => (step.a >> (open.number(check::ROUTE).unwrap_or(0) & 63)) & 1 != 0,
        check::PATH => return ASK_PATH,
        number => match open.number(number) {
            Some(value) => step.a <= value && value <= step.b,
            None => false,
        },
    };
    answered(step, holds)
}

/// What to go on with after a step whose check has this answer.
#[inline(always)]
pub fn answered(step: &Step, holds: bool) -> u32 {
    u32::from(if holds != (step.negated != 0) { step.on_true } else { step.on_false })
}

/// Runs a program. `step` answers an index with what [`follow`] says of that step, `path`, where that is [`ASK_PATH`], with
/// what [`answered`] says.
#[inline(always)]
pub fn run(mut step: impl FnMut(u32) -> u32, mut path: impl FnMut(u32) -> u32) -> bool {
    let mut at = 0;
    for _ in 0..STEPS {
        let next = step(at);
        at = if next == ASK_PATH { path(at) } else { next };
        if at >= STEPS as u32 {
            return at == u32::from(PASS);
        }
    }
    false
}
