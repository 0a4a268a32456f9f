//! Names within programs and libraries: blazesym reads their symbols and debug info.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use blazesym::symbolize::{
    CodeInfo, Input, Sym, Symbolized, Symbolizer,
    source::{Elf, Source},
};

use super::file_name;
use crate::{run::fault::contained, source::Frame};

/// Files that are kept open with their symbols; beyond it all are let go.
const FILES_MAX: usize = 256;

/// Files longer than this are read for their symbols alone: debug info of such a size takes seconds and gigabytes.
const DEBUG_BYTES_MAX: u64 = 256 << 20;

/// The files that were read.
#[derive(Default)]
pub(super) struct Files {
    symbolizer: Option<Symbolizer>,
    known: HashSet<PathBuf>,
    /// Files without a path of ours, by device and inode.
    opened: HashMap<(u64, u64), File>,
}

impl Files {
    /// A path by which an open file can be read for as long as it is kept.
    pub(super) fn opened(&mut self, file: File) -> Option<PathBuf> {
        let meta = file.metadata().ok()?;
        if self.opened.len() >= FILES_MAX {
            self.let_go();
        }
        let kept = self.opened.entry((meta.dev(), meta.ino())).or_insert(file);
        Some(PathBuf::from(format!("/proc/self/fd/{}", kept.as_raw_fd())))
    }

    /// A descriptor's number is used again: with the files goes what was read of them.
    fn let_go(&mut self) {
        self.symbolizer = None;
        self.known.clear();
        self.opened.clear();
    }

    /// Appends what is at `offset` of a file: the functions that were inlined there, innermost first, then the one they
    /// are in. Nothing when the file does not tell.
    pub(super) fn frames(&mut self, path: &Path, offset: u64, frame: &Frame, out: &mut Vec<Frame>) -> Option<()> {
        if self.known.len() >= FILES_MAX && !self.known.contains(path) {
            self.known.clear();
            self.symbolizer = None;
        }
        if self.known.insert(path.to_owned()) {
            // What is no regular file may never answer.
            let is_file = std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
            if !is_file {
                self.known.remove(path);
                return None;
            }
        }
        let symbolizer = self.symbolizer.get_or_insert_with(Symbolizer::new);
        let mut elf = Elf::new(path);
        elf.debug_syms = std::fs::metadata(path).is_ok_and(|meta| meta.len() <= DEBUG_BYTES_MAX);
        let found = contained(|| match symbolizer.symbolize_single(&Source::Elf(elf), Input::FileOffset(offset)) {
            Ok(Symbolized::Sym(sym)) => Some(frames_of(&sym, frame)),
            Ok(Symbolized::Unknown(_)) | Err(_) => None,
        });
        if found.is_none() {
            // It stopped half way.
            self.symbolizer = None;
        }
        out.extend(found??);
        Some(())
    }
}

fn frames_of(sym: &Sym<'_>, frame: &Frame) -> Vec<Frame> {
    let inlined = sym.inlined.iter().rev().map(|inlined| Frame {
        function: inlined.name.as_bytes().into(),
        source: inlined.code_info.as_ref().map_or_else(Box::default, source_of),
        inlined: true,
        ..frame.clone()
    });
    let function = Frame {
        function: sym.name.as_bytes().into(),
        offset: sym.offset as u64,
        source: sym.code_info.as_deref().map_or_else(Box::default, source_of),
        ..frame.clone()
    };
    inlined.chain(std::iter::once(function)).collect()
}

/// `main.c:10`: the directory would push everything else off the line.
fn source_of(info: &CodeInfo<'_>) -> Box<[u8]> {
    let mut out = file_name(info.file.as_encoded_bytes()).to_vec();
    if let Some(line) = info.line {
        out.extend_from_slice(format!(":{line}").as_bytes());
    }
    out.into()
}
