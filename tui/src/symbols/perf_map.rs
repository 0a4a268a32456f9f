//! Perf maps: what just-in-time compilers tell of the code they made, in `/tmp/perf-PID.map`.
//! See tools/perf/Documentation/jit-interface.txt of the kernel.

/// Longest file that is read, bytes; of a longer one its beginning.
pub(super) const BYTES_MAX: u64 = 32 << 20;

/// Functions by where they begin.
#[derive(Clone, Debug, Default)]
pub(super) struct PerfMap {
    functions: Vec<Function>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Function {
    start: u64,
    len: u64,
    name: Box<[u8]>,
}

impl PerfMap {
    /// Lines of `START SIZE NAME`, both numbers in hexadecimal; others are passed over.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut functions: Vec<Function> = text.split(|b| *b == b'\n').filter_map(line).collect();
        // What was told later took the place of what was there before.
        functions.sort_by_key(|function| function.start);
        Self { functions }
    }

    /// The function at an address, and the bytes from its beginning.
    pub(super) fn find(&self, address: u64) -> Option<(&[u8], u64)> {
        let behind = self.functions.partition_point(|function| function.start <= address);
        let function = self.functions.get(behind.checked_sub(1)?)?;
        let offset = address - function.start;
        (offset < function.len).then_some((&*function.name, offset))
    }
}

fn line(line: &[u8]) -> Option<Function> {
    let (start, rest) = word(line)?;
    let (len, name) = word(rest)?;
    let number = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?;
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    };
    Some(Function { start: number(start)?, len: number(len)?, name: name.into() })
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|b| *b == b' ')?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_belongs_to_the_function_it_lies_in() {
        let map = PerfMap::parse(b"2000 10 later\n0x1000 20 py::read config:/a.py\ngarbage\n\n1000 zz x\n");
        assert_eq!(map.find(0x1000), Some((&b"py::read config:/a.py"[..], 0)));
        assert_eq!(map.find(0x101f), Some((&b"py::read config:/a.py"[..], 0x1f)));
        assert_eq!(map.find(0x1020), None);
        assert_eq!(map.find(0x2008), Some((&b"later"[..], 8)));
        assert_eq!(map.find(0xfff), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..300), at in any::<u64>()) {
            PerfMap::parse(&text).find(at);
        }
    }
}
