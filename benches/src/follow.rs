//! From an append to a follower's having the record, while the extension writes now and then.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use glasshouse_model::wire::{self, KIND_LOG, Log};
use glasshouse_model::{Clock as _, Level, Origin, Signal};
use glasshouse_runtime::SystemClock;
use glasshouse_telemetry::{DataDir, Head, Recorder};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Plan, Row, Samples, Spread, Unit};
use crate::records::{EXTENSION, depot, roomy, store};
use crate::search::program;

/// Records that are waited for.
const RECORDS: u64 = 300;
/// Between two of them, at most.
const PAUSE: Duration = Duration::from_millis(25);
/// How long a record waits to be looked for at most, as in `glasshouse logs follow`.
const POLL: Duration = Duration::from_millis(20);
/// Within which 95 of 100 records are to be there.
const LIMIT_NANOS: f64 = 50e6;
/// A follower that has nothing for so long is broken.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn measure(_: &Plan) -> Result<Vec<Row>> {
    let folder = TempDir::new()?;
    let depot = depot(folder.path())?;
    let store = store(&depot, EXTENSION, &roomy())?;
    let recorder = store.recorder();
    append(&recorder, &mut Vec::new());
    let here = thread::scope(|scope| {
        let reader = scope.spawn(|| poll(folder.path()));
        write(&recorder, &AtomicBool::new(false));
        reader.join().unwrap_or_else(|_| bail!("the reader panicked"))
    })?;
    let ended = AtomicBool::new(false);
    let there = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let read = follow(folder.path());
            ended.store(true, Ordering::Relaxed);
            read
        });
        while !ended.load(Ordering::Relaxed) {
            write(&recorder, &ended);
        }
        reader.join().unwrap_or_else(|_| bail!("the reader panicked"))
    })?;
    let here = rows("to a reader of the data directory that looks each 20 ms", &here);
    let there = rows("to a line of `glasshouse logs follow`", &there);
    Ok(here.into_iter().chain(there).collect())
}

fn rows(what: &str, delays: &Samples) -> [Row; 3] {
    let row = |name: &str, delay| Row::figure("follow", format!("{name} {what}"), Unit::Nanos, Spread::of(delay));
    [
        row("p50", delays.percentile(50.0)),
        row("p95", delays.percentile(95.0)).under("the limit", LIMIT_NANOS),
        row("most", delays.percentile(100.0)),
    ]
}

/// Writes records, at times that have nothing to do with when they are looked for.
fn write(recorder: &Recorder, enough: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(3);
    let mut body = Vec::new();
    for _ in 0..RECORDS {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep(PAUSE.mul_f64(random.f64()));
        append(recorder, &mut body);
    }
}

fn append(recorder: &Recorder, body: &mut Vec<u8>) {
    let log = Log { level: Level::Info, target: "bench", message: "", source: None, time: None };
    body.clear();
    wire::write_log(body, &log, format_args!("a record that is waited for"), &[]);
    let time = SystemClock::new().now();
    let head = Head { time, origin: Origin::Guest, cut: false, batched: false, context: &[] };
    recorder.append(Signal::Log, head, KIND_LOG, body);
}

fn poll(data_dir: &Path) -> Result<Samples> {
    let reader = DataDir::open(data_dir)?.reader(EXTENSION, Signal::Log);
    let clock = SystemClock::new();
    let start = Instant::now();
    let mut delays = Vec::new();
    let mut next = 2;
    while delays.len() < RECORDS as usize {
        let page = reader.page(next, 10_000);
        let now = clock.now().0;
        delays.extend(page.entries.iter().map(|entry| (now - entry.time().0) as f64));
        ensure!(page.missed == 0, "{} records were missed", page.missed);
        ensure!(start.elapsed() < PATIENCE, "only {} records came", delays.len());
        next = page.next_sequence;
        if page.entries.is_empty() {
            thread::sleep(POLL);
        }
    }
    Ok(Samples::new(delays))
}

/// Reads the lines of the command line's follower.
fn follow(data_dir: &Path) -> Result<Samples> {
    let mut follower = Command::new(program()?)
        .args(["logs", "follow", "--format", "json", "--extension-id", EXTENSION, "--data-dir"])
        .arg(data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .context("running glasshouse")?;
    let output = follower.stdout.take().context("it has an output")?;
    let started = SystemClock::new().now().0;
    let mut delays = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        let now = SystemClock::new().now().0;
        let record: Value = serde_json::from_str(&line)?;
        let time: jiff::Timestamp = record["time"].as_str().context("a line has a time")?.parse()?;
        let time = time.as_nanosecond() as i64;
        // What it shows at its start was there before.
        if time > started + SETTLING.as_nanos() as i64 {
            delays.push((now - time) as f64);
        }
        if delays.len() == RECORDS as usize {
            break;
        }
    }
    follower.kill()?;
    follower.wait()?;
    ensure!(delays.len() == RECORDS as usize, "only {} records came", delays.len());
    Ok(Samples::new(delays))
}

/// How long the command line may take to start.
const SETTLING: Duration = Duration::from_millis(500);
