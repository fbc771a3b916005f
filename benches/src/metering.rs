//! The price of metering: work that only computes, without any meter, with wasmtime's own, and in the sandbox.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use glasshouse_model::settings::Metering;
use glasshouse_runtime::Event;
use glasshouse_runtime::bench::{Instance, TICK, engine};
use wasmtime::Engine;
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
/// What the sandbox may add to wasmtime's own meter: to one that stops as often, and to one that never does and so holds no deadline.
const TARGET: f64 = 1.03;

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let ticker = Ticker::default();
    std::thread::scope(|scope| {
        let ticking = scope.spawn(|| ticker.run());
        let rows = measure_beside(house, plan, &ticker);
        ticker.ended.store(true, Ordering::Relaxed);
        // It cannot fail: it only sleeps and ticks.
        let _ = ticking.join();
        rows
    })
}

/// Ticks the bare peer's epochs while it runs; the sandbox has a ticker of its own, of the same engine.
#[derive(Default)]
struct Ticker {
    engine: Mutex<Option<Engine>>,
    ended: AtomicBool,
}

impl Ticker {
    fn run(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            if let Some(engine) = &*self.engine.lock().unwrap_or_else(PoisonError::into_inner) {
                engine.increment_epoch();
            }
        }
    }

    fn beside<T>(&self, engine: &Engine, work: impl FnOnce() -> T) -> T {
        let set = |engine| *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = engine;
        // The sandbox's own ticker goes on for a while after a call.
        std::thread::sleep(80 * TICK);
        set(Some(engine.clone()));
        let done = work();
        set(None);
        done
    }
}

fn measure_beside(house: &House, plan: &Plan, ticker: &Ticker) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let none = any(Component::from_file(&any(engine(None))?, house.guest(GUEST)))?;
    for (event, what, count) in WORK {
        let instance = |metering| house.instance_with(GUEST, |settings| settings.budget.metering = metering);
        let (in_fuel, in_cpu) = (instance(Metering::Fuel)?, instance(Metering::Cpu)?);
        // Where code lies can matter more than all that is measured here, so the peers run what the sandboxes run.
        let (fuel, epochs) = (in_fuel.component().clone(), in_cpu.component().clone());
        let bare = |component: &Component, meter: OwnMeter| -> Result<Side<'_>> {
            let mut guest = any(house.tokio.block_on(EmptyGuest::metered(component, meter)))?;
            Ok(Box::new(move || cpu(count, || any(house.tokio.block_on(guest.handle(times(event, count)))))))
        };
        let ours = |mut guest: Instance| -> Side<'_> {
            Box::new(move || cpu(count, || house.tokio.block_on(handle(&mut guest, times(event, count)))))
        };
        let mut ticked = bare(&epochs, OwnMeter::Epochs)?;
        let [without, fuel, fuel_alone, epochs, our_fuel, our_cpu] = plan.run([
            bare(&none, OwnMeter::None)?,
            bare(&fuel, OwnMeter::Fuel)?,
            bare(&fuel, OwnMeter::FuelAlone)?,
            Box::new(|| ticker.beside(epochs.engine(), &mut ticked)),
            ours(in_fuel),
            ours(in_cpu),
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
                &without,
                "metering",
                &format!("{what}, mode {mode}, the whole price"),
                unmetered,
                None,
            ));
        }
    }
    Ok(rows)
}

async fn handle(guest: &mut Instance, event: Event) -> Result<()> {
    guest.handle(event).await?;
    Ok(())
}
