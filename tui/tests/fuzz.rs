//! The fuzz targets for a moment, on stable: the corpus as it is, and bytes of it changed at random from a fixed seed.
//!
//! `OPENTOP_FUZZ=200000` runs so many changes of each target instead; without end: `cargo +nightly fuzz run decode`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;
#[path = "../../fuzz/targets.rs"]
#[allow(unreachable_pub, reason = "a crate of its own for cargo-fuzz")]
mod targets;

use std::{
    fs,
    path::{Path, PathBuf},
};

use opentop::{
    event::Event,
    recording::Reader,
    source::{Input, replay::Player},
};

/// Changes of each target: a second or two.
const ROUNDS: u64 = 3000;

/// xorshift64*: the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end.max(1)
    }
}

/// One to eight changes: a bit, a byte, a number at its limits, a piece out, a piece twice, a piece of another entry.
fn changed(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match random.below(7) {
            _ if bytes.is_empty() => bytes.push(random.next() as u8),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at..end].fill([0, 0xff, 0x7f, 0x80][random.below(4)]),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => bytes.truncate(at),
            _ => {
                let from = random.below(other.len());
                let piece = &other[from..(from + 1 + random.below(32)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/corpus")
}

/// The first records of a recording: the layout of today's probe.
fn records(recording: &Path) -> Vec<Vec<u8>> {
    let mut player = Player::new(Reader::open(recording).unwrap());
    let mut records = Vec::new();
    while let Some(input) = player.next_input(u64::MAX, 4096).unwrap() {
        if let Input::Batch(batch) = input {
            records.extend(batch.records().map(<[u8]>::to_vec));
        }
    }
    records
}

#[test]
fn the_corpus_of_decode_has_the_layout_of_todays_probe() {
    // Made anew from a recording: opentop trace -w R -- true; OPENTOP_CORPUS=R cargo test -p opentop --test fuzz
    if let Some(recording) = std::env::var_os("OPENTOP_CORPUS") {
        fs::copy(&recording, corpus().join("recording/small")).unwrap();
        for (record, name) in records(Path::new(&recording)).iter().zip(["openat", "library"]) {
            fs::write(corpus().join("decode").join(name), record).unwrap();
        }
    }
    for entry in fs::read_dir(corpus().join("decode")).unwrap() {
        assert!(Event::decode(&fs::read(entry.unwrap().path()).unwrap()).is_ok(), "make it anew, as said here");
    }
}

#[test]
fn no_bytes_make_a_target_panic() {
    let rounds = std::env::var("OPENTOP_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    for (name, target) in targets::ALL {
        let mut paths: Vec<_> = fs::read_dir(corpus().join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let entries: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        assert!(!entries.is_empty(), "{name} has no corpus");
        entries.iter().for_each(|entry| target(entry));
        let mut random = Random(0x6f70_656e_746f_7021);
        for round in 0..rounds {
            let (one, other) = (random.below(entries.len()), random.below(entries.len()));
            let bytes = changed(&entries[one], &entries[other], &mut random);
            let caught = std::panic::catch_unwind(|| target(&bytes));
            assert!(caught.is_ok(), "{name}, change {round} of {}: {bytes:02x?}", paths[one].display());
        }
        common::figure("fuzz", name, &format!("{} entries, {rounds} changes of them, no panic", entries.len()));
    }
}
