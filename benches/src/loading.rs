//! How long an extension waits until it is loaded, with nothing compiled before, while many others load.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use glasshouse_runtime::{Runtime, RuntimeSettings, tokio_builder};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Plan, Row, Side, wall};
use crate::house::{House, numbered, spec, start};

/// Extensions that begin to load just before it, and how long before.
const OTHERS: usize = 40;
const BEFORE: Duration = Duration::from_millis(300);
/// The guest that is waited for, of 109 KB of code, and how much code makes one that is hard nearly as large as it.
const GUEST: &str = "neighbour";
const PADDING_BYTES: usize = 70_000;
/// What is made to be hard: so many locals change in as many loops within loops. No time that compiling may take is enough for that.
const HARD: usize = 3_000;
/// How much longer it may wait for those that are made to be hard than for as many honest ones: in their first try they may take two and a half times what
/// honest ones of their size do here, and some are in their second by then.
const TIMES: f64 = 4.0;
/// Each turn takes half a minute.
const TURNS: u32 = 4;

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let guest = fs::read(house.guest(GUEST))?;
    let like = written(house, "like", |number| Ok(marked(&guest, number)))?;
    let hard = written(house, "hard", |number| made_hard(number, 0))?;
    let padded = written(house, "padded", |number| made_hard(number, PADDING_BYTES))?;
    let sides: [&[PathBuf]; 4] = [&[], &like, &hard, &padded];
    let sides = sides.map(|others| -> Side<'_> { Box::new(|| load(&house.guest(GUEST), others)) });
    let plan = Plan { repeats: plan.repeats.min(TURNS), ..*plan };
    let [alone, like, hard, padded] = plan.run(sides)?;
    let behind = |what: &str| format!("SDK extension loaded behind {OTHERS} others {what}");
    let peer = "behind others of its like";
    Ok(vec![
        like.against(&alone, "loading", &behind("of its like"), "alone", None),
        hard.against(&like, "loading", &behind("that are made to be hard"), peer, Some(TIMES)),
        padded.against(&like, "loading", &behind("that are made to be hard, and as large"), peer, Some(TIMES)),
    ])
}

/// Nanoseconds until a component is loaded behind others, and nothing is in the cache.
fn load(component: &Path, others: &[PathBuf]) -> Result<f64> {
    let tokio = tokio_builder().build()?;
    let runtime = Runtime::new(RuntimeSettings::default())?;
    tokio.block_on(async {
        for (number, component) in others.iter().enumerate() {
            let mut spec = spec("other", component.clone())?;
            spec.id = numbered(number)?;
            runtime.start(spec)?;
        }
        tokio::time::sleep(BEFORE).await;
        anyhow::Ok(())
    })?;
    let last = spec("last", component.to_owned())?;
    let (took, _) = wall(|| start(&tokio, &runtime, last))?;
    tokio.block_on(runtime.shutdown(Duration::from_secs(10)));
    // What was begun would be compiled to its end, beside what is measured next.
    while let Some(workers) = children()? {
        for worker in workers {
            // It may have ended meanwhile.
            let _ = kill_process(worker, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(took)
}

/// The processes that this one has started, if there are any.
fn children() -> Result<Option<Vec<Pid>>> {
    let mut found = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        // The thread may have ended meanwhile.
        let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)));
    }
    Ok((!found.is_empty()).then_some(found))
}

/// Writes the files of all others.
fn written(house: &House, name: &str, make: impl Fn(usize) -> Result<Vec<u8>>) -> Result<Vec<PathBuf>> {
    let write = |number| {
        let path = house.folder().join(format!("{name}-{number}.wasm"));
        fs::write(&path, make(number)?)?;
        Ok(path)
    };
    (0..OTHERS).map(write).collect()
}

/// The same component with another digest: a custom section without a name, and with a number.
fn marked(component: &[u8], number: usize) -> Vec<u8> {
    let mut marked = component.to_vec();
    marked.extend([0, 2, 0, number as u8]);
    marked
}

/// A component that no compiler gets done with, and which has so much code besides.
fn made_hard(number: usize, padding_bytes: usize) -> Result<Vec<u8>> {
    let mut text = String::from("(component (core module (func (local");
    text.push_str(&" i64".repeat(HARD));
    text.push_str(")\n");
    text.push_str(&"loop ".repeat(HARD - number));
    for local in 0..HARD {
        let _ = writeln!(text, "local.get {local} i64.const 1 i64.add local.set {local}");
    }
    text.push_str("local.get 0 i32.wrap_i64 br_if 0 ");
    text.push_str(&"end ".repeat(HARD - number));
    text.push_str(")\n(func\n");
    // Five bytes each.
    text.push_str(&"i32.const 123456 drop ".repeat(padding_bytes / 5));
    text.push_str(")))");
    Ok(wat::parse_str(&text)?)
}
