//! Bytes that are cut, damaged or made up.

use proptest::prelude::*;

use super::*;
use crate::recording::format::{
    FORMAT_VERSION, FrameHeader, HEADER_LEN, PAYLOAD_MAX, PRELUDE_LEN, Prelude, codec, kind,
};
use crate::source::Input;
use crate::source::replay::Player;

/// Replays to the end: the records, and what the account and the report say.
fn replay(bytes: Vec<u8>) -> Option<(Vec<Vec<u8>>, u64, u64, crate::source::replay::Report)> {
    let mut player = Player::new(Reader::from_bytes(bytes, "test").ok()?);
    let (mut records, mut opens, mut lost) = (Vec::new(), 0, 0);
    while let Some(input) = player.next_input(u64::MAX, usize::MAX).unwrap() {
        match input {
            Input::Batch(batch) => records.extend(batch.records().map(<[u8]>::to_vec)),
            Input::Counters(counters) => {
                (opens, lost) = (counters.totals.opens, counters.totals.losses.lost());
            }
            _ => {}
        }
    }
    assert!(player.ended());
    Some((records, opens, lost, player.report()))
}

#[test]
fn cut_anywhere_it_replays_up_to_the_cut_and_says_where() {
    let (bytes, records) = small_file(4);
    let mut longest = 0;
    for cut in 0..bytes.len() {
        let Some((seen, opens, lost, report)) = replay(bytes[..cut].to_vec()) else {
            assert_eq!(longest, 0, "refused at {cut} although a shorter file replayed");
            continue;
        };
        assert_eq!(seen, records[..seen.len()], "cut at {cut}");
        assert!(seen.len() >= longest, "cut at {cut}");
        longest = seen.len();
        assert_eq!(report.cut, Some(cut as u64));
        assert_eq!(report.damage_count, 0, "cut at {cut}");
        assert_eq!(opens, seen.len() as u64 + lost, "cut at {cut}");
        assert!(report.to_string().contains("cut off at byte"));
    }
    assert_eq!(longest, records.len());
    assert!(replay(bytes).unwrap().3.is_empty());
}

#[test]
fn a_flipped_byte_anywhere_is_told_and_costs_one_frame_at_most() {
    let (bytes, records) = small_file(3);
    for at in 0..bytes.len() {
        for flip in [1, 0xff] {
            let mut bad = bytes.clone();
            bad[at] ^= flip;
            let Some((seen, opens, lost, report)) = replay(bad) else { continue };
            assert!(!report.is_empty(), "byte {at}: a flipped byte was not noticed");
            assert!(seen.len() + 10 >= records.len(), "byte {at}: more than one chunk is gone");
            assert!(seen.iter().all(|record| records.contains(record)), "byte {at}: a record that never was");
            assert_eq!(opens, seen.len() as u64 + lost, "byte {at}");
            assert_eq!(lost, (records.len() - seen.len()) as u64, "byte {at}");
            if seen.len() < records.len() {
                assert!(report.damages[0].offset <= at as u64 && !report.damages.is_empty());
                assert!(report.damages[0].offset + report.damages[0].bytes > at as u64, "byte {at}");
            }
        }
    }
}

#[test]
fn bytes_that_are_missing_from_the_middle_cost_no_more_than_the_frames_they_touch() {
    let (bytes, records) = small_file(6);
    let index = Reader::from_bytes(bytes.clone(), "test").unwrap().index().unwrap();
    let hole = index[2].offset as usize + 60;
    let mut bad = bytes;
    bad.drain(hole..hole + 30);
    let (seen, opens, lost, report) = replay(bad).unwrap();
    assert!(seen.len() >= records.len() - 20);
    assert_eq!(opens, seen.len() as u64 + lost);
    assert!(report.damage_count >= 1);
    assert_eq!(report.damages[0].offset, index[2].offset);
}

#[test]
fn what_is_no_recording_is_refused_in_a_sentence() {
    let (bytes, _) = small_file(1);
    let says = |bytes: &[u8]| Reader::from_bytes(bytes.to_vec(), "file").err().unwrap().message;
    assert!(says(b"").contains("it is empty"));
    assert!(says(b"PK\x03\x04 some zip or other").contains("no opentop recording"));
    assert!(says(&bytes[..5]).contains("cut off in its header"));
    assert!(says(&bytes[..PRELUDE_LEN + 3]).contains("session header"));
    let newer = Prelude { version: FORMAT_VERSION + 1, ..Prelude::new([1; 8]) }.encode();
    assert!(says(&newer).contains(&format!("format version {}", FORMAT_VERSION + 1)));
}

#[test]
fn a_file_name_that_looks_like_a_frame_is_not_taken_for_one() {
    // Someone who knows the format, but not the marker, makes a file whose name is a whole frame.
    let mut forged = Vec::new();
    let header = FrameHeader {
        kind: kind::END,
        codec: codec::NONE,
        count: 0,
        time_ns: 0,
        ordinal: 0,
        stored_len: 0,
        raw_len: 0,
        payload_crc: 0,
    };
    header.encode(*b"guessed!", &mut forged);
    let disk = Disk::default();
    let frame = SessionFrame { session: session(), part: 1, writer: "test".into() };
    let mut writer = Writer::begin(Box::new(disk.clone()), *b"markers!", &frame).unwrap();
    let mut raw = Vec::new();
    put_bytes(&mut raw, &RecordBuilder::new(1, "evil", &forged).build());
    writer.records(&raw, 1, 0).unwrap();
    writer.end(0).unwrap();
    let mut bytes = disk.bytes();
    let at = Reader::from_bytes(bytes.clone(), "test").unwrap().index().unwrap()[0].offset as usize;
    bytes[at + 9] ^= 1;
    let items = items(bytes).unwrap();
    assert!(matches!(items[..], [Item::Damage(_), Item::End(_)]), "{items:?}");
}

#[test]
fn a_session_cannot_bring_escape_sequences_to_a_terminal() {
    let mut evil = session();
    evil.hostname = "a\x1b[2Jb".into();
    evil.reason = "say \\x41".into();
    let bytes = SessionFrame { session: evil, part: 1, writer: "\u{202e}".into() }.encode();
    let back = SessionFrame::decode(&bytes).unwrap();
    assert_eq!(back.session.hostname, r"a\x1b[2Jb");
    assert_eq!(back.session.reason, "say \\x41");
    assert_eq!(back.writer, r"\xe2\x80\xae");
}

/// A frame with a right checksum around whatever payload.
fn frame(kind: u8, codec: u8, count: u32, raw_len: u32, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        kind,
        codec,
        count,
        time_ns: 0,
        ordinal: u64::MAX,
        stored_len: payload.len() as u32,
        raw_len,
        payload_crc: crc32fast::hash(payload),
    };
    let mut bytes = Vec::new();
    header.encode(*b"markers!", &mut bytes);
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_small_frame_that_unpacks_to_much_is_damage_not_memory() {
    let bomb = zstd::bulk::compress(&vec![0; PAYLOAD_MAX * 4], 1).unwrap();
    assert!(bomb.len() < 2_000);
    let (mut bytes, _) = small_file(1);
    bytes.truncate(bytes.len() - HEADER_LEN - 24);
    for raw_len in [PAYLOAD_MAX as u32, 0] {
        bytes.extend(frame(kind::RECORDS, codec::ZSTD, u32::MAX, raw_len, &bomb));
    }
    let (seen, ..) = replay(bytes).unwrap();
    assert_eq!(seen.len(), 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Reader::from_bytes(bytes, "test").is_err());
    }

    #[test]
    fn random_payloads_with_right_checksums_do_no_harm(
        kind in 0u8..9,
        codec in 0u8..3,
        count in any::<u32>(),
        payload in proptest::collection::vec(any::<u8>(), 0..600),
        pack in any::<bool>(),
    ) {
        let (mut bytes, records) = small_file(1);
        bytes.truncate(bytes.len() - HEADER_LEN - 24);
        if pack {
            let packed = zstd::bulk::compress(&payload, 1).unwrap();
            bytes.extend(frame(kind, codec::ZSTD, count, payload.len() as u32, &packed));
        } else {
            bytes.extend(frame(kind, codec, count, payload.len() as u32, &payload));
        }
        let (seen, ..) = replay(bytes).unwrap();
        prop_assert_eq!(&seen[..10], &records[..]);
    }

    #[test]
    fn several_damages_leave_only_records_that_were_and_an_account_that_adds_up(
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..200), 1..6),
    ) {
        let (bytes, records) = small_file(5);
        let mut bad = bytes.clone();
        for (at, with, len) in damages {
            // Behind the session's header.
            let at = 400.min(bad.len() - 1) + at.index(bad.len().saturating_sub(400).max(1));
            match with % 3 {
                0 => bad.iter_mut().skip(at).take(len).for_each(|byte| *byte = with),
                1 => drop(bad.splice(at.min(bad.len())..at.min(bad.len()), vec![with; len])),
                _ => {
                    let end = (at + len).min(bad.len());
                    bad.drain(at.min(end)..end);
                }
            }
        }
        if let Some((seen, opens, lost, _)) = replay(bad) {
            prop_assert!(seen.iter().all(|record| records.contains(record)));
            prop_assert_eq!(opens, seen.len() as u64 + lost);
        }
    }
}
