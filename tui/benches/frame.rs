//! How long a frame takes at 200×50, with 100,000 processes in the table and 400,000 opens a second coming in: a line for
//! each figure, in ms. Not criterion's: what matters is the slowest in a hundred.

mod common;

use std::time::{Duration, Instant};

use bytemuck::Zeroable as _;
use opentop::{
    app::{Msg, update},
    event::RecordBuilder,
    source::{Batch, Counters, Input, Totals},
    view,
};
use probe_common::{ProcessCounts, ProcessKey};
use ratatui::{buffer::Buffer, layout::Rect};

const PROCESSES: u32 = 100_000;
const FRAMES_A_SECOND: u64 = 20;
const OPENS_A_FRAME: u64 = 400_000 / FRAMES_A_SECOND;
/// Most records of one hand-over from the source.
const BATCH: u64 = 4096;

fn main() {
    let mut app = common::app();
    let began = Instant::now();
    let (mut draws, mut takes, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = Buffer::empty(Rect::new(0, 0, 200, 50));
    let (mut open, mut frame) = (0, 0);
    // As long as it takes to have some hundreds, and no longer than that.
    while draws.len() < 600 && began.elapsed() < Duration::from_secs(20) {
        let now = frame * 1_000_000_000 / FRAMES_A_SECOND;
        let mut taken = Duration::ZERO;
        let mut left = OPENS_A_FRAME;
        while left > 0 {
            let n = left.min(BATCH);
            let batch = batch(&mut open, n, now);
            let at = Instant::now();
            update(&mut app, Msg::Input(Input::Batch(batch)));
            taken += at.elapsed();
            left -= n;
        }
        if frame.is_multiple_of(FRAMES_A_SECOND / 4) {
            let counters = counters(frame, now);
            let at = Instant::now();
            update(&mut app, Msg::Input(Input::Counters(Box::new(counters))));
            counts.push(at.elapsed());
        }
        update(&mut app, Msg::Tick(now));
        let at = Instant::now();
        view::draw(&app, &mut buffer);
        draws.push(at.elapsed());
        takes.push(taken);
        frame += 1;
    }
    for (name, times) in [
        ("a frame", &mut draws),
        ("taking in the opens of a frame", &mut takes),
        ("taking in the counts of 100,000 processes", &mut counts),
    ] {
        times.sort();
        for (which, at) in [("median", 50), ("p99", 99)] {
            let place = (times.len() * at).div_ceil(100).saturating_sub(1);
            let ms = times.get(place).map_or(0.0, |t| t.as_secs_f64() * 1000.0);
            show(&format!("{name}, {which} {ms:.3}"));
        }
    }
}

#[allow(clippy::print_stdout, reason = "it is a bench: its output is read by xtask")]
fn show(line: &str) {
    println!("{line}");
}

fn batch(open: &mut u64, n: u64, now: u64) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..n {
        *open += 1;
        let tgid = 1000 + u32::try_from(*open * 7919 % u64::from(PROCESSES)).unwrap_or(0);
        let name = format!("/srv/data/{}/file{}.json", *open % 300, *open * 31 % 5000);
        let mut record = RecordBuilder::new(tgid, "worker", &name).at(now + *open % 50_000_000);
        record.header.ret = if open.is_multiple_of(9) { -2 } else { 3 };
        batch.push(&record.build());
    }
    batch
}

/// A tenth of the processes changed since the last reading.
fn counters(frame: u64, now: u64) -> Counters {
    let every = if frame == 0 { 1 } else { 10 };
    let mut totals = Totals::default();
    let changed = (0..PROCESSES).filter(|n| u64::from(*n) % every == frame % every);
    let processes = changed.map(|n| {
        let mut counts = ProcessCounts::zeroed();
        counts.opens = u64::from(n) + frame * 20;
        counts.failed = counts.opens / 9;
        counts.histogram[10] = counts.opens;
        counts.comm[..6].copy_from_slice(b"worker");
        counts.last_ns = now;
        totals.opens += counts.opens;
        (ProcessKey { start_ns: 1, tgid: 1000 + n, reserved: 0 }, counts)
    });
    let processes = processes.collect();
    Counters { at_ns: now, totals, processes, ..Counters::default() }
}
