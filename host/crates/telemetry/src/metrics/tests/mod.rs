//! Rollups and summaries, from samples to answers.

mod disk;

use std::sync::Arc;

use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{self, Field, Metric, Value};
use glasshouse_model::{Instrument, Origin, Signal, UnixNanos};
use proptest::prelude::*;

use super::follower::Follower;
use super::rollup::Tier;
use super::{Aggregate, Summary};
use crate::query::Query;
use crate::ring::Bounds;
use crate::tests::support::START;
use crate::{Head, Reader, Store, StoreSettings};

const SECOND: i64 = 1_000_000_000;

/// A sample: how long after the one before, what kind, and what value.
type Sample = (i64, u8, i32);

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    // Mostly some in a second, now and then none for minutes, and a clock that is set back.
    let gap = prop_oneof![
        20 => 0..SECOND / 3,
        4 => 0..20 * SECOND,
        1 => 0..200 * SECOND,
        1 => -3 * SECOND..0,
        1 => -300 * SECOND..0,
    ];
    prop::collection::vec((gap, 0..4_u8, -1000..1000_i32), 1..250)
}

fn in_memory(records: usize) -> Arc<Store> {
    let mut settings = StoreSettings::new(&Settings::default());
    settings.bounds[Signal::Metric as usize] = Bounds { records, ..settings.bounds[Signal::Metric as usize] };
    Store::new(&settings, Arc::default())
}

fn instrument(kind: u8) -> Instrument {
    Instrument::ALL[usize::from(kind) % 3]
}

fn record(store: &Arc<Store>, time: i64, kind: u8, value: f64) {
    let label = kind.to_string();
    let metric = Metric { instrument: instrument(kind), name: "size", unit: "By", value };
    let mut body = Vec::new();
    wire::write_metric(&mut body, &metric, &[Field { name: "kind", value: Value::Text(&label) }]);
    let head = Head { time: UnixNanos(time), origin: Origin::Guest, cut: false, batched: false, context: b"" };
    store.recorder().append(Signal::Metric, head, wire::KIND_METRIC, &body);
}

/// Records samples, and follows them now and then; returns their times.
fn play(store: &Arc<Store>, follower: &mut Follower, samples: &[Sample]) -> Vec<i64> {
    let mut time = START;
    let times = samples.iter().map(|(gap, kind, value)| {
        time += gap;
        record(store, time, *kind, f64::from(*value));
        if value % 7 == 0 {
            assert!(follower.follow(UnixNanos(time)));
        }
        time
    });
    let times = times.collect();
    assert!(follower.follow(UnixNanos(time)));
    times
}

fn window(since: i64, until: i64) -> Query {
    let text = format!("since {} until {}", UnixNanos(since), UnixNanos(until));
    Query::parse(&text, UnixNanos(START)).expect("a query")
}

fn metrics(store: &Arc<Store>) -> Reader {
    store.reader(Signal::Metric)
}

fn totals(summary: &Summary) -> (u64, f64) {
    let aggregates = || summary.series.iter().map(|series| &series.aggregate);
    (aggregates().map(|aggregate| aggregate.count).sum(), aggregates().map(|aggregate| aggregate.sum).sum())
}

/// What the samples of a kind in a window come to, one by one.
fn exactly(samples: &[Sample], times: &[i64], kind: u8, since: i64, until: i64) -> Option<Aggregate> {
    let mut all =
        samples.iter().zip(times).filter(|((_, its, _), time)| *its == kind && (since..until).contains(*time));
    let ((_, _, value), time) = all.next()?;
    let mut aggregate = Aggregate::of(instrument(kind), f64::from(*value), UnixNanos(*time));
    for ((_, _, value), time) in all {
        aggregate.add(f64::from(*value), UnixNanos(*time));
    }
    Some(aggregate)
}

proptest! {
    #[test]
    fn any_window_comes_to_what_its_samples_come_to(
        samples in samples(), from in -30 * SECOND..300 * SECOND, length in 0..300 * SECOND, restart in any::<prop::sample::Index>(),
    ) {
        let store = in_memory(100_000);
        let (before, after) = samples.split_at(restart.index(samples.len()));
        let mut times = play(&store, &mut Follower::new(&store), before);
        // The host is killed: what was not stored of its rollups is made anew.
        let mut follower = Follower::new(&store);
        let offset = times.last().map_or(0, |last| last - START);
        let mut moved = after.to_vec();
        if let Some((gap, ..)) = moved.first_mut() {
            *gap += offset;
        }
        times.extend(play(&store, &mut follower, &moved));
        let (since, until) = (START + from, START + from + length);
        let summary = metrics(&store).summary("markdown", &window(since, until));
        let expect: Vec<_> = (0..4_u8).filter_map(|kind| exactly(&samples, &times, kind, since, until)).collect();
        let found: Vec<_> = summary.series.iter().map(|series| series.aggregate.clone()).collect();
        prop_assert_eq!(found, expect);
        prop_assert_eq!((summary.edge, summary.missed), (None, 0));
    }

    #[test]
    fn windows_side_by_side_add_up_when_the_samples_are_gone(
        samples in samples(), cut in -300 * SECOND..300 * SECOND, finest_kept in 0..3_usize, kept in 1..100_usize,
    ) {
        let store = in_memory(kept);
        let mut follower = Follower::new(&store);
        let mut time = START;
        for (gap, kind, value) in &samples {
            time += gap;
            record(&store, time, *kind, f64::from(*value));
            follower.follow(UnixNanos(time));
        }
        follower.follow(UnixNanos(time + 60 * SECOND));
        // Of the shorter ones only the newest is left.
        let mut settings = StoreSettings::new(&Settings::default());
        for (index, bounds) in settings.rollups.iter_mut().enumerate() {
            bounds.records = if index < finest_kept { 1 } else { 100_000 };
        }
        let less = Store::new(&settings, Arc::default());
        for tier in Tier::ALL {
            for entry in store.rollups(*tier).all() {
                less.rollup_ring(*tier).append(entry.frame.parts(entry.chunk.bytes()));
            }
        }
        let sum: i32 = samples.iter().map(|(_, _, value)| value).sum();
        for store in [&store, &less] {
            let of = |since, until| totals(&metrics(store).summary("markdown", &window(since, until)));
            let (first, last) = (START - 100_000 * SECOND, START + 100_000 * SECOND);
            let (one, other, whole) = (of(first, START + cut), of(START + cut, last), of(first, last));
            prop_assert_eq!((one.0 + other.0, one.1 + other.1), whole);
            prop_assert_eq!(whole, (samples.len() as u64, f64::from(sum)));
        }
    }
}

#[test]
fn long_windows_are_answered_by_long_rollups_and_edges_by_samples() {
    let store = in_memory(100_000);
    let mut follower = Follower::new(&store);
    let start = Tier::Minute.start(START);
    for tenth in 0..10 * 600 {
        record(&store, start + tenth * SECOND / 10, 2, 1.0);
    }
    follower.follow(UnixNanos(start + 600 * SECOND));
    let reader = metrics(&store);
    let summary = reader.summary("markdown", &window(start, start + 600 * SECOND));
    assert_eq!((totals(&summary).0, summary.rollups, summary.samples), (6000, [0, 0, 10], 0));
    let summary = reader.summary("markdown", &window(start + SECOND / 2, start + 132 * SECOND + 1));
    assert_eq!((totals(&summary).0, summary.samples), (1316, 6));
    assert_eq!(summary.rollups, [9 + 2, 5 + 1, 1]);
    let rate = summary.rate(&summary.series[0]).expect("a rate");
    assert!((rate - 10.0).abs() < 0.01, "{rate}");
    let only = Query::parse("value>1", UnixNanos(START)).expect("a query");
    assert_eq!(reader.summary("markdown", &only).series, []);
    let named = Query::parse("name=size and field.kind=2 and value=1", UnixNanos(START)).expect("a query");
    assert_eq!(reader.summary("markdown", &named).samples, 6000, "a value is a sample's own");
}

#[test]
fn a_rollup_at_an_edge_is_found_though_the_clock_was_set_back_after_it() {
    let store = in_memory(1);
    let mut follower = Follower::new(&store);
    let start = Tier::Minute.start(START);
    for second in [0, 90, 30, 200] {
        record(&store, start + second * SECOND, 0, 1.0);
        follower.follow(UnixNanos(start + second * SECOND));
    }
    follower.follow(UnixNanos(start + 1000 * SECOND));
    let of = |since: i64, until: i64| {
        let summary = metrics(&store).summary("markdown", &window(start + since * SECOND, start + until * SECOND));
        totals(&summary).0
    };
    assert_eq!((of(0, 100), of(80, 100), of(100, 1000), of(0, 1000)), (3, 1, 1, 4));
}

#[test]
fn what_is_not_asked_for_is_left_out() {
    let store = in_memory(1000);
    let mut follower = Follower::new(&store);
    (0..100).for_each(|at| record(&store, START + at * SECOND, (at % 4) as u8, 1.0));
    follower.follow(UnixNanos(START + 1000 * SECOND));
    let of = |text: &str| {
        let query = Query::parse(text, UnixNanos(START)).expect("a query");
        let summary = metrics(&store).summary("markdown", &query);
        (summary.series.iter().map(|series| series.labels[0].1.clone()).collect::<Vec<_>>(), totals(&summary).0)
    };
    assert_eq!(of("field.kind=3"), (vec!["3".into()], 25));
    assert_eq!(of("instrument=gauge or field.kind=2"), (vec!["1".into(), "2".into()], 50));
    assert_eq!(of("name=other"), (vec![], 0));
    assert_eq!(of("extension=other"), (vec![], 0));
    assert_eq!(of("origin=guest size").1, 100);
}

#[test]
fn samples_that_go_before_they_are_rolled_up_are_counted() {
    let store = in_memory(100);
    let mut follower = Follower::new(&store);
    let flood = |from: i64, count: i64| (from..from + count).for_each(|at| record(&store, START + at, 0, 1.0));
    flood(0, 50);
    follower.follow(UnixNanos(START));
    flood(50, 1000);
    follower.follow(UnixNanos(START + SECOND));
    flood(2 * SECOND, 1);
    follower.follow(UnixNanos(START + 100 * SECOND));
    let summary = metrics(&store).summary("markdown", &Query::all());
    assert_eq!((totals(&summary).0, summary.missed), (151, 900), "of 1051");
}

#[test]
fn short_rollups_that_have_gone_are_not_made_again() {
    let (store, later) = (in_memory(1000), in_memory(1000));
    let mut follower = Follower::new(&store);
    for at in 0..100 {
        record(&store, START + at * SECOND, 0, 1.0);
        record(&later, START + at * SECOND, 0, 1.0);
    }
    follower.follow(UnixNanos(START + 1000 * SECOND));
    for entry in store.rollups(Tier::Minute).all() {
        later.rollup_ring(Tier::Minute).append(entry.frame.parts(entry.chunk.bytes()));
    }
    let mut follower = Follower::new(&later);
    record(&later, START + 1000 * SECOND, 0, 1.0);
    follower.follow(UnixNanos(START + 2000 * SECOND));
    let runs = |tier| later.rollups(tier).all().len();
    assert_eq!((runs(Tier::Second), runs(Tier::TenSeconds), runs(Tier::Minute)), (1, 1, 3));
    assert_eq!(totals(&metrics(&later).summary("markdown", &Query::all())), (101, 101.0));
}

#[test]
fn series_without_end_take_bounded_memory_and_none_is_lost() {
    let store = in_memory(100_000);
    let mut follower = Follower::new(&store);
    let text = "x".repeat(100);
    for number in 0..20_000_u32 {
        let label = format!("{number}{text}");
        let metric = Metric { instrument: Instrument::Gauge, name: "size", unit: "", value: f64::from(number) };
        let mut body = Vec::new();
        wire::write_metric(&mut body, &metric, &[Field { name: "label", value: Value::Text(&label) }]);
        let head = Head { time: UnixNanos(START), origin: Origin::Guest, cut: false, batched: false, context: b"" };
        store.recorder().append(Signal::Metric, head, wire::KIND_METRIC, &body);
    }
    follower.follow(UnixNanos(START + 100 * SECOND));
    for tier in Tier::ALL {
        let runs = store.rollups(*tier).all();
        assert!(runs.len() > 5, "{tier}: {}", runs.len());
        assert!(runs.iter().all(|run| run.bytes() < 512 * 1024), "{tier}");
    }
    let summary = metrics(&store).summary("markdown", &Query::all());
    assert_eq!((summary.series.len(), totals(&summary).0, summary.samples), (20_000, 20_000, 0));
}
