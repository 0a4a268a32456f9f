//! What goes into a recording comes out of it.

use proptest::prelude::*;

use super::*;
use crate::recording::file::{Options, Rotate, part_path};
use crate::recording::format::Prelude;
use crate::recording::{Recorder, format};
use crate::source::replay::{self, Pace, Player};
use crate::source::{CaptureChange, Frame, Input, Stack, StackCount, Stacks};

fn inputs(reader: Reader) -> Vec<Input> {
    let (_replay, mut inputs) = replay::start(reader, 4, Pace::AsFast).unwrap();
    std::iter::from_fn(|| inputs.blocking_recv()).collect()
}

fn replayed_records(inputs: &[Input]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for input in inputs {
        if let Input::Batch(batch) = input {
            all.extend(batch.records().map(<[u8]>::to_vec));
        }
    }
    all
}

fn stacks() -> Stacks {
    let frame = Frame { address: 5, function: b"main"[..].into(), offset: 3, ..Frame::default() };
    let frames = vec![frame, Frame::unknown(77)];
    let process = ProcessKey { start_ns: 1, tgid: 7, reserved: 0 };
    Stacks {
        stacks: vec![Stack { id: 4, kernel: true, tgid: 7, start_ns: 1, named: true, frames }],
        counts: vec![StackCount { process, user: 0, kernel: 4, opens: 9, failed: 1 }],
    }
}

fn replayed_stacks(inputs: &[Input]) -> Stacks {
    let mut all = Stacks::default();
    for input in inputs {
        if let Input::Stacks(stacks) = input {
            all.stacks.extend(stacks.stacks.iter().cloned());
            all.counts.extend(&stacks.counts);
        }
    }
    all
}

/// `(opens, lost)` of the last counters.
fn account(inputs: &[Input]) -> (u64, u64) {
    let mut last = (0, 0);
    for input in inputs {
        if let Input::Counters(counters) = input {
            last = (counters.totals.opens, counters.totals.losses.lost());
        }
    }
    last
}

#[test]
fn a_recorded_session_replays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    let mut recorder = Recorder::create(&path, &Options::default(), &session()).unwrap();
    let records: Vec<_> = (0..5_000).map(record).collect();
    for some in records.chunks(700) {
        recorder.offer(&batch(some));
    }
    recorder.offer_facts(&[facts(7)]);
    recorder.offer_stacks(&stacks());
    recorder.offer_counters(&counters(5_000, 99_000_000));
    let stats = recorder.finish().unwrap();
    assert_eq!((stats.records, stats.dropped, stats.files, stats.error), (5_000, 0, 1, None));
    assert_eq!(stats.bytes, std::fs::metadata(&path).unwrap().len());

    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.session().session, session());
    let inputs = inputs(reader);
    assert_eq!(replayed_records(&inputs), records);
    assert_eq!(account(&inputs), (5_000, 0));
    assert!(inputs.iter().any(|input| matches!(input, Input::Facts(known) if known == &[facts(7)])));
    assert_eq!(replayed_stacks(&inputs), stacks());
    assert!(matches!(inputs.last(), Some(Input::End)));
    let all_counters: Vec<_> = inputs.iter().filter(|input| matches!(input, Input::Counters(_))).collect();
    assert!(matches!(&all_counters[..], [Input::Counters(one)] if **one == counters(5_000, 99_000_000)));
}

#[test]
fn the_index_leads_to_the_frames_and_is_made_anew_where_it_is_missing() {
    let (bytes, _) = small_file(8);
    let index = Reader::from_bytes(bytes.clone(), "test").unwrap().index().unwrap();
    assert_eq!(index.len(), 8);
    let cut = bytes[..bytes.len() - 10].to_vec();
    assert_eq!(Reader::from_bytes(cut, "test").unwrap().index().unwrap(), index);
    let mut reader = Reader::from_bytes(bytes, "test").unwrap();
    reader.seek(&index[5]).unwrap();
    let Some(Item::Records(batch, _)) = reader.next_item().unwrap() else { panic!("no records there") };
    assert_eq!(batch.records().next().unwrap(), record(50));
    assert_eq!(reader.missing_records(), 0);
}

#[test]
fn counters_of_more_processes_than_a_frame_holds_come_back_whole() {
    let disk = Disk::default();
    let frame = SessionFrame { session: session(), part: 1, writer: "test".into() };
    let mut writer = Writer::begin(Box::new(disk.clone()), [1; 8], &frame).unwrap();
    let mut many = counters(1, 5_000);
    let row = many.processes[0];
    many.processes = (0..10_000).map(|tgid| (ProcessKey { tgid, ..row.0 }, row.1)).collect();
    many.others = Some(row.1);
    writer.counters(&CountersFrame { counters: many.clone(), dropped: 3, last: true }).unwrap();
    writer.end(3).unwrap();
    let mut rows = Vec::new();
    let mut last = Vec::new();
    for item in items(disk.bytes()).unwrap() {
        if let Item::Counters(frame) = item {
            assert_eq!((frame.counters.totals, frame.counters.others), (many.totals, many.others));
            rows.extend(frame.counters.processes);
            last.push(frame.last);
        }
    }
    assert_eq!(rows, many.processes);
    assert_eq!(last, [false, false, false, false, true]);
}

#[test]
fn each_file_of_a_rotation_is_a_recording_whose_account_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    let options = Options { rotate: Some(Rotate::Size(20_000)), ..Options::default() };
    let mut recorder = Recorder::create(&path, &options, &session()).unwrap();
    let mut seed = 1u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        seed
    };
    recorder.offer_facts(&[facts(7)]);
    recorder.offer_stacks(&stacks());
    let mut records = Vec::new();
    for round in 0..20u64 {
        let some: Vec<_> = (0..2_000)
            .map(|n| RecordBuilder::new(7, "cc1", format!("/{:x}{:x}", noise(), noise())).at(n + round).build())
            .collect();
        recorder.offer(&batch(&some));
        records.extend(some);
        // Behind by some opens, as a poll is.
        recorder.offer_counters(&counters(records.len() as u64 - 13, round));
    }
    recorder.offer_counters(&counters(records.len() as u64, 99));
    let stats = recorder.finish().unwrap();
    assert!(stats.files > 3, "{stats:?}");
    let mut all = Vec::new();
    for part in 1..=stats.files as u32 {
        let reader = Reader::open(&part_path(&path, true, part)).unwrap();
        assert_eq!(reader.session().part, part);
        let inputs = inputs(reader);
        let here = replayed_records(&inputs);
        assert_eq!(account(&inputs), (here.len() as u64, 0), "part {part}");
        assert!(inputs.iter().any(|input| matches!(input, Input::Facts(_))), "part {part} knows no process");
        // What was counted before belongs to the files before; what an id stands for is told in each.
        assert_eq!(replayed_stacks(&inputs).stacks, stacks().stacks, "part {part} knows no stack");
        assert_eq!(replayed_stacks(&inputs).counts.is_empty(), part > 1);
        all.extend(here);
    }
    assert_eq!(all, records);
    assert!(!path.exists());
}

#[test]
fn a_change_of_the_capture_stands_between_its_records_and_the_next_file_begins_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.otop");
    let options = Options { rotate: Some(Rotate::Size(2_000)), ..Options::default() };
    let mut recorder = Recorder::create(&path, &options, &session()).unwrap();
    let change = CaptureChange { at_ns: 5_500, text: "failed".into(), words: "command, failed".into(), refused: None };
    recorder.offer(&batch(&(0..3).map(record).collect::<Vec<_>>()));
    recorder.offer_capture(&CaptureChange { refused: Some("why".into()), words: "uid:0".into(), ..change.clone() });
    recorder.offer_capture(&change);
    recorder.offer(&batch(&(3..5_000).map(record).collect::<Vec<_>>()));
    recorder.offer_counters(&counters(5_000, 5_500_000));
    let stats = recorder.finish().unwrap();
    assert!(stats.files > 1, "{stats:?}");

    let first = Reader::open(&part_path(&path, true, 1)).unwrap();
    assert_eq!(first.session().session, session());
    let inputs = inputs(first);
    let at = inputs.iter().position(|input| matches!(input, Input::Capture(to) if **to == change)).unwrap();
    assert_eq!(replayed_records(&inputs[..at]).len(), 3);
    assert_eq!(inputs.iter().filter(|input| matches!(input, Input::Capture(_))).count(), 1, "one was refused");
    let second = Reader::open(&part_path(&path, true, 2)).unwrap();
    assert_eq!(second.session().session.capture, "command, failed");
    assert!(second.session().session.start_ns >= 2_000_000, "its time begins with the files before it");
}

#[test]
fn frames_of_a_kind_that_is_not_known_are_passed_over() {
    let disk = Disk::default();
    let frame = SessionFrame { session: session(), part: 1, writer: "a newer one".into() };
    let mut writer = Writer::begin(Box::new(disk.clone()), [1; 8], &frame).unwrap();
    let mut raw = Vec::new();
    put_bytes(&mut raw, &record(1));
    writer.frame(200, b"what only a newer opentop understands", 7, 0).unwrap();
    writer.records(&raw, 1, 0).unwrap();
    writer.frame(255, b"", 0, 0).unwrap();
    writer.end(0).unwrap();
    let items = items(disk.bytes()).unwrap();
    assert_eq!(records_of(&items), [record(1)]);
    assert!(matches!(items[..], [Item::Records(..), Item::End(_)]), "{items:?}");
}

#[test]
fn a_replay_stops_at_the_time_and_the_number_asked_for() {
    let (bytes, records) = small_file(3);
    let mut player = Player::new(Reader::from_bytes(bytes, "test").unwrap());
    // Record n starts at 2000 + 1000 n and returns 1000 later.
    let mut seen = Vec::new();
    while let Some(input) = player.next_input(3_000 + 14_000, 4).unwrap() {
        if let Input::Batch(batch) = input {
            assert!(batch.len() <= 4);
            seen.extend(batch.records().map(<[u8]>::to_vec));
        }
    }
    assert_eq!(seen, records[..15]);
    assert_eq!((player.handed_over(), player.ended()), (15, false));
    player.rewind().unwrap();
    assert_eq!(player.handed_over(), 0);
    while player.next_input(u64::MAX, 1).unwrap().is_some() {}
    assert_eq!((player.handed_over(), player.ended()), (30, true));
    assert!(player.report().is_empty());
}

#[test]
fn a_replay_by_the_clock_obeys_its_controls() {
    use replay::Control;
    let (bytes, records) = small_file(3);
    let reader = Reader::from_bytes(bytes, "test").unwrap();
    let (replay, mut inputs) = replay::start(reader, 1, Pace::Clock).unwrap();
    assert_eq!(replay.index().len(), 3);
    replay.control(Control::Pause);
    replay.control(Control::JumpTo(u64::MAX));
    let mut opens = 0;
    let mut next = |opens: &mut usize| {
        let input = inputs.blocking_recv().unwrap();
        if let Input::Batch(batch) = &input {
            *opens += batch.len();
        }
        input
    };
    while !matches!(next(&mut opens), Input::End) {}
    assert_eq!(opens, 30);
    // Two back from the end: everything comes again, up to there.
    replay.control(Control::StepBack(2));
    while !matches!(next(&mut opens), Input::Restart) {}
    opens = 0;
    while opens < 28 {
        next(&mut opens);
    }
    assert_eq!(opens, 28);
    replay.control(Control::Step(1));
    let last = loop {
        if let Input::Batch(batch) = next(&mut opens) {
            break batch;
        }
    };
    assert_eq!(last.records().collect::<Vec<_>>(), [&records[28][..]]);
    let mut position = replay.position();
    while position.borrow_and_update().opens != 29 {
        std::thread::yield_now();
    }
    assert!(!position.borrow().playing && !position.borrow().ended);
    replay.control(Control::Stop);
    while inputs.blocking_recv().is_some() {}
}

#[test]
fn records_of_a_machine_with_the_other_byte_order_decode_to_the_same_events() {
    let mut builder = RecordBuilder::new(7, "cc1", "x").dir("/usr/src");
    builder.header.flags = 0o1101;
    let native = builder.build();
    let mut foreign = native.clone();
    format::swap_record(&mut foreign);
    let disk = Disk::default();
    let frame = SessionFrame { session: session(), part: 1, writer: "test".into() };
    let mut writer = Writer::begin(Box::new(disk.clone()), [1; 8], &frame).unwrap();
    let mut raw = Vec::new();
    put_bytes(&mut raw, &foreign);
    writer.records(&raw, 1, 0).unwrap();
    let mut bytes = disk.bytes();
    let order = match format::Order::NATIVE {
        format::Order::Little => format::Order::Big,
        format::Order::Big => format::Order::Little,
    };
    let prelude = Prelude { order, ..Prelude::new([1; 8]) };
    bytes[..format::PRELUDE_LEN].copy_from_slice(&prelude.encode());
    assert_eq!(records_of(&items(bytes).unwrap()), [native]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_offered_as_records_come_back(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..60),
        opens in any::<u64>(),
        losses in any::<[u64; 4]>(),
        comm in any::<[u8; 16]>(),
        command_line in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut recorder = Recorder::create(&path, &Options::default(), &session()).unwrap();
        recorder.offer(&batch(&records));
        let mut counted = counters(opens, 5_000);
        counted.totals.losses.ring_full = losses[0];
        counted.totals.losses.process_table_full = losses[1];
        counted.totals.failed = losses[2];
        counted.ring_used = losses[3];
        counted.processes[0].1.comm = comm;
        recorder.offer_counters(&counted);
        let known = ProcessFacts { command_line, ..facts(3) };
        recorder.offer_facts(std::slice::from_ref(&known));
        recorder.finish().unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let mut items = Vec::new();
        while let Some(item) = reader.next_item().unwrap() {
            items.push(item);
        }
        prop_assert_eq!(records_of(&items), records);
        let frame = items.iter().find_map(|item| if let Item::Counters(frame) = item { Some(frame) } else { None });
        prop_assert_eq!(&frame.unwrap().counters, &counted);
        prop_assert!(items.contains(&Item::Facts(vec![known])));
        prop_assert!(matches!(items.last(), Some(Item::End(_))));
    }
}
