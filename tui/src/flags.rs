//! The flags of an open: names for machines (`O_WRONLY`, `O_CREAT`), letters for narrow columns (`wc`), and the test
//! that the filter language and the capture make of them. One table serves all of it.
//!
//! The values are those of asm-generic/fcntl.h, not those of the libc crate: they differ between architectures
//! (`O_DIRECTORY` of arm64 is `O_DIRECT` of x86-64), a recording is read on another one than it was made on, and so the
//! probe translates them where it must.

/// Bits of the access mode: `O_RDONLY` (0), `O_WRONLY`, `O_RDWR`. It is a number, not a set.
pub const ACCESS: u32 = 0o3;
/// Opens the place in the file system, not the file: neither read nor written, whatever the access mode says.
pub const PATH: u32 = 0o10_000_000;
/// Creates the file if it is not there.
pub const CREAT: u32 = 0o100;
/// Creates a file without a name. Includes `O_DIRECTORY`.
pub const TMPFILE: u32 = 0o20_000_000 | DIRECTORY;
/// Fails unless it is a directory.
const DIRECTORY: u32 = 0o200_000;
/// The caller copes with large files: the kernel sets it on every open of a 64-bit process.
pub const LARGEFILE: u32 = 0o100_000;
/// Set by the kernel on the open of a program that is executed (`__FMODE_EXEC` in `include/linux/fs.h`).
pub const FMODE_EXEC: u32 = 0x20;

/// One flag beside the access mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Name without `O_`, as in "CREAT".
    pub short: &'static str,
    /// Name as open(2) has it.
    pub name: &'static str,
    /// Bits, all of which must be set.
    pub bits: u32,
    /// Letter in narrow columns and in `flags:` of the filter language.
    pub letter: Option<char>,
    /// What it means, in a few words.
    pub doc: &'static str,
}

const fn flag(name: &'static str, bits: u32, letter: char, doc: &'static str) -> Flag {
    let (_, short) = name.split_at(2);
    let letter = if letter == ' ' { None } else { Some(letter) };
    Flag { short, name, bits, letter, doc }
}

/// Every flag beside the access mode. One that includes another stands before it.
pub const FLAGS: &[Flag] = &[
    flag("O_PATH", PATH, 'p', "only the place in the file system"),
    flag("O_CREAT", CREAT, 'c', "created if it is not there"),
    flag("O_EXCL", 0o200, 'x', "fails if it is there already"),
    flag("O_TRUNC", 0o1000, 't', "emptied"),
    flag("O_APPEND", 0o2000, 'a', "written at the end"),
    flag("O_TMPFILE", TMPFILE, 'm', "a file without a name"),
    flag("O_DIRECTORY", DIRECTORY, 'd', "fails unless it is a directory"),
    flag("O_CLOEXEC", 0o2_000_000, 'e', "closed on exec"),
    flag("O_NONBLOCK", 0o4000, 'n', "does not wait"),
    flag("O_SYNC", 0o4_010_000, 's', "each write waits for the disk"),
    flag("O_DSYNC", 0o10_000, 'y', "each write waits for the data to be on disk"),
    flag("O_DIRECT", 0o40_000, 'i', "past the page cache"),
    flag("O_NOFOLLOW", 0o400_000, 'l', "fails on a symbolic link"),
    flag("O_NOATIME", 0o1_000_000, 'o', "leaves the access time alone"),
    flag("O_NOCTTY", 0o400, ' ', "no controlling terminal from it"),
    flag("O_ASYNC", 0o20_000, ' ', "signals when ready"),
    flag("O_LARGEFILE", LARGEFILE, ' ', "copes with large files; the kernel sets it"),
    Flag { short: "FMODE_EXEC", name: "__FMODE_EXEC", bits: FMODE_EXEC, letter: None, doc: "opened to be executed" },
];

/// Whether an open with `flags` may create a file, so that its mode means something.
#[must_use]
pub fn creates(flags: u32) -> bool {
    flags & CREAT != 0 || flags & TMPFILE == TMPFILE
}

/// The access mode's name; `None` with `O_PATH`, where it says nothing.
#[must_use]
pub fn access_name(flags: u32) -> Option<&'static str> {
    if flags & PATH != 0 {
        return None;
    }
    Some(match flags & ACCESS {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        2 => "O_RDWR",
        // open(2): "3 … check for read and write permission … and return a file descriptor that can't be used for
        // reading or writing".
        _ => "O_ACCMODE",
    })
}

/// Gives the names of `flags` to `name`: the access mode first (or `O_PATH`), then the others in the order of [`FLAGS`].
/// Returns the bits that are left over.
pub fn names(flags: u32, mut name: impl FnMut(&'static str)) -> u32 {
    access_name(flags).into_iter().for_each(&mut name);
    let mut rest = flags & !ACCESS;
    for flag in FLAGS {
        if rest == 0 {
            break;
        }
        if rest & flag.bits == flag.bits {
            rest &= !flag.bits;
            name(flag.name);
        }
    }
    rest
}

/// Appends the letters of `flags`: access (`r`, `w`, `rw`, or `p` for `O_PATH`), then one for each flag that has one.
/// The same letters work in the filter language: `flags:wc`.
pub fn push_letters(out: &mut Vec<u8>, flags: u32) {
    if flags & PATH == 0 {
        out.extend_from_slice(match flags & ACCESS {
            0 => b"r",
            1 => b"w",
            2 => b"rw",
            _ => b"-",
        });
    }
    let mut rest = flags & !ACCESS;
    for flag in FLAGS {
        if rest == 0 {
            break;
        }
        if rest & flag.bits == flag.bits {
            rest &= !flag.bits;
            // All letters are ASCII.
            out.extend(flag.letter.map(|c| c as u8));
        }
    }
}

/// What the letters of [`push_letters`] mean, for help and documentation: letter, meaning.
pub fn letters() -> impl Iterator<Item = (char, &'static str)> {
    let access = [('r', "may be read"), ('w', "may be written")];
    access.into_iter().chain(FLAGS.iter().filter_map(|f| f.letter.map(|c| (c, f.doc))))
}

/// A test of flags that one look answers: in the filter, and as it is in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlagTest {
    /// Set of access modes: bit `flags & 3` must be in it.
    pub access: u8,
    /// Bits that must all be set.
    pub set: u32,
    /// Bits that must all be clear.
    pub clear: u32,
}

impl FlagTest {
    /// The test that every open passes.
    pub const ANY: Self = Self { access: 0b1111, set: 0, clear: 0 };

    /// Whether `flags` pass.
    #[must_use]
    pub fn holds(self, flags: u32) -> bool {
        self.access >> (flags & ACCESS) & 1 == 1 && flags & self.set == self.set && flags & self.clear == 0
    }

    /// The test that passes where both do.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { access: self.access & other.access, set: self.set | other.set, clear: self.clear | other.clear }
    }

    fn access(modes: u8) -> Self {
        Self { access: modes, set: 0, clear: PATH }
    }

    /// From what is written behind `flags:`: a name with or without `O_` in any case (`O_CREAT`, `creat`), letters that must all hold
    /// (`wc`), or bits in hexadecimal (`0x40`).
    ///
    /// ```
    /// use opentop::flags::{CREAT, FlagTest};
    ///
    /// let written_and_created = FlagTest::parse("wc").unwrap();
    /// assert!(written_and_created.holds(1 | CREAT) && !written_and_created.holds(CREAT));
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let by_name = |name: &str| {
            let access = [("RDONLY", 0b0001), ("WRONLY", 0b0010), ("RDWR", 0b0100), ("ACCMODE", 0b1000)];
            let plain =
                name.get(..2).filter(|p| p.eq_ignore_ascii_case("O_")).and_then(|_| name.get(2..)).unwrap_or(name);
            if let Some((_, modes)) = access.iter().find(|(n, _)| n.eq_ignore_ascii_case(plain)) {
                return Some(Self::access(*modes));
            }
            let flag =
                FLAGS.iter().find(|f| f.short.eq_ignore_ascii_case(plain) || f.name.eq_ignore_ascii_case(name))?;
            Some(Self { set: flag.bits, ..Self::ANY })
        };
        if let Some(test) = by_name(text) {
            return Some(test);
        }
        if let Some(hex) = text.strip_prefix("0x") {
            return Some(Self {
                set: u32::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'))?,
                ..Self::ANY
            });
        }
        let mut test = Self::ANY;
        for c in text.chars() {
            test = test.and(match c {
                'r' => Self::access(0b0101),
                'w' => Self::access(0b0110),
                _ => Self { set: FLAGS.iter().find(|f| f.letter == Some(c))?.bits, ..Self::ANY },
            });
        }
        (!text.is_empty()).then_some(test)
    }
}

/// Bits of `resolve` of openat2(2) with their names (`linux/openat2.h`).
pub const RESOLVE: &[(u32, &str)] = &[
    (0x01, "RESOLVE_NO_XDEV"),
    (0x02, "RESOLVE_NO_MAGICLINKS"),
    (0x04, "RESOLVE_NO_SYMLINKS"),
    (0x08, "RESOLVE_BENEATH"),
    (0x10, "RESOLVE_IN_ROOT"),
    (0x20, "RESOLVE_CACHED"),
];

/// The flags of `resolve` by name, in one line; bits without a name in hexadecimal behind them.
#[must_use]
pub fn resolve_names(bits: u32) -> String {
    let known = RESOLVE.iter().filter(|(bit, _)| bits & bit != 0);
    let rest = bits & !RESOLVE.iter().fold(0, |all, (bit, _)| all | bit);
    let rest = (rest != 0).then(|| format!("0x{rest:x}"));
    known.map(|(_, name)| (*name).to_owned()).chain(rest).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolve_flags_have_their_names_and_others_their_bits() {
        assert_eq!(resolve_names(0x08), "RESOLVE_BENEATH");
        assert_eq!(resolve_names(0x105), "RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | 0x100");
    }

    fn all(flags: i32) -> (Vec<&'static str>, u32) {
        let mut all = Vec::new();
        let rest = names(flags as u32, |name| all.push(name));
        (all, rest)
    }

    fn letters_of(flags: i32) -> String {
        let mut out = Vec::new();
        push_letters(&mut out, flags as u32);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_access_mode_comes_first_and_unknown_bits_are_left_over() {
        assert_eq!(all(libc::O_RDONLY), (vec!["O_RDONLY"], 0));
        assert_eq!(all(libc::O_RDWR | libc::O_CLOEXEC | libc::O_CREAT), (vec!["O_RDWR", "O_CREAT", "O_CLOEXEC"], 0));
        assert_eq!(all(libc::O_WRONLY | 0x4000_0000), (vec!["O_WRONLY"], 0x4000_0000));
        assert_eq!(all(3), (vec!["O_ACCMODE"], 0));
    }

    #[test]
    fn an_o_path_open_has_no_access_mode() {
        assert_eq!(all(libc::O_PATH | libc::O_RDWR), (vec!["O_PATH"], 0));
    }

    #[test]
    fn a_flag_that_includes_another_is_named_once() {
        assert_eq!(all(libc::O_TMPFILE | libc::O_RDWR), (vec!["O_RDWR", "O_TMPFILE"], 0));
        assert_eq!(all(libc::O_SYNC), (vec!["O_RDONLY", "O_SYNC"], 0));
        assert_eq!(all(libc::O_DSYNC), (vec!["O_RDONLY", "O_DSYNC"], 0));
        assert_eq!(all(libc::O_DIRECTORY), (vec!["O_RDONLY", "O_DIRECTORY"], 0));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_values_are_those_of_the_c_library_here() {
        for (name, value) in [
            ("O_PATH", libc::O_PATH),
            ("O_CREAT", libc::O_CREAT),
            ("O_EXCL", libc::O_EXCL),
            ("O_TRUNC", libc::O_TRUNC),
            ("O_APPEND", libc::O_APPEND),
            ("O_TMPFILE", libc::O_TMPFILE),
            ("O_DIRECTORY", libc::O_DIRECTORY),
            ("O_CLOEXEC", libc::O_CLOEXEC),
            ("O_NONBLOCK", libc::O_NONBLOCK),
            ("O_SYNC", libc::O_SYNC),
            ("O_DSYNC", libc::O_DSYNC),
            ("O_DIRECT", libc::O_DIRECT),
            ("O_NOFOLLOW", libc::O_NOFOLLOW),
            ("O_NOATIME", libc::O_NOATIME),
            ("O_NOCTTY", libc::O_NOCTTY),
            ("O_ASYNC", libc::O_ASYNC),
        ] {
            let flag = FLAGS.iter().find(|flag| flag.name == name).unwrap();
            assert_eq!(flag.bits, value as u32, "{name}");
        }
    }

    #[test]
    fn every_name_and_letter_is_distinct() {
        let mut names: Vec<_> = FLAGS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FLAGS.len());
        let mut seen: Vec<_> = letters().map(|(c, _)| c).collect();
        seen.sort_unstable();
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn letters_say_the_same_in_a_column_and_in_a_filter() {
        assert_eq!(letters_of(libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC), "rwcte");
        assert_eq!(letters_of(libc::O_PATH), "p");
        assert_eq!(letters_of(3), "-");
        for flag in FLAGS.iter().filter(|f| f.letter.is_some()) {
            for access in 0..3 {
                let flags = flag.bits | access;
                let letters = letters_of(flags as i32);
                assert!(FlagTest::parse(&letters).unwrap().holds(flags), "{letters} of {}", flag.name);
            }
        }
    }

    #[test]
    fn a_flag_test_reads_names_letters_and_bits() {
        let holds = |text: &str, flags: i32| FlagTest::parse(text).unwrap().holds(flags as u32);
        assert!(holds("w", libc::O_WRONLY) && holds("w", libc::O_RDWR) && !holds("w", libc::O_RDONLY));
        assert!(holds("r", libc::O_RDONLY) && holds("r", libc::O_RDWR) && !holds("r", libc::O_WRONLY));
        assert!(!holds("r", libc::O_PATH) && !holds("w", 3) && !holds("r", 3));
        assert!(holds("rw", libc::O_RDWR) && !holds("rw", libc::O_RDONLY));
        assert!(holds("O_RDONLY", libc::O_RDONLY) && !holds("rdonly", libc::O_RDWR));
        assert!(holds("creat", libc::O_CREAT) && holds("O_Creat", libc::O_CREAT) && holds("wc", libc::O_CREAT | 1));
        assert!(holds("0x40", 0x40) && !holds("0x40", 0));
        for wrong in ["", "O_NOPE", "z", "0x", "0x+4", "é", "O_é"] {
            assert_eq!(FlagTest::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_creation_gives_the_mode_a_meaning() {
        assert!(creates(libc::O_CREAT as u32) && creates(libc::O_TMPFILE as u32));
        assert!(!creates(libc::O_DIRECTORY as u32) && !creates(libc::O_RDWR as u32));
    }
}
