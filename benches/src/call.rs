//! A call of an export that does nothing, at default settings.

use anyhow::Result;
use glasshouse_model::settings::Budget;
use glasshouse_runtime::{Event, Extension, Trigger};

use crate::bare::{EmptyGuest, any};
use crate::core_module::CoreModule;
use crate::harness::{Plan, Row, Side, cpu};
use crate::house::House;

/// Calls in one measurement: some milliseconds.
const TIMES: u32 = 5_000;
/// Calls that are under way at once where many are.
const IN_FLIGHT: u32 = 50;

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let mut sandbox = house.instance("bench-empty")?;
    let extension = house.extension("bench-empty")?;
    let bare_guest =
        || any(house.tokio.block_on(EmptyGuest::start(house.runtime.engine(), &house.guest("bench-empty"))));
    let [mut bare, mut in_time] = [bare_guest()?, bare_guest()?];
    let mut core = any(house.tokio.block_on(CoreModule::start(house.runtime.engine())))?;
    let deadline = Budget::default().deadline;

    let sandbox_side: Side<'_> = Box::new(|| cpu(TIMES, || Ok(sandbox.handle_each(&house.tokio, TIMES, event)?)));
    let many_side: Side<'_> = Box::new(|| cpu(TIMES, || house.tokio.block_on(many(&extension))));
    let one_side: Side<'_> = Box::new(|| cpu(TIMES, || house.tokio.block_on(calls(&extension, TIMES))));
    let bare_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || {
            house.tokio.block_on(async {
                for _ in 0..TIMES {
                    any(bare.handle(event()).await)?;
                }
                Ok(())
            })
        })
    });
    let deadline_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || {
            house.tokio.block_on(async {
                for _ in 0..TIMES {
                    any(tokio::time::timeout(deadline, in_time.handle(event())).await?)?;
                }
                Ok(())
            })
        })
    });
    let core_side: Side<'_> = Box::new(|| {
        cpu(TIMES, || {
            house.tokio.block_on(async {
                for _ in 0..TIMES {
                    any(core.call().await)?;
                }
                Ok(())
            })
        })
    });
    let [sandbox, many, one, bare, in_time, core] =
        plan.run([sandbox_side, many_side, one_side, bare_side, deadline_side, core_side])?;
    let what = "empty handler, on the sandbox itself";
    let peer = "bare wasmtime, the same component and meter";
    let pipelined = format!("empty handler through the mailbox, {IN_FLIGHT} under way");
    Ok(vec![
        sandbox.against(&bare, "call", what, peer, Some(1.5)),
        sandbox.against(&in_time, "call", what, "the same, with the same deadline, by tokio's timeout", Some(1.5)),
        sandbox.against(&core, "call", what, "an empty function of a core module, the same meter", None),
        many.against(&bare, "call", &pipelined, peer, None),
        one.against(&bare, "call", "empty handler through the mailbox, one at a time", peer, None),
    ])
}

/// The least event that the host passes on.
fn event() -> Event {
    Event { name: "e".into(), ..Event::default() }
}

async fn calls(extension: &Extension, count: u32) -> Result<()> {
    for _ in 0..count {
        extension.call(event(), Trigger::default()).await?;
    }
    Ok(())
}

async fn many(extension: &Extension) -> Result<()> {
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let extension = extension.clone();
        callers.spawn(async move { calls(&extension, TIMES / IN_FLIGHT).await });
    }
    while let Some(called) = callers.join_next().await {
        called??;
    }
    Ok(())
}
