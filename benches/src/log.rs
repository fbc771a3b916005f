//! A guest's log of 64 bytes with four fields.

use std::io;

use anyhow::{Result, ensure};
use glasshouse_model::Signal;

use crate::bare::{Guest, any};
use crate::core_module::CoreModule;
use crate::harness::{Plan, Row, Side, cpu};
use crate::house::{House, times};
use crate::visit::{PERIOD, Visit, visit};

/// Logs in one measurement: about a millisecond, and fewer bytes than a segment in a file has, so that the next file can be
/// made ahead while the others are measured.
const TIMES: u32 = 4_000;

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let mut ours = house.instance("bench-sdk")?;
    let mut gathering = house.instance("bench-sdk")?;
    house.tokio.block_on(async { gathering.handle(times("batch", 1)).await.map(drop) })?;
    let mut unsearched = house.instance_without_redaction("bench-sdk")?;
    let mut gathering_unsearched = house.instance_without_redaction("bench-sdk")?;
    house.tokio.block_on(async { gathering_unsearched.handle(times("batch", 1)).await.map(drop) })?;
    let (_runtime, mut on_disk) = house.instance_on_disk("bench-sdk")?;
    let (_other_runtime, mut gathering_on_disk) = house.instance_on_disk("bench-sdk")?;
    house.tokio.block_on(async { gathering_on_disk.handle(times("batch", 1)).await.map(drop) })?;
    let mut encoded = any(house.tokio.block_on(Guest::start(house.runtime.engine(), &house.guest("bench-bare"))))?;
    let mut at_site = any(house.tokio.block_on(Guest::start(house.runtime.engine(), &house.guest("bench-bare"))))?;
    let mut typed = any(house.tokio.block_on(Guest::start(house.runtime.engine(), &house.guest("bench-bare"))))?;
    let mut whole = any(house.tokio.block_on(Guest::start(house.runtime.engine(), &house.guest("bench-bare"))))?;
    let mut core = any(house.tokio.block_on(CoreModule::start(house.runtime.engine())))?;
    any(house.tokio.block_on(encoded.emit(PERIOD)))?;
    let bytes_of_one = (std::mem::take(&mut encoded.store.data_mut().bytes) / u64::from(PERIOD)) as u32;
    let native = tracing::Dispatch::new(tracing_subscriber::fmt().json().with_writer(io::sink).finish());

    let stored = ours.extension().clone();
    let gathered = gathering.extension().clone();
    let stored_unsearched = unsearched.extension().clone();
    let gathered_unsearched = gathering_unsearched.extension().clone();
    let stored_on_disk = on_disk.extension().clone();
    let gathered_on_disk = gathering_on_disk.extension().clone();
    let our_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || house.tokio.block_on(async { Ok(ours.handle(times("log", TIMES)).await.map(drop)?) }))
    });
    let gathering_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || house.tokio.block_on(async { Ok(gathering.handle(times("log", TIMES)).await.map(drop)?) }))
    });
    let unsearched_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || house.tokio.block_on(async { Ok(unsearched.handle(times("log", TIMES)).await.map(drop)?) }))
    });
    let gathering_unsearched_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || {
            house.tokio.block_on(async { Ok(gathering_unsearched.handle(times("log", TIMES)).await.map(drop)?) })
        })
    });
    let disk_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || house.tokio.block_on(async { Ok(on_disk.handle(times("log", TIMES)).await.map(drop)?) }))
    });
    let gathering_disk_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || {
            house.tokio.block_on(async { Ok(gathering_on_disk.handle(times("log", TIMES)).await.map(drop)?) })
        })
    });
    let encoded_side: Side<'_> = Box::new(|| cpu(TIMES, || any(house.tokio.block_on(encoded.emit(TIMES)))));
    let at_site_side: Side<'_> = Box::new(|| cpu(TIMES, || any(house.tokio.block_on(at_site.emit_at_site(TIMES)))));
    let typed_side: Side<'_> = Box::new(|| cpu(TIMES, || any(house.tokio.block_on(typed.log(TIMES)))));
    let whole_side: Side<'_> = Box::new(|| cpu(TIMES, || any(house.tokio.block_on(whole.log_whole(TIMES)))));
    let core_side: Side<'_> = Box::new(|| cpu(TIMES, || any(house.tokio.block_on(core.pass(bytes_of_one, TIMES)))));
    let native_side: Side<'_> = Box::new(|| {
        tracing::dispatcher::with_default(&native, || {
            cpu(TIMES, || {
                (0..TIMES).for_each(native_log);
                Ok(())
            })
        })
    });
    let [sdk, batched, plain, batched_plain, disk, batched_disk, bytes, prefixed, bindgen, whole, core, native] = plan
        .run([
            our_side,
            gathering_side,
            unsearched_side,
            gathering_unsearched_side,
            disk_side,
            gathering_disk_side,
            encoded_side,
            at_site_side,
            typed_side,
            whole_side,
            core_side,
            native_side,
        ])?;

    let expected = u64::from(TIMES) * u64::from(plan.repeats + 1);
    for extension in [&stored, &gathered, &stored_unsearched, &gathered_unsearched, &stored_on_disk, &gathered_on_disk]
    {
        let logs = extension.usage().stored[Signal::Log as usize];
        ensure!(logs == expected, "{logs} logs were stored, not {expected}");
    }
    let periods = expected / u64::from(PERIOD);
    same_bytes(&stored, encoded.store.data().bytes / periods)?;
    same_bytes(&stored, at_site.store.data().bytes / periods)?;

    let what = "64 bytes and 4 fields, from the SDK's macro into the extension's store";
    let peer = "native tracing, JSON layer to a sink";
    Ok(vec![
        sdk.against(&bytes, "log", what, "bare wasmtime, the same bytes as list<u8>, counted", Some(1.5)),
        sdk.against(&prefixed, "log", what, "bare wasmtime, as above, encoded in the SDK's way", None),
        sdk.against(&bindgen, "log", what, "bare wasmtime, typed call by bindgen, dropped", Some(0.5)),
        sdk.against(
            &whole,
            "log",
            what,
            "the same typed call with logger, file and line, as the SDK's log has",
            Some(0.5),
        ),
        sdk.against(&core, "log", what, "as many bytes, encoded before, by an import of a core module", None),
        sdk.against(&native, "log", what, peer, Some(0.25)),
        batched.against(&native, "log", "the same, gathered in batches", peer, Some(0.125)),
        plain.against(
            &bytes,
            "log",
            "one by one, without redaction",
            "bare wasmtime, the same bytes as list<u8>, counted",
            Some(1.5),
        ),
        plain.against(
            &bindgen,
            "log",
            "one by one, without redaction",
            "bare wasmtime, typed call by bindgen, dropped",
            Some(0.5),
        ),
        plain.against(&native, "log", "one by one, without redaction, which the peers have not", peer, Some(0.25)),
        batched_plain.against(&native, "log", "gathered in batches, without redaction", peer, Some(0.125)),
        disk.against(&native, "log", "one by one, into files of a data directory", peer, Some(0.25)),
        batched_disk.against(&native, "log", "gathered in batches, into files of a data directory", peer, Some(0.125)),
    ])
}

/// The comparison is fair only if both guests send the same: `bare` is what the logs of a period took.
fn same_bytes(stored: &glasshouse_runtime::Extension, bare: u64) -> Result<()> {
    use glasshouse_model::wire::{self, Record};
    let mut ours = 0;
    for entry in &stored.reader(Signal::Log).latest(PERIOD as usize) {
        let Ok(glasshouse_telemetry::Body::Record(Record::Log(log, fields))) = entry.body() else {
            anyhow::bail!("a new log cannot be read")
        };
        let fields: Vec<_> = fields.iter().collect();
        let mut batch = Vec::new();
        wire::begin_batch(&mut batch);
        wire::record(&mut batch, wire::KIND_LOG, |body| {
            wire::write_log(body, &log, format_args!("{}", log.message), &fields);
        });
        // A formatted message has a length of five bytes, a literal one of this length one byte.
        ours += batch.len() as u64 - 4;
        ensure!(log.message.len() == 64, "the message has {} bytes", log.message.len());
    }
    ensure!(ours == bare, "{PERIOD} logs are {ours} bytes through the SDK and {bare} from the bare guest");
    Ok(())
}

fn native_log(number: u32) {
    let Visit { path, status, seconds, cached } = visit(number);
    tracing::info!(
        target: "bench",
        path = path,
        status = status,
        seconds = seconds,
        cached = cached,
        "a message of sixty-four bytes, which is about what a log line is"
    );
}
