//! What each open costs between the ring and a line or a table: a thousand opens an iteration.

#![allow(missing_docs, reason = "what criterion_group! makes has none")]

mod common;

use std::hint::black_box;

use common::session;
use criterion::{Criterion, criterion_group, criterion_main};
use opentop::{
    event::RecordBuilder,
    filter::Filter,
    headless::{Format, Writer, summary},
    model::{Model, Options},
    source::Batch,
};

/// Opens as a build makes them: a few processes, many paths, most of them missing, some relative.
fn batch() -> Batch {
    let mut batch = Batch::default();
    for n in 0..1000_u64 {
        let name = format!("/usr/include/x86_64-linux-gnu/c++/12/bits/header{}.h", n * 7 % 400);
        let relative = format!("../include/header{}.h", n % 90);
        let tgid = 4000 + u32::try_from(n % 24).unwrap_or(0);
        let mut record = match n % 3 {
            0 => RecordBuilder::new(tgid, "cc1plus", &name),
            1 => RecordBuilder::new(tgid, "cc1plus", &name).errno(2),
            _ => RecordBuilder::new(tgid, "cc1plus", &relative).dir("/home/maria/src/project/build"),
        };
        record.header.duration_ns = 700 + n * 13 % 900;
        batch.push(&record.at(1_000_000_000 + n * 2_500).build());
    }
    batch
}

fn opens(c: &mut Criterion) {
    let batch = batch();
    c.bench_function("decode", |b| b.iter(|| batch.events().flatten().map(|e| e.header().ret).sum::<i32>()));
    for (name, format) in [("text line", Format::Text), ("JSON line", Format::Json), ("CSV line", Format::Csv)] {
        let (mut writer, mut out) = (Writer::new(format, &session()), Vec::new());
        c.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                for event in batch.events().flatten() {
                    writer.event(&mut out, &event);
                }
                black_box(out.len())
            });
        });
    }
    for (name, text) in [
        ("filter by comm", "comm:cc1plus"),
        ("filter by path and failure", "path:/usr/** failed"),
        ("filter by regex", "path~bits/.*7.h$"),
    ] {
        let filter = Filter::parse(text).ok();
        c.bench_function(name, |b| {
            b.iter(|| batch.events().flatten().filter(|e| filter.as_ref().is_some_and(|f| f.matches(e))).count());
        });
    }
    let mut model = Model::new(Options::default());
    c.bench_function("into the dashboard's model", |b| b.iter(|| model.batch(black_box(&batch))));
    let mut summary = summary::Summary::new(summary::Options::default());
    c.bench_function("into the summary", |b| {
        b.iter(|| batch.events().flatten().for_each(|event| summary.event(black_box(&event))));
    });
}

criterion_group!(benches, opens);
criterion_main!(benches);
