//! `/proc/PID/maps`: which file lies where in a process. See proc_pid_maps(5).

use std::ops::Range;

/// One mapping that code can be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// Where it lies.
    pub(super) addresses: Range<u64>,
    /// Where in the file it begins, bytes.
    pub(super) offset: u64,
    /// What lies there, as the process sees it: a path, `[vdso]`, or nothing. Bytes from outside.
    pub(super) path: Box<[u8]>,
}

impl Mapping {
    /// Where in the file an address is, bytes.
    pub(super) fn file_offset(&self, address: u64) -> u64 {
        address.saturating_sub(self.addresses.start).saturating_add(self.offset)
    }

    /// Whether it is of a file that can be opened.
    pub(super) fn is_file(&self) -> bool {
        self.path.first() == Some(&b'/') && !self.path.ends_with(b" (deleted)")
    }
}

/// The mappings that may hold code, in the order of their addresses.
pub(super) fn parse(text: &[u8]) -> Vec<Mapping> {
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

/// `7f0c5a3c1000-7f0c5a516000 r-xp 00026000 fe:01 393307    /usr/lib/x86_64-linux-gnu/libc.so.6`
fn line(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut word = || {
        let start = rest.iter().position(|b| *b != b' ')?;
        let from = rest.get(start..)?;
        let end = from.iter().position(|b| *b == b' ').unwrap_or(from.len());
        let (word, behind) = from.split_at(end);
        rest = behind;
        std::str::from_utf8(word).ok()
    };
    let (start, end) = word()?.split_once('-')?;
    let executable = word()?.as_bytes().get(2) == Some(&b'x');
    let offset = u64::from_str_radix(word()?, 16).ok()?;
    let (_device, _inode) = (word()?, word()?);
    let addresses = u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?;
    let path = rest.iter().position(|b| *b != b' ').and_then(|at| rest.get(at..)).unwrap_or_default();
    executable.then(|| Mapping { addresses, offset, path: unescaped(path) })
}

/// The kernel writes a line end in a name as `\012`, and nothing else in another way (`seq_file_path` with "\n").
fn unescaped(path: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(b"\\012") {
            out.push(b'\n');
            rest = behind;
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_can_be_executed_is_kept_with_its_place_in_the_file() {
        let text = b"\
55d0e8a00000-55d0e8a21000 r--p 00000000 fe:01 1310900                    /usr/bin/my prog
55d0e8a21000-55d0e8b02000 r-xp 00021000 fe:01 1310900                    /usr/bin/my prog
7f1000000000-7f1000001000 rwxp 00000000 00:00 0 
7f2000000000-7f2000001000 r-xp 00001000 fe:01 7                          /tmp/a\\012b (deleted)
7ffd1a5f3000-7ffd1a5f5000 r-xp 00000000 00:00 0                          [vdso]
";
        let all = parse(text);
        assert_eq!(all.len(), 4);
        assert_eq!(&*all[0].path, b"/usr/bin/my prog");
        assert_eq!(all[0].file_offset(0x55d0_e8a2_1010), 0x21010);
        assert!(all[0].is_file());
        assert_eq!((&*all[1].path, all[1].is_file()), (&b""[..], false));
        assert_eq!((&*all[2].path, all[2].is_file()), (&b"/tmp/a\nb (deleted)"[..], false));
        assert_eq!(&*all[3].path, b"[vdso]");
    }

    #[test]
    fn this_process_knows_where_its_own_code_lies() {
        let here = parse as *const () as u64;
        let maps = parse(&std::fs::read("/proc/self/maps").unwrap());
        let mapping = maps.iter().find(|m| m.addresses.contains(&here)).unwrap();
        assert_eq!(mapping.path, std::env::current_exe().unwrap().into_os_string().into_encoded_bytes().into());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&text);
        }
    }
}
