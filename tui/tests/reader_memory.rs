//! What a recording can make its reader allocate, whatever its bytes: a few payloads, and never more.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a panic is the report")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use opentop::event::RecordBuilder;
use opentop::recording::format::{FrameHeader, HEADER_LEN, PAYLOAD_MAX, codec, kind};
use opentop::recording::{Options, Reader, Recorder};
use opentop::source::replay::Player;
use opentop::source::{Batch, Counters, ProcessFacts};
use proptest::prelude::*;

/// Counts what is allocated, and the most there was at once.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator, and counts beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What reading may take beside the file itself: one payload as it is in the file, unpacked, and as values, of which the
/// largest are the rows of counters, some four times their bytes; and zstd's own.
const READER: usize = 12 * PAYLOAD_MAX;

/// Replays to the end, twice, with a look at the index: the most bytes that took at once.
fn most(bytes: &[u8]) -> usize {
    let copy = bytes.to_vec();
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    if let Ok(reader) = Reader::from_bytes(copy, "test") {
        let mut player = Player::new(reader);
        player.index().unwrap();
        for _ in 0..2 {
            while player.next_input(u64::MAX, usize::MAX).unwrap().is_some() {}
            assert!(player.ended());
            player.rewind().unwrap();
        }
    }
    MOST.load(Ordering::Relaxed).saturating_sub(before)
}

fn file() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    let session = common::recorded::session(1, 0);
    let mut recorder = Recorder::create(&path, &Options::default(), &session).unwrap();
    let mut batch = Batch::default();
    for n in 0..40 {
        batch.push(&RecordBuilder::new(n, "x", format!("/etc/{n}")).build());
    }
    recorder.offer(&batch);
    recorder.offer_facts(&[ProcessFacts { tgid: 1, command_line: b"init\0".to_vec(), ..ProcessFacts::default() }]);
    recorder.offer_counters(&Counters::default());
    recorder.finish().unwrap();
    std::fs::read(path).unwrap()
}

/// The marker of a file's frames.
fn marker(file: &[u8]) -> [u8; 8] {
    file[12..20].try_into().unwrap()
}

/// A frame with a right checksum around whatever payload, in front of the last frame.
fn with_frame(file: &[u8], kind: u8, codec: u8, count: u32, raw_len: u32, payload: &[u8]) -> Vec<u8> {
    let (stored_len, payload_crc) = (payload.len() as u32, crc32fast::hash(payload));
    let header = FrameHeader { kind, codec, count, time_ns: 0, ordinal: 0, stored_len, raw_len, payload_crc };
    let end = file.len() - HEADER_LEN - 24;
    let mut out = file[..end].to_vec();
    header.encode(marker(file), &mut out);
    out.extend_from_slice(payload);
    out.extend_from_slice(&file[end..]);
    out
}

// One test: the counts are the process's.
#[test]
fn whatever_the_bytes_reading_takes_a_few_payloads_of_memory() {
    let whole = file();
    let mut worst = most(&whole);
    assert!(worst > 10_000, "nothing is counted");

    // Small frames that unpack to as much as a frame may hold, of every kind, with every count.
    for byte in [0_u8, 1, 0x7f, 0xff] {
        let raw = vec![byte; PAYLOAD_MAX];
        let bomb = zstd::bulk::compress(&raw, 1).unwrap();
        for kind in kind::SESSION..=9 {
            for count in [1, 1000, u32::MAX] {
                let bytes = with_frame(&whole, kind, codec::ZSTD, count, PAYLOAD_MAX as u32, &bomb);
                assert!(bytes.len() < 5000);
                worst = worst.max(most(&bytes));
            }
        }
    }
    // Rows and facts as small as they can be.
    for (kind, size) in [(kind::FACTS, 32), (kind::RECORDS, 4)] {
        let raw = vec![0; PAYLOAD_MAX / size * size];
        let bomb = zstd::bulk::compress(&raw, 1).unwrap();
        let count = (raw.len() / size) as u32;
        worst = worst.max(most(&with_frame(&whole, kind, codec::ZSTD, count, raw.len() as u32, &bomb)));
    }
    assert!(worst <= READER, "{worst} bytes at once");

    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
    let damages = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..300), 1..8);
    let frames =
        (0_u8..10, 0_u8..3, any::<u32>(), 0_u32..=PAYLOAD_MAX as u32, proptest::collection::vec(any::<u8>(), 0..500));
    runner
        .run(&(damages, frames), |(damages, (kind, codec, count, raw_len, payload))| {
            let mut bytes = with_frame(&whole, kind, codec, count, raw_len, &payload);
            for (at, with, len) in damages {
                let at = at.index(bytes.len());
                bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = with);
            }
            prop_assert!(most(&bytes) <= READER + 2 * bytes.len());
            Ok(())
        })
        .unwrap();
}
