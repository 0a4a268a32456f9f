use super::processes::MAX_EXITED;
use super::*;
use crate::event::RecordBuilder;
use probe_common::{ProcessCounts, ProcessKey};

fn batch(records: &[RecordBuilder]) -> Batch {
    let mut batch = Batch::default();
    for record in records {
        batch.push(&record.build());
    }
    batch
}

fn counts(opens: u64, failed: u64, exited: bool) -> ProcessCounts {
    let mut counts: ProcessCounts = bytemuck::Zeroable::zeroed();
    (counts.opens, counts.failed, counts.exited) = (opens, failed, u32::from(exited));
    counts
}

fn reading(at_ns: u64, opens: u64, processes: Vec<(ProcessKey, ProcessCounts)>) -> Counters {
    Counters { at_ns, totals: Totals { opens, ..Totals::default() }, processes, ..Counters::default() }
}

fn key(tgid: u32) -> ProcessKey {
    ProcessKey { start_ns: 1, tgid, reserved: 0 }
}

const S: u64 = 1_000_000_000;

#[test]
fn the_kernels_counts_stand_even_where_the_ring_lost_records() {
    let mut model = Model::new(Options::default());
    model.batch(&batch(&[RecordBuilder::new(7, "sh", "/a")]));
    assert_eq!(model.processes.by_key(&key(7)).unwrap().opens(), 1);
    model.counters(&reading(S, 1000, vec![(key(7), counts(1000, 10, false))]));
    let process = model.processes.by_key(&key(7)).unwrap();
    assert_eq!((process.opens(), process.failed(), model.opens()), (1000, 10, 1000));
}

#[test]
fn a_rate_is_the_opens_between_two_readings() {
    let mut model = Model::new(Options::default());
    model.counters(&reading(S, 0, vec![]));
    model.counters(&reading(2 * S, 300, vec![(key(7), counts(300, 0, false))]));
    assert_eq!(model.processes.by_key(&key(7)).unwrap().rate.per_second(), 300.0);
    assert_eq!(model.rate.per_second(), 300.0);
}

#[test]
fn an_exited_process_stays_for_a_while_then_only_its_sum_does() {
    let mut model = Model::new(Options::default());
    model.counters(&reading(S, 0, vec![]));
    model.counters(&reading(2 * S, 5, vec![(key(7), counts(5, 2, true))]));
    model.counters(&reading(30 * S, 5, vec![]));
    assert_eq!(model.processes.by_key(&key(7)).unwrap().exited_ns, Some(2 * S));
    model.counters(&reading(90 * S, 5, vec![]));
    assert!(model.processes.is_empty());
    let retired = model.processes.retired();
    assert_eq!((retired.processes, retired.opens, retired.failed), (1, 5, 2));
}

#[test]
fn the_process_table_is_bounded_and_its_total_stays_exact() {
    let mut model = Model::new(Options::default());
    let all = processes::MAX_PROCESSES as u32 + 5000;
    for chunk in 0..=all / 1000 {
        let rows = (chunk * 1000..((chunk + 1) * 1000).min(all)).map(|i| (key(i), counts(2, 1, i % 3 == 0))).collect();
        model.counters(&reading(S + u64::from(chunk), 0, rows));
    }
    assert!(model.processes.len() <= processes::MAX_PROCESSES);
    let kept: u64 = model.processes.iter().map(|(_, p)| p.opens()).sum();
    assert_eq!(kept + model.processes.retired().opens, 2 * u64::from(all));
}

#[test]
fn of_many_short_processes_the_last_stay_and_the_sum_of_all_is_exact() {
    let mut model = Model::new(Options::default());
    let all = 3 * processes::MAX_EXITED as u32;
    for chunk in 0..all / 1024 {
        let rows = (chunk * 1024..(chunk + 1) * 1024).map(|i| (key(i), counts(2, 1, true))).collect();
        model.counters(&reading(S + u64::from(chunk), 0, rows));
    }
    assert_eq!(model.processes.len(), processes::MAX_EXITED);
    assert!(model.processes.by_key(&key(all - 1)).is_some() && model.processes.by_key(&key(0)).is_none());
    assert!(model.processes.end() <= processes::MAX_EXITED + 64, "places are used again");
    let kept: u64 = model.processes.iter().map(|(_, p)| p.opens()).sum();
    assert_eq!(kept + model.processes.retired().opens, 2 * u64::from(all));
}

#[test]
fn the_last_path_of_a_process_outlives_its_record() {
    let mut model = Model::new(Options { history: Limits { events: 2, bytes: 1 << 20 }, ..Options::default() });
    model.batch(&batch(&[RecordBuilder::new(7, "sh", "old").dir("/home/u")]));
    model.batch(&batch(&[RecordBuilder::new(8, "x", "/b"), RecordBuilder::new(8, "x", "/c")]));
    let process = model.processes.by_key(&key(7)).unwrap();
    assert_eq!(process.last_seq(), None);
    assert_eq!(process.kept_path(), b"/home/u/old");
}

#[test]
fn bad_bytes_are_counted_not_obeyed() {
    let mut model = Model::new(Options::default());
    let mut batch = batch(&[RecordBuilder::new(7, "sh", "/a")]);
    batch.push(b"garbage");
    model.batch(&batch);
    assert_eq!((model.shown, model.undecodable, model.lost()), (1, 1, 1));
}

#[test]
fn a_filter_finds_what_is_already_here_newest_first_and_what_comes_later() {
    let mut model = Model::new(Options::default());
    let name = |i: usize| if i.is_multiple_of(10) { "/etc/hit" } else { "/usr/miss" };
    let records: Vec<_> = (0..100).map(|i| RecordBuilder::new(7, "sh", name(i))).collect();
    model.batch(&batch(&records));
    model.set_filter(Some(Arc::new(Filter::parse("hit").unwrap())));
    assert!(model.examine(15), "more is left");
    assert_eq!(model.listing.len(&model.history), 1);
    assert_eq!(model.listing.seq(&model.history, 0), Some(90));
    assert!(!model.examine(1000));
    assert_eq!(model.listing.len(&model.history), 10);
    model.batch(&batch(&records));
    assert_eq!(model.listing.len(&model.history), 20);
    assert_eq!((model.shown, model.filtered), (110, 90));
    let process = model.processes.by_key(&key(7)).unwrap();
    assert_eq!(model.processes.matched(process), 20);
    model.set_filter(None);
    assert_eq!(model.listing.len(&model.history), 200);
}

#[test]
fn what_a_retired_process_opened_is_no_match_of_the_one_that_has_its_place_now() {
    let mut model = Model::new(Options::default());
    model.counters(&reading(S, 0, vec![]));
    model.batch(&batch(&[RecordBuilder::new(7, "cat", "/etc/hit")]));
    model.counters(&reading(2 * S, 1, vec![(key(7), counts(1, 0, true))]));
    model.counters(&reading(90 * S, 1, vec![]));
    assert!(model.processes.is_empty(), "it is still there");
    model.batch(&batch(&[RecordBuilder::new(8, "grep", "/usr/miss")]));
    model.set_filter(Some(Arc::new(Filter::parse("hit").unwrap())));
    assert!(!model.examine(1000));
    assert_eq!(model.listing.len(&model.history), 1);
    let process = model.processes.by_key(&key(8)).unwrap();
    assert_eq!(model.processes.matched(process), 0);
}

#[test]
fn a_process_that_has_ended_opens_nothing_more() {
    let mut model = Model::new(Options::default());
    model.counters(&reading(S, 0, vec![]));
    model.counters(&reading(2 * S, 600, vec![(key(7), counts(300, 0, true)), (key(8), counts(300, 0, false))]));
    let rates = |model: &Model| [7, 8].map(|tgid| model.processes.by_key(&key(tgid)).unwrap().rate.per_second());
    assert_eq!(rates(&model), [300.0, 300.0]);
    model.counters(&reading(3 * S, 600, vec![]));
    assert!(rates(&model)[0] == 0.0 && rates(&model)[1] > 100.0, "{:?}", rates(&model));
}

#[test]
fn one_that_has_the_place_of_another_that_was_retired_in_haste_is_sampled_once() {
    let mut model = Model::new(Options::default());
    model.counters(&reading(S, 0, vec![]));
    // One more than is kept of those that have ended, all within a second: the first gives its place to the last.
    let many = (0..=MAX_EXITED as u32).map(|tgid| (key(tgid + 10), counts(1, 0, true))).collect();
    model.counters(&reading(S + S / 10, 0, many));
    model.counters(&reading(S + S / 4, 0, vec![(key(7), counts(300, 0, false))]));
    let process = model.processes.by_key(&key(7)).unwrap();
    assert_eq!(process.rate.per_second(), 1200.0);
}

#[test]
fn only_the_first_rows_are_sorted_and_they_are_the_right_ones() {
    let mut model = Model::new(Options::default());
    let rows = (0..500).map(|i| (key(i), counts(u64::from(i * 7919 % 500), 0, false))).collect();
    model.counters(&reading(S, 0, rows));
    let sort = order::Sort { column: order::Column::Opens, reversed: false };
    let (first, all) = order::first(&model.processes, sort, 3, |_| true, |uid| uid.to_string());
    let opens: Vec<_> = first.iter().map(|i| model.processes.get(*i).unwrap().opens()).collect();
    assert_eq!((opens, all), (vec![499, 498, 497], 500));
}

#[test]
fn rows_do_not_change_places_for_a_rate_that_only_flickers() {
    let mut model = Model::new(Options::default());
    let sort = order::Sort { column: order::Column::Rate, reversed: false };
    let (mut a, mut b) = (1000, 1000);
    let mut orders = Vec::new();
    for second in 1..40u64 {
        // About a hundred a second each; now the one is ahead, now the other.
        (a, b) = (a + 100 + second % 2 * 9, b + 105 - second % 3 * 7);
        model.counters(&reading(second * S, a + b, vec![(key(7), counts(a, 0, false)), (key(8), counts(b, 0, false))]));
        orders.push(order::first(&model.processes, sort, 2, |_| true, |uid| uid.to_string()).0);
    }
    let changes = orders[3..].windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(changes, 0, "{orders:?}");
    // One that is really ahead goes to the front.
    for second in 40..45u64 {
        (a, b) = (a + 100, b + 300);
        model.counters(&reading(second * S, a + b, vec![(key(7), counts(a, 0, false)), (key(8), counts(b, 0, false))]));
    }
    let (first, _) = order::first(&model.processes, sort, 1, |_| true, |uid| uid.to_string());
    assert_eq!(model.processes.get(first[0]).unwrap().key.tgid, 8);
}
