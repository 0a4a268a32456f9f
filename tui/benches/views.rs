//! How long a frame takes, and how long what happens between frames: 200×50, a hundred thousand processes, 400,000 opens a
//! second. Prints a line for each view; `cargo bench -p opentop --bench views`.
//!
//! A frame is drawing, comparing, encoding and writing (into memory). An update is a batch of 4,096 opens or a reading of
//! the counters, with everything that follows from it. Time passes as it would live: 20 frames a second.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench: a panic is the report, and it prints")]

mod common;

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use opentop::app::{App, Effect, Msg, update};
use opentop::run::screen::Screen;
use opentop::source::{Batch, Counters, Input, Totals};
use probe_common::{ProcessCounts, ProcessKey, RECORD_VERSION, RecordHeader, route};

const PROCESSES: u32 = 100_000;
const PER_SECOND: usize = 400_000;
const FRAMES_PER_SECOND: usize = 20;
const FRAMES: usize = 120;
const BATCH: usize = 4096;
const S: u64 = 1_000_000_000;

fn main() {
    // `cargo test --benches` only wants to know that it starts.
    let quick = std::env::args().any(|arg| arg == "--test");
    let processes = if quick { 1000 } else { PROCESSES };
    let frames = if quick { 3 } else { FRAMES };
    println!("200x50, {processes} processes, {PER_SECOND} opens/s, {frames} frames a view");
    for (name, keys) in [
        ("live", ""),
        ("live, last row selected", "G"),
        ("live by opens", "s s s s s"),
        ("live filtered", "/ f 1 2 Enter"),
        ("tree", "t"),
        ("files", "2"),
        ("files as a tree", "2 t Z"),
        ("files filtered", "/ f 1 2 Enter 2"),
        ("failures", "3"),
        ("failures filtered", "/ f 1 2 Enter 3"),
        ("latency", "4"),
        ("health", "5"),
        ("page of a process", "Enter"),
        ("paused", "Space"),
    ] {
        println!("{name:<24} {}", Run::new(processes).view(keys, frames));
    }
}

struct Run {
    app: App,
    screen: Screen<Vec<u8>>,
    processes: u32,
    now_ns: u64,
    opens: u64,
    random: u64,
}

#[derive(Default)]
struct Times {
    frames: Vec<Duration>,
    updates: Vec<Duration>,
    bytes: usize,
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |times: &[Duration], q: f64| {
            let mut times = times.to_vec();
            times.sort_unstable();
            let at = ((times.len() as f64 * q).ceil() as usize).clamp(1, times.len()) - 1;
            times[at].as_secs_f64() * 1e3
        };
        let busy: Duration = self.updates.iter().sum();
        let seconds = self.frames.len() as f64 / FRAMES_PER_SECOND as f64;
        write!(
            f,
            "frame p50 {:6.3} p99 {:6.3} max {:6.3} ms · update p99 {:6.2} max {:6.2} ms, {:4.1}% of a core · {:5.1} kB a frame",
            of(&self.frames, 0.5),
            of(&self.frames, 0.99),
            of(&self.frames, 1.0),
            of(&self.updates, 0.99),
            of(&self.updates, 1.0),
            busy.as_secs_f64() / seconds * 100.0,
            self.bytes as f64 / self.frames.len() as f64 / 1e3,
        )
    }
}

impl Run {
    fn new(processes: u32) -> Self {
        let screen = Screen::new(Vec::new(), 200, 50);
        let mut run = Self { app: common::app(), screen, processes, now_ns: S, opens: 0, random: 1 };
        // Full from the beginning: every process is there, and the history.
        for _ in 0..2 {
            for _ in 0..FRAMES_PER_SECOND {
                run.pass(&mut Times::default());
            }
        }
        run
    }

    fn next(&mut self) -> u64 {
        // xorshift64*: the same numbers each time.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn record(&mut self) -> Vec<u8> {
        let n = self.next();
        let pid = 1 + (n >> 32) as u32 % self.processes;
        let mut header: RecordHeader = bytemuck::Zeroable::zeroed();
        header.version = RECORD_VERSION;
        header.route = route::OPENAT;
        header.start_ns = self.now_ns;
        header.duration_ns = 500 + n % 5000;
        header.process_start_ns = 1;
        (header.tgid, header.tid, header.ppid) = (pid, pid, pid / 8);
        header.ret = if n % 10 < 3 { -2 } else { 3 };
        header.comm[..4].copy_from_slice(b"make");
        let name = format!("/usr/lib/package{}/directory{}/file{}.so", n % 97, n % 31, (n >> 8) % 50_000);
        header.name_len = name.len() as u16;
        let mut bytes = bytemuck::bytes_of(&header).to_vec();
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }

    fn take(&mut self, times: &mut Times, msg: Msg) {
        let began = Instant::now();
        let outcome = update(&mut self.app, msg);
        times.updates.push(began.elapsed());
        for effect in outcome.effects {
            if let Effect::NameUsers(uids) = effect {
                update(&mut self.app, Msg::Users(uids.into_iter().map(|uid| (uid, None)).collect()));
            }
        }
    }

    /// What comes between two frames.
    fn pass(&mut self, times: &mut Times) {
        let mut left = PER_SECOND / FRAMES_PER_SECOND;
        while left > 0 {
            let mut batch = Batch::default();
            for _ in 0..left.min(BATCH) {
                batch.push(&self.record());
            }
            left -= left.min(BATCH);
            self.opens += batch.len() as u64;
            self.take(times, Msg::Input(Input::Batch(batch)));
        }
        let before = self.now_ns;
        self.now_ns += S / FRAMES_PER_SECOND as u64;
        // The counters are read four times a second; most processes have changed.
        if before / (S / 4) != self.now_ns / (S / 4) {
            let counters = self.counters();
            self.take(times, Msg::Input(Input::Counters(Box::new(counters))));
        }
    }

    fn counters(&mut self) -> Counters {
        let each = self.opens / u64::from(self.processes);
        let processes = (1..=self.processes)
            .map(|tgid| {
                let mut counts: ProcessCounts = bytemuck::Zeroable::zeroed();
                counts.opens = each + u64::from(tgid % 7);
                (counts.failed, counts.ppid, counts.last_ns) = (counts.opens / 3, tgid / 8, self.now_ns);
                (counts.histogram[9], counts.histogram[11]) = (counts.opens, 1);
                counts.comm[..4].copy_from_slice(b"make");
                (ProcessKey { start_ns: 1, tgid, reserved: 0 }, counts)
            })
            .collect();
        let totals = Totals { opens: self.opens, failed: self.opens / 3, ..Totals::default() };
        Counters { at_ns: self.now_ns, totals, processes, ..Counters::default() }
    }

    fn view(mut self, keys: &str, frames: usize) -> Times {
        for key in keys.split(' ').filter(|key| !key.is_empty()) {
            let code = match key {
                "Enter" => KeyCode::Enter,
                "Space" => KeyCode::Char(' '),
                key => KeyCode::Char(key.chars().next().unwrap()),
            };
            update(&mut self.app, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
        let mut times = Times::default();
        for frame in 0..=frames {
            self.pass(&mut times);
            let (app, screen) = (&self.app, &mut self.screen);
            screen.writer().clear();
            let began = Instant::now();
            let bytes = screen.frame(|buf| opentop::view::draw(app, buf)).unwrap();
            // The first one draws every cell.
            if frame > 0 {
                times.frames.push(began.elapsed());
                times.bytes += bytes;
            }
        }
        times
    }
}
