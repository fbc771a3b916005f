//! The price of metering: work that only computes, without any meter, with wasmtime's own, and in the sandbox.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use glasshouse_model::settings::Metering;
use glasshouse_runtime::Event;
use glasshouse_runtime::bench::{Instance, engine};
use wasmtime::component::Component;

use crate::bare::{EmptyGuest, OwnMeter, any};
use crate::harness::{Plan, Row, Side, cpu};
use crate::house::{House, times};

const GUEST: &str = "bench-work";
/// Kinds of work, and how often each is done in one measurement: some ten milliseconds.
const WORK: [(&str, &str, u32); 3] = [
    ("hash", "SHA-256 of 64 KiB", 40),
    ("json", "200 records read and written as JSON", 40),
    ("regex", "expressions found in 500 lines", 40),
];
/// The length of a slice where epochs end it: the runtime's own figure.
const TICK: Duration = Duration::from_micros(250);
/// What the sandbox may add to wasmtime's own meter: to one that stops as often, and to one that never does and so holds no deadline.
const TARGET: f64 = 1.03;

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let none = mapped(house, None, "none")?;
    let fuel = mapped(house, Some(Metering::Fuel), "fuel")?;
    let epochs = mapped(house, Some(Metering::Cpu), "epochs")?;
    let stops = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ticking = scope.spawn(|| {
            while !stops.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                epochs.engine().increment_epoch();
            }
        });
        let rows = measure_beside(house, plan, [&none, &fuel, &epochs]);
        stops.store(true, Ordering::Relaxed);
        // It cannot fail: it only sleeps and ticks.
        let _ = ticking.join();
        rows
    })
}

fn measure_beside(house: &House, plan: &Plan, [none, fuel, epochs]: [&Component; 3]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (event, what, count) in WORK {
        let bare = |component: &Component, meter: OwnMeter| -> Result<Side<'_>> {
            let mut guest = any(house.tokio.block_on(EmptyGuest::metered(component, meter)))?;
            Ok(Box::new(move || cpu(count, || any(house.tokio.block_on(guest.handle(times(event, count)))))))
        };
        let ours = |metering: Metering| -> Result<Side<'_>> {
            let mut guest = house.instance_with(GUEST, |settings| settings.budget.metering = metering)?;
            Ok(Box::new(move || cpu(count, || house.tokio.block_on(handle(&mut guest, times(event, count))))))
        };
        let [none, fuel, fuel_alone, epochs, our_fuel, our_cpu] = plan.run([
            bare(none, OwnMeter::None)?,
            bare(fuel, OwnMeter::Fuel)?,
            bare(fuel, OwnMeter::FuelAlone)?,
            bare(epochs, OwnMeter::Epochs)?,
            ours(Metering::Fuel)?,
            ours(Metering::Cpu)?,
        ])?;
        let unmetered = "bare wasmtime without any meter";
        let alone = "bare wasmtime, its own fuel, never yielding";
        rows.push(our_fuel.against(
            &fuel_alone,
            "metering",
            &format!("{what}, mode fuel, yields and all"),
            alone,
            Some(TARGET),
        ));
        for (mode, ours, own, own_name) in [
            ("fuel", our_fuel, fuel, "bare wasmtime, its own fuel, stopping as often"),
            ("cpu", our_cpu, epochs, "bare wasmtime, its own epochs, ticking as often"),
        ] {
            rows.push(ours.against(&own, "metering", &format!("{what}, mode {mode}"), own_name, Some(TARGET)));
            rows.push(ours.against(
                &none,
                "metering",
                &format!("{what}, mode {mode}, the whole price"),
                unmetered,
                None,
            ));
        }
    }
    Ok(rows)
}

/// The guest's code for a mode of metering, as the runtime has it made, and mapped from a file as there: where code lies can matter more than all that is
/// measured here.
#[expect(unsafe_code, reason = "loading precompiled code is unsafe by nature")]
fn mapped(house: &House, metering: Option<Metering>, name: &str) -> Result<Component> {
    let engine = any(engine(metering))?;
    let file = house.folder().join(format!("{GUEST}-{name}.code"));
    fs::write(&file, any(engine.precompile_component(&fs::read(house.guest(GUEST))?))?)?;
    // SAFETY: the file is what this engine has compiled just now, in a folder of this run's own.
    any(unsafe { Component::deserialize_file(&engine, &file) })
}

async fn handle(guest: &mut Instance, event: Event) -> Result<()> {
    guest.handle(event).await?;
    Ok(())
}
