//! What well-behaved extensions notice of hostile ones beside them, on two threads: how long their calls take before, while those
//! rage, and once they are quarantined, and whether all that they recorded is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use glasshouse_model::{FailureKind, Signal};
use glasshouse_runtime::{CallError, Event, Extension, Runtime, RuntimeSettings, Status, Trigger, tokio_builder};
use glasshouse_telemetry::{Body, Entry};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::harness::{Plan, Row, Samples, Unit};
use crate::house::{House, spec};

/// Extensions that behave well, and how often each is called.
const NEIGHBOURS: u32 = 100;
const PERIOD: Duration = Duration::from_millis(100);
/// Calls of each in a phase: with those of all, enough for a 99th percentile.
const CALLS: u32 = 60;
/// Calls of each before that, which do not count: what is done for the first time takes longer.
const FIRST_CALLS: u32 = 5;
/// Threads that serve all of them.
const WORKERS: usize = 2;
/// Ten that do not behave: what each does for ever.
const HOSTILE: [(&str, &str, &str); 10] = [
    ("spin", "spin", ""),
    ("spin", "spin", ""),
    ("spin", "spin", ""),
    ("spin", "spin", ""),
    ("host-flood", "batches", "1000"),
    ("host-flood", "messages", "10000"),
    ("host-flood", "lines", ""),
    ("memory-bomb", "hoard", ""),
    ("memory-bomb", "hoard", ""),
    ("memory-bomb", "hoard", ""),
];
/// How long whoever calls them waits after an answer that they take no calls.
const REFUSED: Duration = Duration::from_millis(10);
/// Longer than anything here takes.
const FOR_GOOD: Duration = Duration::from_hours(1);
/// Turns of the three phases. Each turn's percentiles are compared with those of its own quiet phase, and the median of the turns
/// counts: a machine that does other things as well is never the same for long.
const TURNS: usize = 7;
/// The hostile ones' deadline once they are to be quarantined, so that this does not take long.
const SOON: Duration = Duration::from_millis(200);

/// How much later than its deadline a call may end.
const LATE_NANOS: f64 = 50e6;

/// What the neighbours' calls took: from when each was due, which is what its caller sees, and from when it was made.
#[derive(Default)]
struct Latencies {
    due: Vec<f64>,
    made: Vec<f64>,
}

/// What is taken of a phase.
type Taken = fn(&Latencies) -> &Vec<f64>;

/// From when a call is measured, and where that is found.
const FROM: [(&str, Taken); 2] = [("from when it was due", |phase| &phase.due), ("by itself", |phase| &phase.made)];

pub(crate) fn measure(house: &House, _: &Plan) -> Result<Vec<Row>> {
    let tokio = tokio_builder().worker_threads(WORKERS).build()?;
    for guest in ["neighbour", "spin", "host-flood", "memory-bomb"] {
        // Compiled once: a hundred that start at once would each compile it.
        house.instance(guest)?;
    }
    let mut turns: Vec<[Latencies; 3]> = Vec::new();
    let mut latest = Vec::new();
    let mut raged = 0;
    for _ in 0..TURNS {
        let (phases, failures, late) = tokio.block_on(async { tokio::spawn(turn(Turn::new(house)?)).await? })?;
        turns.push(phases);
        latest.push(late);
        raged += failures;
    }
    let mut rows = Vec::new();
    let raging = format!("while ten rage ({raged} failed calls)");
    for (phase, words, target) in [(1, raging.as_str(), 1.5), (2, "once the ten are quarantined", 1.1)] {
        for (percent, name, target) in [(50.0, "p50", None), (99.0, "p99", Some(target)), (100.0, "max", None)] {
            for (from, of) in FROM {
                let figures = |phase: usize| {
                    Samples::new(
                        turns.iter().map(|turn| Samples::new(of(&turn[phase]).clone()).percentile(percent)).collect(),
                    )
                };
                let what = format!("a call of 100 neighbours, {from}, {words}, {name}");
                rows.push(figures(phase).against(&figures(0), "neighbours", &what, "when all is quiet", target));
            }
        }
    }
    let what = "the call of the ten that ends latest after its deadline";
    let row = Row::figure("neighbours", what, Unit::Nanos, Samples::new(latest).spread());
    rows.push(row.under("the most allowed", LATE_NANOS));
    Ok(rows)
}

/// One host with all of them.
struct Turn {
    runtime: Runtime,
    neighbours: Vec<Extension>,
    hostile: Vec<(Extension, Event)>,
}

impl Turn {
    fn new(house: &House) -> Result<Self> {
        let cache_folder = Some(house.folder().join("cache"));
        let runtime = Runtime::new(RuntimeSettings { cache_folder, ..RuntimeSettings::default() })?;
        let start = |guest: &str, number: usize, failures: u32| -> Result<Extension> {
            let mut spec = spec(&format!("{guest}-{number}"), house.guest(guest))?;
            spec.settings.budget.failures_in_a_row = failures;
            spec.settings.budget.quarantine = FOR_GOOD;
            Ok(runtime.start(spec)?)
        };
        let neighbours = (0..NEIGHBOURS as usize).map(|number| start("neighbour", number, 3)).collect::<Result<_>>()?;
        let hostile = HOSTILE.iter().enumerate().map(|(number, (guest, event, payload))| {
            let event = Event { name: (*event).into(), payload: payload.as_bytes().to_vec(), ..Event::default() };
            // They are to rage as long as the measurement takes.
            Ok((start(guest, number, u32::MAX)?, event))
        });
        let hostile = hostile.collect::<Result<_>>()?;
        Ok(Self { runtime, neighbours, hostile })
    }
}

/// Three phases; also returns how many calls of the hostile ones have failed while they raged, and how much later than its deadline
/// the latest of their calls ended, in nanoseconds.
async fn turn(turn: Turn) -> Result<([Latencies; 3], u64, f64)> {
    let Turn { runtime, neighbours, hostile } = turn;
    for extension in neighbours.iter().chain(hostile.iter().map(|(extension, _)| extension)) {
        let status = extension.loaded().await;
        ensure!(status == Status::Ready, "{}: {}", extension.id(), status.reason().unwrap_or(status.word()));
    }
    phase(&neighbours, FIRST_CALLS).await?;
    let quiet = phase(&neighbours, CALLS).await?;
    let failures = Arc::new(AtomicU64::new(0));
    let ends = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for (extension, event) in &hostile {
        let (extension, event) = (extension.clone(), event.clone());
        let (failures, ends) = (Arc::clone(&failures), Arc::clone(&ends));
        callers.spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                match extension.call(event.clone(), Trigger::default()).await {
                    Err(CallError::Failed(_)) => drop(failures.fetch_add(1, Ordering::Relaxed)),
                    _ => sleep(REFUSED).await,
                }
            }
        });
    }
    let raging = phase(&neighbours, CALLS).await?;
    let raged = failures.load(Ordering::Relaxed);
    for (extension, _) in &hostile {
        let mut settings = extension.settings().as_ref().clone();
        settings.budget.failures_in_a_row = 3;
        settings.budget.deadline = SOON;
        extension.apply(settings, "the bench").map_err(|error| anyhow!("{error}"))?;
    }
    let is_quarantined = |(extension, _): &(Extension, Event)| matches!(extension.status(), Status::Quarantined { .. });
    while !hostile.iter().all(is_quarantined) {
        sleep(REFUSED).await;
    }
    let quarantined = phase(&neighbours, CALLS).await?;
    ends.store(true, Ordering::Relaxed);
    while let Some(caller) = callers.join_next().await {
        caller?;
    }
    for neighbour in &neighbours {
        has_all(neighbour)?;
    }
    let late = hostile.iter().map(|(extension, _)| late_nanos(extension)).collect::<Result<Vec<_>>>()?;
    let latest = late.into_iter().flatten().reduce(f64::max).context("none of the ten reached its deadline")?;
    runtime.shutdown(Duration::from_secs(10)).await;
    Ok(([quiet, raging, quarantined], raged, latest))
}

/// How much later than its deadline each call of an extension ended that ended by it.
fn late_nanos(extension: &Extension) -> Result<Vec<f64>> {
    let call_of = |entry: &Entry| entry.envelope().context.map(|context| context.span_id);
    let mut deadlines = HashMap::new();
    for entry in extension.reader(Signal::Error).all() {
        if let Body::Failure(failure) = entry.body().map_err(|error| anyhow!("{error}"))?
            && failure.kind == FailureKind::DeadlineBreach
            && let Some((_, nanos)) = failure.evidence.iter().find(|(name, _)| name == "deadline_ns")
        {
            deadlines.insert(call_of(&entry), *nanos as f64);
        }
    }
    let mut late = Vec::new();
    for entry in extension.reader(Signal::Invocation).all() {
        if let Some(deadline) = deadlines.get(&call_of(&entry))
            && let Body::Invocation(invocation) = entry.body().map_err(|error| anyhow!("{error}"))?
        {
            late.push((invocation.cost.elapsed_nanos as f64 - deadline).max(0.0));
        }
    }
    Ok(late)
}

/// Calls each neighbour at a steady rate, all of them evenly spread but for a part of a millisecond drawn by lot: tokio's timers go off at whole ones,
/// and by calls at a distance of whole ones each phase would measure how its start lies among them.
async fn phase(neighbours: &[Extension], calls: u32) -> Result<Latencies> {
    let mut callers = JoinSet::new();
    let start = Instant::now() + PERIOD;
    for (number, neighbour) in (0..).zip(neighbours) {
        let neighbour = neighbour.clone();
        callers.spawn(async move {
            let mut latencies = Latencies::default();
            let event = Event { name: "echo".into(), payload: b"hello".to_vec(), ..Event::default() };
            let mut random = fastrand::Rng::with_seed(number.into());
            for call in 0..calls {
                let spread = Duration::from_nanos(random.u64(..1_000_000));
                let due = start + PERIOD * number / NEIGHBOURS + PERIOD * call + spread;
                sleep_until(due).await;
                let made = Instant::now();
                neighbour.call(event.clone(), Trigger::default()).await.context("a neighbour's call")?;
                latencies.due.push(due.elapsed().as_nanos() as f64);
                latencies.made.push(made.elapsed().as_nanos() as f64);
            }
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut all = Latencies::default();
    while let Some(caller) = callers.join_next().await {
        let latencies = caller??;
        all.due.extend(latencies.due);
        all.made.extend(latencies.made);
    }
    Ok(all)
}

/// Each call has left a log, a metric and its invocation behind, and none has gone.
fn has_all(neighbour: &Extension) -> Result<()> {
    let calls = u64::from(FIRST_CALLS + 3 * CALLS);
    let usage = neighbour.usage();
    for signal in [Signal::Log, Signal::Metric, Signal::Invocation] {
        let (stored, evicted) = (usage.stored[signal as usize], usage.evicted[signal as usize]);
        ensure!(stored >= calls && evicted == 0, "{}: {stored} {signal}, {evicted} evicted", neighbour.id());
        let there = neighbour.reader(signal).all().len() as u64;
        ensure!(there == stored, "{}: {there} of {stored} {signal}", neighbour.id());
    }
    ensure!(usage.dropped == 0, "{}: {} records dropped", neighbour.id(), usage.dropped);
    Ok(())
}
