//! Another plugin system, extism, at its default settings: a call of an empty function, and a host call with 64 bytes.

use std::fmt::Write as _;
use std::hint::black_box;

use anyhow::Result;
use extism::{CurrentPlugin, Manifest, PTR, Plugin, PluginBuilder, UserData, Val, Wasm};
use glasshouse_runtime::Event;

use crate::harness::{Plan, Row, Side, cpu};
use crate::house::{House, times};

/// Calls in one measurement: some milliseconds.
const CALLS: u32 = 2_000;
/// Host calls in one measurement.
const HOST_CALLS: u32 = 10_000;

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let mut empty = house.instance("bench-empty")?;
    let mut logger = house.instance("bench-sdk")?;
    let mut plugin = plugin()?;
    let mut other_plugin = self::plugin()?;

    let our_call: Side<'_> = Box::new(|| {
        cpu(CALLS, || {
            house.tokio.block_on(async {
                for _ in 0..CALLS {
                    empty.handle(Event { name: "e".into(), ..Event::default() }).await?;
                }
                Ok(())
            })
        })
    });
    let their_call: Side<'_> = Box::new(|| {
        cpu(CALLS, || {
            for _ in 0..CALLS {
                plugin.call::<&str, &str>("empty", "").map(drop)?;
            }
            Ok(())
        })
    });
    let our_log: Side<'_> = Box::new(|| {
        cpu(HOST_CALLS, || house.tokio.block_on(async { Ok(logger.handle(times("log", HOST_CALLS)).await.map(drop)?) }))
    });
    let their_host_call: Side<'_> =
        Box::new(|| cpu(HOST_CALLS, || other_plugin.call::<&str, &str>("host-calls", "").map(drop)));
    let [our_call, their_call, our_log, their_host_call] =
        plan.run([our_call, their_call, our_log, their_host_call])?;
    Ok(vec![
        our_call.against(&their_call, "extism", "empty handler, on the sandbox itself", "extism, empty function", None),
        our_log.against(
            &their_host_call,
            "extism",
            "log of 64 bytes and 4 fields, into the store",
            "extism, host call with 64 bytes, dropped",
            None,
        ),
    ])
}

fn plugin() -> Result<Plugin> {
    let manifest = Manifest::new([Wasm::data(wat::parse_str(text())?)]);
    PluginBuilder::new(manifest).with_function("sink", [PTR], [], UserData::new(()), sink).build()
}

/// Takes the bytes.
fn sink(plugin: &mut CurrentPlugin, inputs: &[Val], _: &mut [Val], _: UserData<()>) -> Result<()> {
    let bytes: &[u8] = plugin.memory_get_val(&inputs[0])?;
    black_box(bytes);
    Ok(())
}

/// A plugin that does what extism's plugin kit does: it asks for a block of extism's memory, copies its bytes there in
/// words, passes the block's address, and gives the block back.
fn text() -> String {
    let mut copy = String::new();
    for at in (0..64).step_by(8) {
        let _ = write!(copy, "(call $store (i64.add (local.get $block) (i64.const {at})) (i64.load (i32.const {at})))");
    }
    format!(
        r#"(module
            (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
            (import "extism:host/env" "free" (func $free (param i64)))
            (import "extism:host/env" "store_u64" (func $store (param i64 i64)))
            (import "extism:host/user" "sink" (func $sink (param i64)))
            (memory (export "memory") 1)
            (data (i32.const 0) "a message of sixty-four bytes, which is about what a log line is")
            (func (export "empty") (result i32) (i32.const 0))
            (func (export "host-calls") (result i32) (local $left i32) (local $block i64)
                (local.set $left (i32.const {HOST_CALLS}))
                (loop $next
                    (local.set $block (call $alloc (i64.const 64)))
                    {copy}
                    (call $sink (local.get $block))
                    (call $free (local.get $block))
                    (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                (i32.const 0)))"#
    )
}
