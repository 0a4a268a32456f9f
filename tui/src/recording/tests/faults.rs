//! A disk that is full, slow or broken.

use std::path::Path;
use std::sync::mpsc;

use super::*;
use crate::recording::Recorder;
use crate::recording::worker::Files;

fn recorder_on(disk: &Disk) -> Result<Recorder, crate::error::Error> {
    let disk = disk.clone();
    let open = Box::new(move |_: &Path| Ok(Box::new(disk.clone()) as Box<dyn Medium>));
    Recorder::with_files(Files::opened_by(Path::new("x"), None, &session(), open), Path::new("x"))
}

/// Records that compress badly, so that a chunk is not small.
fn noise(n: u64) -> Vec<Vec<u8>> {
    let mut seed = n + 1;
    let mut next = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        seed >> 8
    };
    (0..3_000).map(|_| RecordBuilder::new(1, "cc1", format!("/{:x}{:x}{:x}", next(), next(), next())).build()).collect()
}

#[test]
fn a_full_disk_is_told_and_leaves_a_readable_file() {
    let disk = Disk::default();
    disk.0.lock().unwrap().room = Some(100_000);
    let mut recorder = recorder_on(&disk).unwrap();
    for round in 0..10 {
        recorder.offer(&batch(&noise(round)));
    }
    recorder.offer_counters(&counters(30_000, 5));
    let error = recorder.finish().unwrap_err();
    assert!(error.message.contains("no space left"), "{error}");
    assert!(error.message.contains("are missing"), "{error}");
    let items = items(disk.bytes()).unwrap();
    assert!(!items.iter().any(|item| matches!(item, Item::Damage(_))), "half a frame was left");
    let there = records_of(&items).len();
    assert!(there > 0);
    assert!(error.message.contains(&format!("holds {there} opens, {} are missing", 30_000 - there)), "{error}");
}

#[test]
fn when_there_is_room_again_the_recording_goes_on_and_says_what_is_missing() {
    for refuses_cutting in [false, true] {
        let disk = Disk::default();
        disk.0.lock().unwrap().room = Some(2_000);
        disk.0.lock().unwrap().refuses_cutting = refuses_cutting;
        let mut recorder = recorder_on(&disk).unwrap();
        recorder.offer(&batch(&noise(1)));
        // One chunk is written when it is full: here it fails.
        while !recorder.stats().failing {
            std::thread::yield_now();
        }
        disk.0.lock().unwrap().room = None;
        recorder.offer(&batch(&noise(2)));
        recorder.offer_counters(&counters(6_000, 5));
        let error = recorder.finish().unwrap_err();
        assert!(error.message.contains("are missing"), "{error}");
        let items = items(disk.bytes()).unwrap();
        let there = records_of(&items).len() as u64;
        assert!((3_000..6_000).contains(&there), "{there}");
        let Some(Item::End(end)) = items.last() else { panic!("not closed: {:?}", items.last()) };
        assert_eq!((end.records, end.dropped), (there, 6_000 - there));
    }
}

/// A disk whose first write of records waits until it is let go.
struct Stuck(Disk, mpsc::Receiver<()>, usize);

impl Medium for Stuck {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.2 += 1;
        if self.2 == 3 {
            let _ = self.1.recv();
        }
        self.0.write_at(bytes, offset)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

#[test]
fn a_disk_that_hangs_never_stalls_the_capture_and_what_it_cost_is_in_the_file() {
    let disk = Disk::default();
    let (let_go, hangs) = mpsc::channel();
    let mut stuck = Some(Stuck(disk.clone(), hangs, 0));
    let open = Box::new(move |_: &Path| Ok(Box::new(stuck.take().unwrap()) as Box<dyn Medium>));
    let files = Files::opened_by(Path::new("x"), None, &session(), open);
    let mut recorder = Recorder::with_files(files, Path::new("x")).unwrap();
    let records = noise(1);
    let full = batch(&records);
    let mut offered = 0;
    // Until well past the queue's bound; each call returns at once.
    while recorder.stats().dropped < 50_000 {
        recorder.offer(&full);
        recorder.offer_counters(&counters(offered, 5));
        offered += full.len() as u64;
        assert!(offered < 3_000_000, "the queue has no bound");
    }
    recorder.offer_counters(&counters(offered, 6));
    let_go.send(()).unwrap();
    let stats = recorder.finish().unwrap();
    assert_eq!(stats.records + stats.dropped, offered);
    let items = items(disk.bytes()).unwrap();
    let Some(Item::End(end)) = items.last() else { panic!("not closed") };
    assert_eq!((end.records, end.dropped), (stats.records, stats.dropped));
    let last = items.iter().rev().find_map(|item| if let Item::Counters(frame) = item { Some(frame) } else { None });
    assert_eq!(last.unwrap().counters.totals.opens, offered, "counters were lost with the records");
    assert_eq!(last.unwrap().dropped, stats.dropped);
}

#[test]
fn a_disk_without_room_for_the_header_is_an_error_at_once() {
    let disk = Disk::default();
    disk.0.lock().unwrap().room = Some(10);
    assert!(recorder_on(&disk).err().unwrap().message.contains("no space left"));
}
