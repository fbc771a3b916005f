//! How much later than its deadline a call ends, whatever its guest does; and what the meters cost that see to it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use glasshouse_model::Signal;
use glasshouse_model::settings::Metering;
use glasshouse_runtime::{Extension, Status};
use glasshouse_telemetry::Body;
use wasmtime::{Config, Engine, Instance, Module, Store, TypedFunc};

use crate::bare::any;
use crate::harness::{Plan, Row, Samples, Side, Unit, cpu};
use crate::house::{House, spec};

const DEADLINE: Duration = Duration::from_millis(200);
/// How much later than its deadline a call may end.
const LATE_NANOS: f64 = 50e6;
/// Calls of each guest; each takes as long as its deadline.
const TURNS: usize = 5;
/// Where the hostile guests are written.
const GUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/examples");
/// Their names, one a line. All do their worst in a start function or in `init`.
const BURNERS: &str = include_str!("../../tests/guests/burners.txt");

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for name in BURNERS.lines() {
        let text = std::fs::read_to_string(Path::new(GUESTS).join(format!("{name}.wat")))
            .with_context(|| format!("reading {name}"))?;
        rows.extend(overruns(house, name, &text, 64 << 20, true)?);
    }
    // One instruction is not interrupted: what it may work on is what the memory budget allows.
    let text = "(component (core module $m (memory 16384) (func $s (loop $l
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 1073741824)) (br $l))) (start $s)) (core instance (instantiate $m)))";
    rows.extend(overruns(house, "fill-gigabyte", text, 2 << 30, false)?);
    rows.extend(prices(plan)?);
    Ok(rows)
}

/// How late a guest's calls end, by each way to meter it.
fn overruns(house: &House, name: &str, text: &str, memory_bytes: u64, held: bool) -> Result<Vec<Row>> {
    let file = house.folder().join(format!("{name}.wasm"));
    std::fs::write(&file, wat::parse_str(text).with_context(|| format!("assembling {name}"))?)?;
    let mut rows = Vec::new();
    for metering in [Metering::Fuel, Metering::Cpu] {
        let late = (0..TURNS)
            .map(|turn| {
                late_nanos(house, &format!("{name}-{}-{turn}", metering.as_str()), &file, metering, memory_bytes)
            })
            .collect::<Result<Vec<_>>>()?;
        let what = format!("{name}, metered by {}, ends after its deadline", metering.as_str());
        let row = Row::figure("deadlines", what, Unit::Nanos, Samples::new(late).spread());
        rows.push(if held { row.under("the most allowed", LATE_NANOS) } else { row });
    }
    Ok(rows)
}

fn late_nanos(house: &House, id: &str, file: &Path, metering: Metering, memory_bytes: u64) -> Result<f64> {
    let mut spec = spec(id, file.to_owned())?;
    let budget = &mut spec.settings.budget;
    budget.deadline = DEADLINE;
    budget.metering = metering;
    budget.memory_bytes = memory_bytes;
    budget.fuel_per_call = u64::MAX / 2;
    house.tokio.block_on(async {
        let extension = house.runtime.start(spec)?;
        match extension.loaded().await {
            Status::Failed { cause } => ensure!(cause.starts_with("breach.deadline"), "{id}: {cause}"),
            status => bail!("{id} is {}", status.word()),
        }
        Ok((elapsed_nanos(&extension)? - DEADLINE.as_nanos() as f64).max(0.0))
    })
}

fn elapsed_nanos(extension: &Extension) -> Result<f64> {
    let entry = extension.reader(Signal::Invocation).all().pop().context("no invocation was stored")?;
    match entry.body() {
        Ok(Body::Invocation(invocation)) => Ok(invocation.cost.elapsed_nanos as f64),
        _ => bail!("the invocation cannot be read"),
    }
}

/// Loads that keep a processor busy: calls of small functions, loops over memory, and arithmetic alone.
const LOADS: &str = r#"(module
    (memory 16)
    (func $fib (export "calls") (param $n i32) (result i32)
        (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
            (then (local.get $n))
            (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                           (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
    (func (export "memory") (param $turns i32) (result i32) (local $at i32) (local $step i32) (local $found i32)
        (loop $turn
            (memory.fill (i32.const 0) (i32.const 0) (i32.const 1000000))
            (local.set $step (i32.const 2))
            (local.set $found (i32.const 0))
            (loop $next
                (if (i32.eqz (i32.load8_u (local.get $step)))
                    (then
                        (local.set $found (i32.add (local.get $found) (i32.const 1)))
                        (local.set $at (i32.add (local.get $step) (local.get $step)))
                        (block $done (loop $mark
                            (br_if $done (i32.ge_u (local.get $at) (i32.const 1000000)))
                            (i32.store8 (local.get $at) (i32.const 1))
                            (local.set $at (i32.add (local.get $at) (local.get $step)))
                            (br $mark)))))
                (local.set $step (i32.add (local.get $step) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $step) (i32.const 1000000))))
            (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
            (br_if $turn (local.get $turns)))
        (local.get $found))
    (func (export "arithmetic") (param $turns i32) (result i32) (local $hash i64)
        (loop $turn
            (local.set $hash (i64.rotl (i64.mul (i64.xor (local.get $hash) (i64.extend_i32_u (local.get $turns)))
                (i64.const 0x100000001b3)) (i64.const 13)))
            (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
            (br_if $turn (local.get $turns)))
        (i32.wrap_i64 (local.get $hash))))"#;
/// Each load, how much of it is some tens of milliseconds.
const TIMES: [(&str, i32); 3] = [("calls", 30), ("memory", 8), ("arithmetic", 10_000_000)];

/// What is compiled into a guest: whether fuel, whether epochs.
const METERS: [(&str, bool, bool); 4] =
    [("no meter", false, false), ("fuel", true, false), ("epochs", false, true), ("both meters", true, true)];

/// What the meters cost on loads that do nothing but compute, against none.
fn prices(plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (load, times) in TIMES {
        let mut guests = METERS
            .iter()
            .map(|(_, fuel, epochs)| any(metered(load, *fuel, *epochs)))
            .collect::<Result<Vec<_>>>()?
            .into_iter();
        let mut side = || -> Result<Side<'static>> {
            let (mut store, function) = guests.next().context("there is a guest for each meter")?;
            Ok(Box::new(move || cpu(1, || any(function.call(&mut store, times).map(drop)))))
        };
        let [none, fuel, epochs, both] = plan.run([side()?, side()?, side()?, side()?])?;
        for (samples, meter) in [(fuel, 1), (epochs, 2), (both, 3)].map(|(samples, meter)| (samples, METERS[meter].0)) {
            rows.push(samples.against(&none, "deadlines", &format!("price of {meter}: {load}"), METERS[0].0, None));
        }
    }
    Ok(rows)
}

type Load = TypedFunc<i32, i32>;

fn metered(load: &str, fuel: bool, epochs: bool) -> wasmtime::Result<(Store<()>, Load)> {
    let engine = Engine::new(Config::new().consume_fuel(fuel).epoch_interruption(epochs))?;
    let mut store = Store::new(&engine, ());
    if fuel {
        store.set_fuel(u64::MAX)?;
    }
    if epochs {
        store.set_epoch_deadline(u64::MAX / 2);
    }
    let module = Module::new(&engine, wat::parse_str(LOADS).map_err(wasmtime::Error::new)?)?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let function = instance.get_typed_func(&mut store, load)?;
    Ok((store, function))
}
