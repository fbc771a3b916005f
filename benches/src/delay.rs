//! How long an append takes on the clock: while the keeper has next to nothing to do, and while it has all that it can.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use glasshouse_model::Signal;
use glasshouse_model::settings::Settings;
use glasshouse_telemetry::{Depot, DepotSettings};
use tempfile::TempDir;

use crate::append::append;
use crate::harness::{Plan, Row, Samples, Spread, Unit};
use crate::records::{clock, files, folder_of, store};

/// Appends in one measurement: twenty megabytes, so that the ring begins twenty files.
const TIMES: u32 = 120_000;
/// Time from one append to the next: a busy guest, but none that only logs.
const GAP: Duration = Duration::from_micros(20);
/// Bytes on the disk that the ring has: its oldest files go all the while.
const RING_BYTES: u64 = 4 << 20;
/// Bytes on the disk that the other ring has: more than is written, so that what was sealed can be counted at the end.
const OTHER_RING_BYTES: u64 = 4 << 30;
/// Another extension writes so many logs at a time, some megabytes, and then waits for so long: all in all more than the
/// 64 MiB a second that the keeper seals.
const BURST: u32 = 20_000;
const PAUSE: Duration = Duration::from_millis(30);
/// How often the keeper cleans up and syncs meanwhile; a minute and five seconds are the default.
const CLEANUP: Duration = Duration::from_millis(100);
const SYNC: Duration = Duration::from_secs(1);
/// Turns of the two.
const TURNS: usize = 3;

pub(crate) fn measure(_: &Plan) -> Result<Vec<Row>> {
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    let mut sealed = 0;
    for _ in 0..TURNS {
        quiet.extend(idle_keeper()?);
        let (samples, files) = busy_keeper()?;
        busy.extend(samples);
        sealed += files;
    }
    let [quiet, busy] = [quiet, busy].map(Samples::new);
    let what = format!("append while {sealed} files are sealed, all is synced each second and cleaned up each 0.1 s");
    let row = |percent: f64, name: &str| {
        let figure = Spread::of(busy.percentile(percent));
        Row::figure("delay", format!("{what}, {name}"), Unit::Nanos, figure)
            .beside("while the keeper has next to nothing to do", quiet.percentile(percent))
    };
    Ok(vec![row(50.0, "p50"), row(99.0, "p99"), row(99.9, "p99.9"), row(100.0, "max")])
}

fn idle_keeper() -> Result<Vec<f64>> {
    let folder = TempDir::new()?;
    let depot = depot(folder.path(), &DepotSettings::default())?;
    steadily(&depot)
}

/// Also returns how many files were sealed meanwhile.
fn busy_keeper() -> Result<(Vec<f64>, usize)> {
    let folder = TempDir::new()?;
    let settings = DepotSettings { cleanup_interval: CLEANUP, sync_interval: SYNC, ..DepotSettings::default() };
    let depot = depot(folder.path(), &settings)?;
    let mut other = Settings::default();
    other.retention.signals[Signal::Log as usize].bytes = OTHER_RING_BYTES;
    other.retention.bytes = OTHER_RING_BYTES;
    let recorder = store(&depot, "other", &other)?.recorder();
    let done = AtomicBool::new(false);
    let samples = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut body = Vec::new();
            while !done.load(Ordering::Relaxed) {
                (0..BURST).for_each(|status| append(&recorder, &mut body, status));
                std::thread::sleep(PAUSE);
            }
        });
        let samples = steadily(&depot);
        done.store(true, Ordering::Relaxed);
        samples
    })?;
    let sealed = files(&folder_of(folder.path(), "other", Signal::Log), "sealed")?.1;
    ensure!(sealed > 0, "the keeper has sealed nothing");
    Ok((samples, sealed))
}

fn depot(folder: &Path, settings: &DepotSettings) -> Result<Depot> {
    let settings = DepotSettings { data_dir: Some(folder.to_owned()), ..settings.clone() };
    Depot::open(&settings, clock()).context("opening a data directory")
}

/// Nanoseconds that each append to a ring takes whose writer does other things in between.
fn steadily(depot: &Depot) -> Result<Vec<f64>> {
    let mut settings = Settings::default();
    settings.retention.signals[Signal::Log as usize].bytes = RING_BYTES;
    let recorder = store(depot, "measured", &settings)?.recorder();
    let mut body = Vec::new();
    let mut samples = Vec::with_capacity(TIMES as usize);
    let mut due = Instant::now();
    for status in 0..TIMES {
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        append(&recorder, &mut body, status);
        let end = Instant::now();
        samples.push((end - start).as_nanos() as f64);
        due = end.max(due) + GAP;
    }
    Ok(samples)
}
