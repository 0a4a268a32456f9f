//! The running kernel's BTF, as far as the probe needs it: where a member of a struct is, whether a function or an
//! enumerator exists. aya reads BTF to relocate programs and keeps the members to itself; Rust programs emit no
//! CO-RE relocations, so the offsets are looked up here and handed to the probe as globals.
//!
//! A kernel has some 100,000 types. They are walked once, and what is asked for by name is found by a sorted index.
//!
//! Format: <https://docs.kernel.org/bpf/btf.html>. Total: bad bytes give `None`, never a panic.

use std::{fs, hash::BuildHasher as _, io, path::Path};

use aya::{Btf as AyaBtf, Endianness};
use rustc_hash::FxBuildHasher;

/// Where the kernel shows its own.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;
const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// A parsed BTF blob: the types by id, and those that are asked for by name.
pub(super) struct Btf {
    data: Vec<u8>,
    strings: (usize, usize),
    /// Where each type begins in `data`; index 0 is `void`.
    types: Vec<u32>,
    /// Hash of the name and id of every struct, union, enum and function that has a name and is more than a declaration,
    /// sorted.
    named: Vec<(u32, u32)>,
}

/// One type's fixed part.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    vlen: usize,
    kind_flag: bool,
    size_or_type: u32,
    /// Where what follows the fixed part begins.
    rest: usize,
}

impl Btf {
    /// Reads and parses a file, usually [`VMLINUX`].
    ///
    /// # Errors
    /// When it cannot be read, or is no BTF of this machine's byte order.
    pub(super) fn read(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::parse(fs::read(path)?).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a BTF blob"))
    }

    fn parse(data: Vec<u8>) -> Option<Self> {
        if u16::from_ne_bytes(data.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let word = |at: usize| -> Option<usize> { usize::try_from(u32_at(&data, at)?).ok() };
        let header = word(4)?.max(HEADER_LEN);
        let (type_off, type_len, str_off, str_len) = (word(8)?, word(12)?, word(16)?, word(20)?);
        let mut at = header.checked_add(type_off)?;
        let end = at.checked_add(type_len)?;
        let strings = (header.checked_add(str_off)?, header.checked_add(str_off)?.checked_add(str_len)?);
        if end > data.len() || strings.1 > data.len() {
            return None;
        }
        let mut btf = Self { data, strings, types: vec![0], named: Vec::new() };
        while at < end {
            let ty = btf.type_at(at)?;
            if ty.is_looked_up()
                && let Some(name) = btf.name(ty.name).filter(|name| !name.is_empty())
            {
                btf.named.push((hash(name), u32::try_from(btf.types.len()).ok()?));
            }
            btf.types.push(u32::try_from(at).ok()?);
            at = ty.rest.checked_add(rest_len(&ty)?)?;
        }
        btf.named.sort_unstable();
        Some(btf)
    }

    /// A string of the blob, without its end.
    fn name(&self, at: u32) -> Option<&[u8]> {
        let strings = self.data.get(self.strings.0..self.strings.1)?;
        strings.get(at as usize..)?.split(|byte| *byte == 0).next()
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = u32_at(&self.data, at + 4)?;
        Some(Type {
            name: u32_at(&self.data, at)?,
            kind: info >> 24 & 0x1f,
            vlen: (info & 0xffff) as usize,
            kind_flag: info >> 31 != 0,
            size_or_type: u32_at(&self.data, at + 8)?,
            rest: at + 12,
        })
    }

    fn get(&self, id: u32) -> Option<Type> {
        match self.types.get(usize::try_from(id).ok()?)? {
            0 => None,
            at => self.type_at(*at as usize),
        }
    }

    fn is_named(&self, name: u32, wanted: &[u8]) -> bool {
        let start = self.strings.0 + name as usize;
        let end = start + wanted.len();
        end < self.strings.1 && self.data.get(start..end) == Some(wanted) && self.data.get(end) == Some(&0)
    }

    /// The first type of this name that is `wanted`, with its id.
    fn find(&self, name: &str, wanted: impl Fn(&Type) -> bool) -> Option<(u32, Type)> {
        let (name, hash) = (name.as_bytes(), hash(name.as_bytes()));
        let from = self.named.partition_point(|(other, _)| *other < hash);
        let alike = self.named.get(from..)?.iter().take_while(|(other, _)| *other == hash);
        alike
            .filter_map(|(_, id)| Some((*id, self.get(*id)?)))
            .find(|(_, ty)| wanted(ty) && self.is_named(ty.name, name))
    }

    fn struct_named(&self, name: &str) -> Option<Type> {
        self.find(name, |t| matches!(t.kind, KIND_STRUCT | KIND_UNION)).map(|(_, t)| t)
    }

    /// Size of a struct or union, bytes.
    #[must_use]
    pub(super) fn size(&self, name: &str) -> Option<u32> {
        self.struct_named(name).map(|t| t.size_or_type)
    }

    /// Offset of a member, bytes: `"cqe.res"` of `io_kiocb`, through anonymous structs and unions.
    /// `None` when the kernel has no such member, or it is a bit field.
    #[must_use]
    pub(super) fn offset(&self, of: &str, member: &str) -> Option<u32> {
        let mut within = self.struct_named(of);
        let mut offset = 0;
        for part in member.split('.') {
            let (at, id) = self.member(&within?, part.as_bytes(), 0)?;
            offset += at;
            within = self.resolved(id);
        }
        Some(offset)
    }

    /// A member's offset in bytes and its type.
    fn member(&self, of: &Type, name: &[u8], depth: u32) -> Option<(u32, u32)> {
        if !matches!(of.kind, KIND_STRUCT | KIND_UNION) || depth > 8 {
            return None;
        }
        for i in 0..of.vlen {
            let at = of.rest + 12 * i;
            let (name_at, id, bits) =
                (u32_at(&self.data, at)?, u32_at(&self.data, at + 4)?, u32_at(&self.data, at + 8)?);
            let (bits, is_bit_field) = if of.kind_flag { (bits & 0xff_ffff, bits >> 24 != 0) } else { (bits, false) };
            if self.is_named(name_at, name) {
                return (!is_bit_field && bits % 8 == 0).then_some((bits / 8, id));
            }
            if self.is_named(name_at, b"")
                && let Some((inner, id)) = self.resolved(id).and_then(|ty| self.member(&ty, name, depth + 1))
            {
                return Some((bits / 8 + inner, id));
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn resolved(&self, mut id: u32) -> Option<Type> {
        for _ in 0..16 {
            let ty = self.get(id)?;
            match ty.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => id = ty.size_or_type,
                _ => return Some(ty),
            }
        }
        None
    }

    /// Id of a kernel function; `None` when the kernel has no such function in its BTF.
    #[must_use]
    pub(super) fn function(&self, function: &str) -> Option<u32> {
        self.find(function, |t| t.kind == KIND_FUNC).map(|(id, _)| id)
    }

    /// Number of parameters of a kernel function; `None` when the kernel has no such function in its BTF.
    #[must_use]
    pub(super) fn parameters(&self, function: &str) -> Option<usize> {
        let (_, ty) = self.find(function, |t| t.kind == KIND_FUNC)?;
        let proto = self.get(ty.size_or_type)?;
        (proto.kind == KIND_FUNC_PROTO).then_some(proto.vlen)
    }

    /// The kernel's BTF as far as aya needs it to load programs for `functions`: these by their ids, and nothing of the
    /// rest but its number. aya parses every type it is given into one of its own and goes through them all for each
    /// function.
    #[must_use]
    pub(super) fn only(&self, functions: &[&str]) -> Option<AyaBtf> {
        let mut strings = vec![0];
        let mut found: Vec<(u32, u32)> = Vec::new();
        for function in functions {
            let Some(id) = self.function(function) else { continue };
            found.push((id, u32::try_from(strings.len()).ok()?));
            strings.extend_from_slice(function.as_bytes());
            strings.push(0);
        }
        found.sort_unstable();
        let mut types: Vec<u32> = Vec::new();
        let mut next = 1;
        for (id, name) in found {
            // Ids are places in the list: whatever lies between is filled with declarations that have no name.
            for _ in next..id {
                types.extend([0, KIND_FWD << 24, 0]);
            }
            types.extend([name, KIND_FUNC << 24, 0]);
            next = id + 1;
        }
        let type_len = u32::try_from(4 * types.len()).ok()?;
        let mut blob = MAGIC.to_ne_bytes().to_vec();
        blob.extend([1, 0]);
        for word in [24, 0, type_len, type_len, u32::try_from(strings.len()).ok()?] {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend(types.iter().flat_map(|word| word.to_ne_bytes()));
        blob.extend(strings);
        AyaBtf::parse(&blob, Endianness::default()).ok()
    }

    /// Whether an enum of this name has an enumerator of that name.
    #[must_use]
    pub(super) fn has_enumerator(&self, of: &str, name: &str) -> bool {
        let Some((_, ty)) = self.find(of, |t| t.kind == KIND_ENUM) else { return false };
        (0..ty.vlen).any(|i| u32_at(&self.data, ty.rest + 8 * i).is_some_and(|n| self.is_named(n, name.as_bytes())))
    }
}

impl Type {
    /// Whether anybody asks for its like by name. A struct or an enum without members is a mere declaration.
    fn is_looked_up(&self) -> bool {
        match self.kind {
            KIND_STRUCT | KIND_UNION | KIND_ENUM => self.vlen > 0,
            KIND_FUNC => true,
            _ => false,
        }
    }
}

fn hash(name: &[u8]) -> u32 {
    // The upper half: the better mixed one.
    (FxBuildHasher.hash_one(name) >> 32) as u32
}

/// Bytes that follow the fixed part of a type.
fn rest_len(ty: &Type) -> Option<usize> {
    Some(match ty.kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * ty.vlen,
        KIND_ENUM | KIND_FUNC_PROTO => 8 * ty.vlen,
        1..=19 => 0,
        // A kind from the future: its length is unknown, so is all behind it.
        _ => return None,
    })
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `struct s { int a; union { struct { long b; }; }; struct t in; }`, `struct t { int x; int y; }`, `enum e { ONE }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0s\0a\0b\0in\0t\0x\0y\0e\0ONE\0int\0";
        let at = |s: &[u8]| {
            let mut wanted = vec![0];
            wanted.extend_from_slice(s);
            wanted.push(0);
            u32::try_from(strings.windows(wanted.len()).position(|w| w == wanted).unwrap() + 1).unwrap()
        };
        let mut types: Vec<u32> = Vec::new();
        let mut add = |words: &[u32]| types.extend_from_slice(words);
        add(&[at(b"int"), KIND_INT << 24, 4, 32]); // 1
        add(&[0, KIND_STRUCT << 24 | 1, 8, at(b"b"), 1, 0]); // 2
        add(&[0, KIND_UNION << 24 | 1, 8, 0, 2, 0]); // 3
        add(&[at(b"t"), KIND_STRUCT << 24 | 2, 8, at(b"x"), 1, 0, at(b"y"), 1, 32]); // 4
        add(&[at(b"s"), KIND_STRUCT << 24 | 3, 24, at(b"a"), 1, 0, 0, 3, 64, at(b"in"), 4, 128]); // 5
        add(&[at(b"e"), KIND_ENUM << 24 | 1, 4, at(b"ONE"), 1]); // 6
        add(&[0, KIND_FUNC_PROTO << 24 | 1, 1, at(b"x"), 1]); // 7
        add(&[at(b"int"), KIND_FUNC << 24, 7]); // 8: a function may have the name of a type
        let type_bytes: Vec<u8> = types.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let type_len = u32::try_from(type_bytes.len()).unwrap();
        let mut data = 0xeb9fu16.to_ne_bytes().to_vec();
        data.extend([1, 0]);
        for word in [24, 0, type_len, type_len, u32::try_from(strings.len()).unwrap()] {
            data.extend(word.to_ne_bytes());
        }
        data.extend(type_bytes);
        data.extend_from_slice(strings);
        data
    }

    #[test]
    fn members_are_found_through_anonymous_ones_and_dots() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.offset("s", "a"), Some(0));
        assert_eq!(btf.offset("s", "b"), Some(8));
        assert_eq!(btf.offset("s", "in.y"), Some(20));
        assert_eq!(btf.offset("s", "a.x"), None);
        assert_eq!(btf.offset("s", "nothing"), None);
        assert_eq!(btf.size("s"), Some(24));
        assert!(btf.has_enumerator("e", "ONE"));
        assert!(!btf.has_enumerator("e", "TWO"));
    }

    #[test]
    fn a_name_is_looked_up_among_its_kind_and_declarations_are_passed_over() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.function("int"), Some(8));
        assert_eq!(btf.parameters("int"), Some(1));
        assert_eq!(btf.size("int"), None, "an int is no struct");
        assert_eq!(btf.function("s"), None);
        assert_eq!(btf.function(""), None);
        assert_eq!(btf.named.len(), 4, "s, t, e and a function");
    }

    #[test]
    fn what_aya_is_given_has_the_functions_by_their_ids_and_no_more() {
        let btf = Btf::parse(sample()).unwrap();
        let only = Btf::parse(btf.only(&["missing", "int"]).unwrap().to_bytes()).unwrap();
        assert_eq!(only.function("int"), Some(8));
        assert_eq!(only.function("missing"), None);
        assert_eq!(only.named.len(), 1);
        assert_eq!(only.types.len(), 9);
    }

    #[test]
    fn this_kernel_has_what_the_probe_reads() {
        let Ok(btf) = Btf::read(VMLINUX) else {
            #[allow(clippy::print_stderr, reason = "a skip must be loud")]
            {
                eprintln!("SKIPPED: this kernel has no {VMLINUX}");
            }
            return;
        };
        assert!(btf.offset("task_struct", "group_leader").is_some());
        assert_eq!(btf.offset("filename", "name"), Some(0));
        assert_eq!(btf.parameters("do_sys_openat2"), Some(3));
        let only = Btf::parse(btf.only(&["do_sys_openat2"]).unwrap().to_bytes()).unwrap();
        assert_eq!(only.function("do_sys_openat2"), btf.function("do_sys_openat2"));
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(at in 0usize..200, to in any::<u8>(), cut in 0usize..240) {
            let mut data = sample();
            if let Some(byte) = data.get_mut(at) {
                *byte = to;
            }
            data.truncate(cut.max(2));
            if let Some(btf) = Btf::parse(data) {
                let _ = (btf.offset("s", "in.y"), btf.offset("s", "b"), btf.has_enumerator("e", "ONE"), btf.parameters("s"));
            }
        }
    }
}
