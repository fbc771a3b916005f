//! An error that is stored and counted by its group, beside the same bytes stored and not counted.

use std::hint::black_box;

use anyhow::{Result, ensure};
use glasshouse_model::record::KIND_FAILURE;
use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{self, Error, KIND_ERROR};
use glasshouse_model::{Context, Digest, Failure, FailureKind, Frame, Origin, Signal, UnixNanos};
use glasshouse_telemetry::{Head, Recorder};
use tempfile::TempDir;

use crate::harness::{Plan, Row, Side, Unit, cpu};
use crate::records::{depot, store};

/// Errors in one measurement.
const TIMES: u32 = 2_000;
/// What one error may take: 100,000 a second on one core.
const LIMIT_NANOS: f64 = 10_000.0;
/// A stack as a panic in a guest has it.
const STACK: [&str; 12] = [
    "__rustc::rust_panic",
    "std::panicking::panic_with_hook",
    "std::panicking::panic_handler::{closure#0}",
    "std::sys::backtrace::__rust_end_short_backtrace::<std::panicking::panic_handler::{closure#0}, !>",
    "__rustc::rust_begin_unwind",
    "core::panicking::panic_fmt",
    "core::panicking::panic_bounds_check",
    "markdown::render::heading::<alloc::string::String>",
    "<markdown::render::Renderer as core::iter::traits::iterator::Iterator>::next",
    "markdown::render::render",
    "<markdown::Markdown as glasshouse_sdk::handler::Handler>::handle",
    "glasshouse:extension/handler@0.1.0#handle",
];

/// Makes the body of the error with a number.
type Encode = fn(&mut Vec<u8>, u32);

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let folder = TempDir::new()?;
    let depot = depot(folder.path())?;
    let kinds: [(&str, u8, Encode); 3] = [
        ("an error that a guest reports, stored and counted", KIND_ERROR, report),
        ("a failure with a stack of 12 functions", KIND_FAILURE, failure),
        ("reports without end of which no two are alike", KIND_ERROR, flood),
    ];
    let mut context = Vec::new();
    Context { user: Some("ada".to_owned()), tenant: Some("engines".to_owned()), ..Context::default() }
        .encode(&mut context);
    let stores = ["reports", "failures", "flood"].map(|name| store(&depot, name, &Settings::default()));
    let [reports, failures, floods] = stores;
    let stores = [reports?, failures?, floods?];
    let mut rows = Vec::new();
    for ((what, kind, encode), store) in kinds.into_iter().zip(&stores) {
        let recorder = store.recorder();
        let side = |signal: Signal| -> Side<'_> {
            let (recorder, context, depot) = (&recorder, &context, &depot);
            let mut body = Vec::new();
            Box::new(move || {
                depot.settle();
                cpu(TIMES, || {
                    (0..TIMES).for_each(|number| append(recorder, signal, kind, context, &mut body, encode, number));
                    Ok(())
                })
            })
        };
        // Alerts are stored as errors are, and belong to no group.
        let [ours, peer] = plan.run([side(Signal::Error), side(Signal::Alert)])?;
        let counted: u64 = store.error_groups(UnixNanos(1)).iter().map(|group| group.count).sum();
        let expected = u64::from(TIMES) * u64::from(plan.repeats + 1);
        ensure!(counted == expected, "{counted} errors were counted, not {expected}");
        rows.push(ours.against(&peer, "group", what, "the same record, stored and not counted", None));
        let limit = format!("{:.0} a second on a core", 1e9 / LIMIT_NANOS);
        rows.push(
            Row::figure("group", format!("{what}: the limit"), Unit::Nanos, ours.spread()).under(&limit, LIMIT_NANOS),
        );
    }
    Ok(rows)
}

fn append(
    recorder: &Recorder,
    signal: Signal,
    kind: u8,
    context: &[u8],
    body: &mut Vec<u8>,
    encode: Encode,
    number: u32,
) {
    body.clear();
    encode(body, number);
    let head = Head { time: UnixNanos(1), origin: Origin::Guest, cut: false, batched: false, context };
    black_box(recorder.append(signal, head, kind, body));
}

fn report(body: &mut Vec<u8>, number: u32) {
    let message = format!("chapter {number}: no heading in /srv/pages/{number}.md after 3ms");
    wire::write_error(
        body,
        &Error { kind: "markdown::Missing", message: &message, stack: "", source: None, handled: true },
        &[],
    );
}

fn flood(body: &mut Vec<u8>, number: u32) {
    // Letters only: a number would be left out.
    let letter = |shift: u32| char::from(b'a' + (number >> shift & 15) as u8);
    let kind: String = [0, 4, 8, 12].into_iter().map(letter).collect();
    wire::write_error(body, &Error { kind: &kind, message: "no heading", stack: "", source: None, handled: true }, &[]);
}

fn failure(body: &mut Vec<u8>, number: u32) {
    let frame = |function: &&str| Frame { function: (*function).to_owned(), offset: Some(number.into()) };
    Failure {
        kind: FailureKind::Panic,
        message: format!("index out of bounds: the len is 3 but the index is {number}"),
        call: "handle:render".to_owned(),
        component: Digest([7; 32]),
        location: Some(("src/render.rs".to_owned(), number)),
        frames: STACK.iter().map(frame).collect(),
        evidence: Vec::new(),
        input: None,
    }
    .encode(body);
}
