//! Something like a build: each unit is a process of its own that looks for headers along a search path, mostly where they
//! are not, reads what it finds, computes, and writes a result. Without a compiler, so that it is the same everywhere.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::{Args, Done, children};

/// Folders of the search path. A header is in one of them.
const FOLDERS: usize = 6;
/// Headers there are.
const HEADERS: usize = 60;
/// Headers that a unit includes.
const INCLUDES: usize = 40;
/// Rounds of arithmetic for each byte read: 150 opens go with some 20 ms of work.
const ROUNDS: u64 = 12;

/// `--count` units, `--jobs` at a time.
pub(crate) fn run(args: &Args) -> io::Result<Done> {
    let root = args.path.with_extension("tree");
    let folders: Vec<PathBuf> = (0..FOLDERS).map(|n| root.join(format!("include{n}"))).collect();
    let text = vec![b'x'; 16 << 10];
    for folder in &folders {
        fs::create_dir_all(folder)?;
    }
    for header in 0..HEADERS {
        fs::write(folders[header % FOLDERS].join(format!("header{header}.h")), &text)?;
    }
    let started = Instant::now();
    let failed = children::run(args.count, args.jobs, |number| unit(number, &root, &folders))?;
    let time = started.elapsed();
    fs::remove_dir_all(&root)?;
    if failed > 0 {
        return Err(io::Error::other(format!("{failed} units failed")));
    }
    // Each header is looked for in every folder up to its own, and the result is written.
    let of_a_unit = |unit: u64| 1 + (0..INCLUDES).map(|n| included(unit, n) % FOLDERS + 1).sum::<usize>();
    let opens = (0..args.count).map(|unit| of_a_unit(unit) as u64).sum();
    Ok(Done { opens, warm: 0, time, streams: 1 })
}

/// The n-th header that a unit includes.
fn included(unit: u64, n: usize) -> usize {
    (unit as usize * 7 + n * 3) % HEADERS
}

fn unit(unit: u64, root: &Path, folders: &[PathBuf]) -> io::Result<()> {
    let (mut text, mut state) = (Vec::new(), unit);
    for n in 0..INCLUDES {
        let name = format!("header{}.h", included(unit, n));
        let found = folders.iter().find_map(|folder| fs::File::open(folder.join(&name)).ok());
        text.clear();
        found.ok_or(io::ErrorKind::NotFound)?.read_to_end(&mut text)?;
        for byte in &text {
            for _ in 0..ROUNDS {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(*byte));
            }
        }
    }
    fs::File::create(root.join(format!("unit{unit}.o")))?.write_all(&state.to_ne_bytes())
}
