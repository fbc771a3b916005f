//! A sample through a bound meter.

use anyhow::{Result, ensure};
use glasshouse_model::Signal;

use crate::bare::{Guest, any};
use crate::harness::{Plan, Row, Side, cpu};
use crate::house::{House, times};

/// Samples in one measurement: some milliseconds.
const TIMES: u32 = 20_000;

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let mut ours = house.instance("bench-sdk")?;
    let stored = ours.extension().clone();
    let mut bare = any(house.tokio.block_on(Guest::start(house.runtime.engine(), &house.guest("bench-bare"))))?;
    let our_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || house.tokio.block_on(async { Ok(ours.handle(times("meter", TIMES)).await.map(drop)?) }))
    });
    let bare_side: Side<'_> = Box::new(|| cpu(TIMES, || any(house.tokio.block_on(bare.meter(TIMES)))));
    let [meter, method] = plan.run([our_side, bare_side])?;
    let samples = stored.usage().stored[Signal::Metric as usize];
    let expected = u64::from(TIMES) * u64::from(plan.repeats + 1);
    ensure!(samples == expected, "{samples} samples were stored, not {expected}");
    Ok(vec![meter.against(
        &method,
        "metric",
        "sample of a bound meter with a label, into the store",
        "bare wasmtime, resource method with an f64, summed",
        Some(1.5),
    )])
}
