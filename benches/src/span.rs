//! A span with two fields, started and ended.

use std::hint::black_box;

use anyhow::{Result, ensure};
use glasshouse_model::Signal;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter};

use crate::bare::{Guest, any};
use crate::harness::{Plan, Row, Side, Unit, cpu, cpu_of_all};
use crate::house::{House, times};

/// Spans in one measurement.
const TIMES: u32 = 5_000;

/// What the readings at a span's two ends may take.
const READINGS_NANOS: f64 = 100.0;

/// Throws spans away.
#[derive(Debug)]
struct Nowhere;

impl SpanExporter for Nowhere {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        black_box(batch);
        Ok(())
    }
}

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let mut ours = house.instance("bench-sdk")?;
    let stored = ours.extension().clone();
    let mut bare = any(house.tokio.block_on(Guest::start(house.runtime.engine(), &house.guest("bench-bare"))))?;
    let ours_to_read = house.instance("bench-empty")?;
    // A queue that holds all spans of a measurement, so that none is dropped for want of room.
    let config = BatchConfigBuilder::default().with_max_queue_size(2 * TIMES as usize).build();
    let processor = BatchSpanProcessor::builder(Nowhere).with_batch_config(config).build();
    let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
    let tracer = provider.tracer("bench");

    let our_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || house.tokio.block_on(async { Ok(ours.handle(times("span", TIMES)).await.map(drop)?) }))
    });
    let native = |index: u32| {
        let attributes =
            [KeyValue::new("path", black_box("/index.html")), KeyValue::new("index", i64::from(black_box(index)))];
        let mut span = tracer.span_builder("work").with_attributes(attributes).start(&tracer);
        span.end();
    };
    let native_side: Side<'_> = Box::new(|| {
        let nanos = cpu(TIMES, || {
            (0..TIMES).for_each(native);
            Ok(())
        })?;
        provider.force_flush()?;
        Ok(nanos)
    });
    let flushed_side: Side<'_> = Box::new(|| {
        cpu_of_all(TIMES, || {
            (0..TIMES).for_each(native);
            Ok(provider.force_flush()?)
        })
    });
    let bare_side: Side<'_> = Box::new(|| cpu(TIMES, || any(house.tokio.block_on(bare.cross_twice(TIMES)))));
    let [sdk, native, flushed, crossings] = plan.run([our_side, native_side, flushed_side, bare_side])?;
    let read_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || {
            for _ in 0..TIMES {
                black_box(ours_to_read.read_cost());
            }
            Ok(())
        })
    });
    let [read] = plan.run([read_side])?;
    let spans = stored.usage().stored[Signal::Span as usize];
    let expected = u64::from(TIMES) * u64::from(plan.repeats + 1);
    ensure!(spans == expected, "{spans} spans were stored, not {expected}");
    let readings = Row::figure("span", "reading what was used at both ends", Unit::Nanos, read.spread());
    let (what, peer) = (
        "start and end with 2 fields, through the SDK into the store",
        "native opentelemetry_sdk, batch processor, no-op exporter",
    );
    let floor = "two bare crossings, the same bytes and a number, encoded once";
    Ok(vec![
        sdk.against(&native, "span", what, peer, Some(0.5)),
        sdk.against(&flushed, "span", what, "the same, with what its processor's thread spends on them", None),
        sdk.against(&crossings, "span", what, floor, None),
        crossings.against(&native, "span", floor, peer, None),
        readings.under("100 ns", READINGS_NANOS),
    ])
}
