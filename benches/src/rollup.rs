//! What samples come to: the making of rollups in the background, and an answer from them.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{self, Field, Metric, Value};
use glasshouse_model::{Instrument, Origin, Signal, UnixNanos};
use glasshouse_telemetry::{Follower, Head, Query, Recorder, Store, StoreSettings};

use crate::harness::{Plan, Row, Side, Unit, cpu};

/// Samples in one measurement, a thousand of which are of a second.
const TIMES: u32 = 20_000;
/// Samples that answer for an hour: one a second.
const HOUR: u32 = 3600;
/// Series that samples are of in turn.
const SERIES: u32 = 8;
const SECOND: i64 = 1_000_000_000;
/// The start of a minute.
const START: i64 = 1_800_000_000 * SECOND;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let store = store();
    let (recorder, mut follower) = (store.recorder(), Follower::new(&store));
    let mut at = START;
    let mut body = Vec::new();
    let follow: Side<'_> = Box::new(|| {
        for number in 0..TIMES {
            at += SECOND / 1000;
            record(&recorder, &mut body, number, at);
        }
        cpu(TIMES, || {
            ensure!(follower.follow(UnixNanos(at)), "the store is there");
            Ok(())
        })
    });

    let hour = self::store();
    let recorder = hour.recorder();
    let mut body = Vec::new();
    for number in 0..HOUR {
        record(&recorder, &mut body, SERIES * number, START + i64::from(number) * SECOND);
    }
    let end = UnixNanos(START + i64::from(HOUR) * SECOND);
    ensure!(Follower::new(&hour).follow(end), "the store is there");
    let ask = |text: &str| -> Result<f64> {
        let query = Query::parse(text, end)?;
        let reader = hour.reader(Signal::Metric);
        let mut found = 0;
        let nanos = cpu(1, || {
            found = black_box(reader.summary("bench", &query)).series.iter().map(|series| series.aggregate.count).sum();
            Ok(())
        })?;
        ensure!(found == u64::from(HOUR), "{found} samples");
        Ok(nanos)
    };
    let rolled: Side<'_> = Box::new(|| ask("name=size since 1h"));
    // A condition on a value is one on samples.
    let raw: Side<'_> = Box::new(|| ask("name=size and value>=0 since 1h"));
    let [follow, rolled, raw] = plan.run([follow, rolled, raw])?;
    let what = format!("rollups of a sample, a thousand a second in {SERIES} series, in the background");
    Ok(vec![
        Row::figure("rollup", what, Unit::Nanos, follow.spread()),
        rolled.against(&raw, "rollup", "summary of an hour with a sample a second", "the same from the samples", None),
    ])
}

fn store() -> Arc<Store> {
    let mut settings = Settings::default();
    settings.debugging.max_metrics = 10 * TIMES as usize;
    Store::new(&StoreSettings::new(&settings), Arc::default())
}

fn record(recorder: &Recorder, body: &mut Vec<u8>, number: u32, at: i64) {
    let route = ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"][(number % SERIES) as usize];
    let value = f64::from(number.wrapping_mul(0x9e37_79b9) >> 12);
    let metric = Metric { instrument: Instrument::Histogram, name: "size", unit: "By", value };
    body.clear();
    wire::write_metric(body, &metric, &[Field { name: "route", value: Value::Text(route) }]);
    let head = Head { time: UnixNanos(at), origin: Origin::Guest, cut: false, batched: false, context: &[] };
    black_box(recorder.append(Signal::Metric, head, wire::KIND_METRIC, body));
}
