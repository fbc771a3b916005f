//! How much later than its deadline a call ends, whatever its guest does; and what the meters cost that see to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use glasshouse_model::Signal;
use glasshouse_model::settings::Metering;
use glasshouse_runtime::{CallError, Event, Extension, Status, Trigger};
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

/// Those that come with the others as text, and do their worst in a start function.
const STARTS: [&str; 1] = ["disguise"];
/// What guests do at their worst when they are called: the guest, the event, its payload, and how the call ends.
const CALLS: [(&str, &str, &str, &str); 7] = [
    ("spin", "spin", "", DEADLINE_BREACH),
    ("sleeper", "sleep", "", DEADLINE_BREACH),
    ("host-flood", "batches", "20000", DEADLINE_BREACH),
    ("host-flood", "messages", "1000000", DEADLINE_BREACH),
    ("host-flood", "lines", "", DEADLINE_BREACH),
    ("host-flood", "spans", "1000000", "breach.host-data"),
    ("memory-grow", "insist", "", "breach.memory"),
];
const DEADLINE_BREACH: &str = "breach.deadline";

/// A guest that does its worst.
struct Hostile<'a> {
    name: String,
    component: PathBuf,
    /// The event by which it does so, and its payload; `None` for one that does so as it starts.
    asked: Option<(&'a str, &'a str)>,
    /// The kind of failure in which it ends.
    kind: &'a str,
    deadline: Duration,
    memory_bytes: u64,
}

impl Hostile<'_> {
    /// One that never ends to start.
    fn new(name: &str, component: PathBuf) -> Self {
        let (name, kind, memory_bytes) = (name.to_owned(), DEADLINE_BREACH, 64 << 20);
        Self { name, component, asked: None, kind, deadline: DEADLINE, memory_bytes }
    }

    /// The same, written as text.
    fn assembled(house: &House, name: &str, text: &str) -> Result<Self> {
        let component = house.folder().join(format!("{name}.wasm"));
        std::fs::write(&component, wat::parse_str(text).with_context(|| format!("assembling {name}"))?)?;
        Ok(Self::new(name, component))
    }
}

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    for name in BURNERS.lines().chain(STARTS) {
        let text = std::fs::read_to_string(Path::new(GUESTS).join(format!("{name}.wat")))
            .with_context(|| format!("reading {name}"))?;
        all.push(Hostile::assembled(house, name, &text)?);
    }
    all.push(Hostile::assembled(house, "jump-table", &jump_table())?);
    // All of it takes some tenths of a second.
    all.push(Hostile { deadline: DEADLINE / 10, ..Hostile::assembled(house, "data-bomb", &data_bomb())? });
    all.push(Hostile::new("init-spin", house.guest("init-spin")));
    for (guest, event, payload, kind) in CALLS {
        let asked = Some((event, payload));
        all.push(Hostile { asked, kind, ..Hostile::new(&format!("{guest}-{event}"), house.guest(guest)) });
    }
    let mut rows = Vec::new();
    for hostile in &all {
        rows.extend(overruns(house, hostile, true)?);
    }
    // One instruction is not interrupted: what it may work on is what the memory budget allows.
    let text = "(component (core module $m (memory 16384) (func $s (loop $l
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 1073741824)) (br $l))) (start $s)) (core instance (instantiate $m)))";
    let fill = Hostile { memory_bytes: 2 << 30, ..Hostile::assembled(house, "fill-gigabyte", text)? };
    rows.extend(overruns(house, &fill, false)?);
    rows.extend(prices(plan)?);
    Ok(rows)
}

/// Jumps for ever by a table of nearly as many places as the engine takes.
fn jump_table() -> String {
    let places = "$again ".repeat(65_000);
    format!(
        "(component (core module $m (func $start (loop $again (br_table {places} (i32.const 64999)))) (start $start)) \
         (core instance (instantiate $m)))"
    )
}

/// Puts the same 20 MiB of data into one memory again and again, by instantiating a module 90 times.
fn data_bomb() -> String {
    let data = "x".repeat(20 << 20);
    let writers = "(core instance (instantiate $writer (with \"owner\" (instance $owned))))".repeat(90);
    format!(
        "(component (core module $owner (memory (export \"memory\") 400)) \
         (core module $writer (import \"owner\" \"memory\" (memory 400)) (data (i32.const 0) \"{data}\")) \
         (core instance $owned (instantiate $owner)) {writers})"
    )
}

/// How late a guest's calls end, by each way to meter it. One that is held to it may never end later than is allowed.
fn overruns(house: &House, hostile: &Hostile<'_>, held: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for metering in [Metering::Fuel, Metering::Cpu] {
        let late = (0..TURNS).map(|turn| late_nanos(house, hostile, turn, metering)).collect::<Result<Vec<_>>>()?;
        let what = format!("{}, metered by {}, ends after its deadline", hostile.name, metering.as_str());
        let row = Row::figure("deadlines", what, Unit::Nanos, Samples::new(late).spread());
        rows.push(if held { row.never_over("the most allowed", LATE_NANOS) } else { row });
    }
    Ok(rows)
}

fn late_nanos(house: &House, hostile: &Hostile<'_>, turn: usize, metering: Metering) -> Result<f64> {
    let id = format!("{}-{}-{turn}", hostile.name, metering.as_str());
    let mut spec = spec(&id, hostile.component.clone())?;
    let budget = &mut spec.settings.budget;
    budget.deadline = hostile.deadline;
    budget.metering = metering;
    budget.memory_bytes = hostile.memory_bytes;
    budget.fuel_per_call = u64::MAX / 2;
    house.tokio.block_on(async {
        let extension = house.runtime.start(spec)?;
        let status = extension.loaded().await;
        let (call, cause) = match (hostile.asked, status) {
            (None, Status::Failed { cause }) => ("init".to_owned(), cause),
            (Some((event, payload)), Status::Ready) => {
                let (name, payload) = (event.to_owned(), payload.as_bytes().to_owned());
                let asked = Event { name, content_type: "application/json".to_owned(), payload };
                match extension.call(asked, Trigger::default()).await {
                    Err(CallError::Failed(failure)) => (format!("handle:{event}"), failure.to_string()),
                    other => bail!("{id}: it ended as {other:?}"),
                }
            }
            (_, status) => bail!("{id} is {}: {}", status.word(), status.reason().unwrap_or_default()),
        };
        ensure!(cause.starts_with(hostile.kind), "{id}: {cause}");
        Ok((elapsed_nanos(&extension, &call)? - hostile.deadline.as_nanos() as f64).max(0.0))
    })
}

/// What the last call with a name took.
fn elapsed_nanos(extension: &Extension, call: &str) -> Result<f64> {
    let all = extension.reader(Signal::Invocation).all();
    let took = all.iter().rev().find_map(|entry| match entry.body() {
        Ok(Body::Invocation(invocation)) if invocation.name == call => Some(invocation.cost.elapsed_nanos as f64),
        _ => None,
    });
    took.with_context(|| format!("no invocation {call} was stored"))
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
