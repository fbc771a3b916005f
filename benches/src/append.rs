//! An append to a mapped segment, beside the same encoding into memory.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{self, Field, KIND_LOG, Log, Value};
use glasshouse_model::{Level, Origin, Signal, UnixNanos};
use glasshouse_runtime::SystemClock;
use glasshouse_telemetry::{Depot, Head, Recorder, Store};
use tempfile::TempDir;

use crate::harness::{Plan, Row, Side, cpu};
use crate::records::{depot, store};
use crate::visit::{Visit, visit};

/// Logs in one measurement: a burst that fills most of a segment. One that goes on for longer is faster than files can be
/// made, and takes page faults; it is measured, too.
const TIMES: u32 = 4_000;
/// Logs in a burst that outruns the making of files: some megabytes.
const FLAT_OUT: u32 = 40_000;
/// Bytes of the peer's ring: as many as a segment in a file has at most.
const RING_BYTES: usize = 1 << 20;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let folder = TempDir::new()?;
    let depot = depot(folder.path())?;
    let mut settings = Settings::default();
    let redacting = store(&depot, "redacting", &settings)?;
    settings.redaction.enabled = false;
    let plain = store(&depot, "plain", &settings)?;
    let memory = Depot::in_memory(Arc::new(SystemClock::new()));
    let in_memory = store(&memory, "in-memory", &settings)?;
    let flat_out_recorder = store(&depot, "flat-out", &settings)?.recorder();
    let recorders = [&plain, &redacting, &in_memory].map(Store::recorder);

    let [plain_side, redacting_side, memory_side] = recorders.each_ref().map(|recorder| -> Side<'_> {
        let mut body = Vec::new();
        let depot = &depot;
        Box::new(move || {
            // The file of the next segment is made ahead, as it is where the guest does other things as well.
            depot.settle();
            cpu(TIMES, || {
                (0..TIMES).for_each(|number| append(recorder, &mut body, number));
                Ok(())
            })
        })
    });
    let mut body = Vec::new();
    let flat_out_side: Side<'_> = Box::new(|| {
        cpu(FLAT_OUT, || {
            (0..FLAT_OUT).for_each(|number| append(&flat_out_recorder, &mut body, number));
            Ok(())
        })
    });
    let mut body = Vec::new();
    let mut ring = vec![0; RING_BYTES];
    let mut at = 0;
    let peer_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || {
            for number in 0..TIMES {
                encode(&mut body, number);
                if at + body.len() > ring.len() {
                    at = 0;
                }
                ring[at..at + body.len()].copy_from_slice(&body);
                at += body.len();
                black_box(&ring);
            }
            Ok(())
        })
    });
    let [plain_side, redacting_side, memory_side, flat_out_side, peer_side] =
        plan.run([plain_side, redacting_side, memory_side, flat_out_side, peer_side])?;
    let expected = u64::from(TIMES) * u64::from(plan.repeats + 1);
    let stored = plain.usage().stored[Signal::Log as usize];
    ensure!(stored == expected, "{stored} logs were stored, not {expected}");
    let peer = "the same encoding, and a copy into a ring in memory";
    Ok(vec![
        plain_side.against(&peer_side, "append", "log of 64 bytes and 4 fields into a mapped file", peer, Some(1.5)),
        redacting_side.against(&peer_side, "append", "the same, looked through for secrets", peer, None),
        flat_out_side.against(&peer_side, "append", "the same as the first, faster than files are made", peer, None),
        memory_side.against(&peer_side, "append", "the same as the first, into a store in memory", peer, None),
    ])
}

/// Encodes a log and stores it.
pub(crate) fn append(recorder: &Recorder, body: &mut Vec<u8>, number: u32) {
    encode(body, number);
    // No side reads a clock.
    let head = Head { time: UnixNanos(1), origin: Origin::Guest, cut: false, batched: false, context: &[] };
    black_box(recorder.append(Signal::Log, head, KIND_LOG, body));
}

fn encode(body: &mut Vec<u8>, number: u32) {
    let Visit { path, status, seconds, cached } = visit(number);
    let log = Log { level: Level::Info, target: "bench", message: "", source: None, time: None };
    let fields = [
        Field { name: "path", value: Value::Text(path) },
        Field { name: "status", value: Value::Integer(status.into()) },
        Field { name: "seconds", value: Value::Float(seconds) },
        Field { name: "cached", value: Value::Boolean(cached) },
    ];
    body.clear();
    let message = format_args!("a message of sixty-four bytes, which is about what a log line is");
    wire::write_log(body, &log, message, &fields);
}
