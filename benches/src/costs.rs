//! What telemetry costs, signal by signal and by how much of it is kept: multiples of what it costs to pass the same bytes to a
//! host that only counts them. Each has its bound, by which a change that makes it dearer is noticed.

use anyhow::Result;
use glasshouse_model::Level;
use glasshouse_model::settings::Settings;
use glasshouse_runtime::Runtime;
use glasshouse_runtime::bench::Instance;

use crate::bare::{Guest, any};
use crate::harness::{Plan, Row, Samples, Side, cpu};
use crate::house::{House, times};

const GUEST: &str = "bench-sdk";
/// Records in one measurement: half a millisecond, and less than a segment of files.
const TIMES: u32 = 2_000;
/// Pieces of work in one measurement, each of some hundred nanoseconds.
const PIECES: u32 = 4_000;

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// The signal is switched off, so that the SDK does not even make it.
    Off,
    /// Only what fails is stored.
    Failed,
    /// The log is below the level that is stored.
    BelowLevel,
    /// Stored in memory, and not searched for secrets.
    Unsearched,
    /// Stored in memory.
    Stored,
    /// Stored in files.
    OnDisk,
}

use Detail::{BelowLevel, Failed, Off, OnDisk, Stored, Unsearched};

/// A line of the table: the event that a guest gets, what that is, how much of it is kept, and its bound, which is about twice
/// what was measured.
type Cost = (&'static str, &'static str, Detail, f64);

const COSTS: &[Cost] = &[
    ("log", "log of 64 bytes and 4 fields", Off, 0.2),
    ("debug", "log of 64 bytes and 4 fields", BelowLevel, 0.2),
    ("log", "log of 64 bytes and 4 fields", Unsearched, 3.5),
    ("log", "log of 64 bytes and 4 fields", Stored, 4.0),
    ("log", "log of 64 bytes and 4 fields", OnDisk, 7.0),
    ("request", "request told by the SDK's helper", Off, 0.4),
    ("request", "request told by the SDK's helper", Stored, 13.0),
    ("meter", "sample of a bound meter", Off, 0.2),
    ("meter", "sample of a bound meter", Stored, 5.2),
    ("meter", "sample of a bound meter", OnDisk, 5.8),
    ("sample", "sample with a label", Off, 0.6),
    ("span", "span with 2 fields", Off, 0.2),
    ("span", "span with 2 fields", Failed, 5.5),
    ("span", "span with 2 fields", Stored, 6.0),
    ("span", "span with 2 fields", OnDisk, 7.0),
    ("instrument", "instrumented function of 2 arguments", Off, 0.2),
    ("instrument", "instrumented function of 2 arguments", BelowLevel, 0.2),
    ("error", "handled error", Off, 0.3),
    ("error", "handled error, put into its group", Stored, 20.0),
    ("error", "handled error, put into its group", OnDisk, 26.0),
    ("alert", "alert", Off, 0.3),
    ("alert", "alert", Stored, 4.2),
    ("alert", "alert", OnDisk, 6.0),
];

impl Detail {
    fn words(self) -> &'static str {
        match self {
            Off => "switched off",
            Failed => "stored if it fails",
            BelowLevel => "below the level",
            Unsearched => "stored, not searched for secrets",
            Stored => "stored",
            OnDisk => "stored in files",
        }
    }

    fn settings(self, settings: &mut Settings) {
        settings.redaction.enabled = self != Unsearched;
        let debugging = &mut settings.debugging;
        let on = self != Off;
        debugging.logging_enabled = on;
        debugging.metrics_enabled = on;
        debugging.error_tracking_enabled = on;
        debugging.tracing_enabled = on && self != Failed;
        debugging.alerting_enabled = on;
        if self == BelowLevel {
            debugging.log_level = Level::Info;
        }
    }
}

/// An instance, and the runtime that looks after its files.
struct Measured {
    instance: Instance,
    _runtime: Option<Runtime>,
}

impl Measured {
    fn start(house: &House, detail: Detail) -> Result<Self> {
        if detail == OnDisk {
            let (runtime, instance) = house.instance_on_disk(GUEST)?;
            return Ok(Self { instance, _runtime: Some(runtime) });
        }
        Ok(Self { instance: house.instance_with(GUEST, |settings| detail.settings(settings))?, _runtime: None })
    }

    fn side<'a>(mut self, house: &'a House, event: &'static str, count: u32) -> Side<'a> {
        Box::new(move || {
            cpu(count, || {
                house.tokio.block_on(async { Ok(self.instance.handle(times(event, count)).await.map(drop)?) })
            })
        })
    }
}

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let mut bare = any(house.tokio.block_on(Guest::start(house.runtime.engine(), &house.guest("bench-bare"))))?;
    let peer: Side<'_> = Box::new(|| cpu(TIMES, || any(house.tokio.block_on(bare.emit_at_site(TIMES)))));
    let mut sides = vec![peer];
    for (event, _, detail, _) in COSTS {
        sides.push(Measured::start(house, *detail)?.side(house, event, TIMES));
    }
    let samples = plan.run_all(sides)?;
    let peer = "a log's bytes as list<u8> to bare wasmtime, counted";
    let mut rows: Vec<_> = COSTS
        .iter()
        .zip(&samples[1..])
        .map(|((_, what, detail, bound), ours)| {
            ours.against(&samples[0], "costs", &format!("{what}, {}", detail.words()), peer, Some(*bound))
        })
        .collect();
    rows.extend(nothing(house, plan)?);
    Ok(rows)
}

/// Work whose logs or spans are off, beside the same work without any; and whose spans are stored if they fail, as by default, which is not
/// off: each crosses.
fn nothing(house: &House, plan: &Plan) -> Result<[Row; 4]> {
    let side = |event, detail| -> Result<Side<'_>> { Ok(Measured::start(house, detail)?.side(house, event, PIECES)) };
    let [off, below, span_off, span_failed, silent] = plan.run([
        side("told", Off)?,
        side("told", BelowLevel)?,
        side("spanned", Off)?,
        side("spanned", Failed)?,
        side("work", Stored)?,
    ])?;
    let row = |ours: &Samples, record: &str, detail: Detail, target: Option<f64>| {
        let what = format!("a little work with a {record}, {}", detail.words());
        ours.against(&silent, "costs", &what, &format!("the same work without a {record}"), target)
    };
    Ok([
        row(&off, "log", Off, Some(1.15)),
        row(&below, "log", BelowLevel, Some(1.15)),
        row(&span_off, "span", Off, Some(1.15)),
        row(&span_failed, "span", Failed, None),
    ])
}
