//! Rollups in files: over restarts, damaged, and read while they are made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use glasshouse_model::Signal;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{SECOND, metrics, record, totals, window};
use crate::metrics::Summary;
use crate::query::Query;
use crate::tests::support::{START, depot, hand, store};
use crate::{DataDir, Reader};

/// What another process would read.
fn stored(folder: &Path) -> Reader {
    DataDir::open(folder).expect("a data directory").reader("markdown", Signal::Metric)
}

fn all(reader: &Reader) -> Summary {
    reader.summary("markdown", &Query::all())
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

#[test]
fn rollups_outlive_their_host_and_are_read_from_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = hand();
    let expect = |summary: &Summary, count: u64| assert_eq!(totals(summary), (count, count as f64));
    for round in 0..3 {
        let depot = depot(folder.path(), Arc::clone(&clock));
        let store = store(&depot, |_| {});
        for at in 0..1000 {
            record(&store, START + (round * 1000 + at) * SECOND / 10, 2, 1.0);
        }
        // The clock is ahead in the last round only: before, the last minute is still open when the host goes.
        clock.0.store(START + (round + 1) * 100 * SECOND, std::sync::atomic::Ordering::Relaxed);
        depot.settle();
        let count = 1000 * (round as u64 + 1);
        let summary = metrics(&store).summary("markdown", &Query::all());
        expect(&summary, count);
        assert!(summary.rollups[2] > 0 && summary.samples < 1000, "{summary:?}");
        let stored = DataDir::open(folder.path()).expect("a data directory").reader("markdown", Signal::Metric);
        let summary = stored.summary("markdown", &Query::all());
        expect(&summary, count);
        assert!(summary.rollups[2] > 0 && summary.samples < 1000, "{summary:?}");
    }
    let stored = DataDir::open(folder.path()).expect("a data directory").reader("markdown", Signal::Metric);
    expect(&stored.summary("markdown", &Query::all()), 3000);
}

#[test]
fn damaged_rollups_are_told_of_by_finer_ones_and_by_samples() {
    const SAMPLES: u64 = 6000;
    let folder = tempfile::tempdir().expect("a folder");
    {
        let clock = hand();
        let depot = depot(folder.path(), Arc::clone(&clock));
        let store = store(&depot, |_| {});
        for at in 0..SAMPLES as i64 {
            record(&store, START + at * SECOND / 5, 2, 1.0);
            if at == SAMPLES as i64 / 2 {
                depot.settle();
            }
        }
        clock.0.store(START + 10_000 * SECOND, Ordering::Relaxed);
        depot.settle();
    }
    let whole = all(&stored(folder.path()));
    assert_eq!((totals(&whole).0, whole.samples), (SAMPLES, 0));
    let rollups = files(&folder.path().join("extensions/markdown/rollups"));
    let originals: Vec<_> = rollups.into_iter().map(|path| (fs::read(&path).expect("a file"), path)).collect();
    assert!(
        originals.iter().any(|(_, path)| path.extension().is_some_and(|ending| ending == "sealed")),
        "{originals:?}"
    );
    let restore = || originals.iter().for_each(|(bytes, path)| fs::write(path, bytes).expect("a file"));
    let damage = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..200));
    let damages = (prop::collection::vec(damage, originals.len()), 1..1000_i64);
    let mut runner = TestRunner::new(ProptestConfig { cases: 60, ..ProptestConfig::default() });
    let run = runner.run(&damages, |(damages, cut)| {
        for ((bytes, path), (at, garbage)) in originals.iter().zip(&damages) {
            let at = at.index(bytes.len());
            let mut bytes = bytes.clone();
            bytes.iter_mut().skip(at).zip(garbage).for_each(|(byte, garbage)| *byte = *garbage);
            fs::write(path, bytes).expect("a file");
        }
        let reader = stored(folder.path());
        prop_assert_eq!(totals(&all(&reader)), totals(&whole));
        let (first, cut, last) = (START - SECOND, START + cut * SECOND, START + 10_000 * SECOND);
        let of = |since, until| totals(&reader.summary("markdown", &window(since, until))).0;
        prop_assert_eq!(of(first, cut) + of(cut, last), SAMPLES);
        Ok(())
    });
    run.expect("damage is survived");
    // A host that starts on damaged files makes anew what is not there, and nothing counts twice.
    let clock = hand();
    clock.0.store(START + 20_000 * SECOND, Ordering::Relaxed);
    let depot = depot(folder.path(), clock);
    let store = store(&depot, |_| {});
    record(&store, START + 10_000 * SECOND, 2, 1.0);
    depot.settle();
    assert_eq!(totals(&all(&metrics(&store))).0, SAMPLES + 1);
    drop((store, depot));
    restore();
    assert_eq!(totals(&all(&stored(folder.path()))).0, SAMPLES + 1);
}

#[test]
fn whoever_asks_while_rollups_are_made_gets_each_sample_once() {
    const SAMPLES: u64 = 60_000;
    let folder = tempfile::tempdir().expect("a folder");
    let clock = hand();
    let depot = depot(folder.path(), Arc::clone(&clock));
    let store = store(&depot, |settings| settings.bounds[Signal::Metric as usize].records = 1_000_000);
    let writer = thread::spawn({
        let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
        move || {
            for at in 0..SAMPLES as i64 {
                let time = START + at * SECOND / 50;
                record(&store, time, 2, 1.0);
                clock.0.store(time, Ordering::Relaxed);
                if at % 1000 == 0 {
                    thread::yield_now();
                }
            }
        }
    });
    let here = metrics(&store);
    let elsewhere = stored(folder.path());
    while !writer.is_finished() {
        depot.settle();
        for reader in [&here, &elsewhere] {
            let before = here.stored();
            let count = totals(&all(reader)).0;
            // Another process sees a record in its file a moment before it is counted.
            let after = here.stored() + 1;
            assert!((before..=after).contains(&count), "{count} of {before} to {after}");
        }
    }
    writer.join().expect("the writer ends");
    depot.settle();
    assert_eq!([&here, &elsewhere].map(|reader| totals(&all(reader)).0), [SAMPLES; 2]);
}
