//! From a component file with a warm cache to an extension that can be called.
#![expect(unsafe_code, reason = "the peer loads precompiled code, which is unsafe by nature; this run has written it")]

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use wasmtime::component::Component;

use crate::bare::{self, any};
use crate::harness::{Plan, Row, Samples, Side, wall};
use crate::house::{House, numbered, spec, start};
use crate::strip::strip;

/// How long a file has to be as it is to be remembered, and some more.
const SETTLED: Duration = Duration::from_millis(2_100);
/// Starts in one measurement, of which the mean counts.
const STARTS: usize = 4;
/// What made up components consist of, small and large: functions that do arithmetic, a kilobyte each, and bytes of data that look random.
const MEDIUM: (usize, usize) = (330, 640 * 1024);
const LARGE: (usize, usize) = (4_000, 8 * 1024 * 1024);

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let built = house.guest("bench-sdk");
    let written = |name: &str, bytes: Vec<u8>| -> Result<PathBuf> {
        let path = house.folder().join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    };
    let small = written("small.wasm", strip(&fs::read(&built)?)?)?;
    let markdown = fs::read(house.demo().join("plugins/markdown/markdown.wasm"))?;
    let markdown = written("markdown.wasm", strip(&markdown)?)?;
    let medium = written("medium.wasm", made_up(MEDIUM)?)?;
    let large = written("large.wasm", made_up(LARGE)?)?;
    let peer = "bare wasmtime, deserialize_file and instantiate";
    // A file that was changed a moment ago is read at each start, in case it is changed again.
    thread::sleep(SETTLED);
    let mut rows = Vec::new();
    for (component, described, target) in [
        (small, "SDK extension without line tables", Some(3.0)),
        (markdown, "the example `markdown` without line tables", Some(3.0)),
        (medium, "made up: 330 functions and 640 KiB of data", Some(3.0)),
        (built, "SDK extension as built, with line tables", None),
        (large, "made up: 4,000 functions and 8 MiB of data", None),
    ] {
        let bytes = fs::metadata(&component)?.len();
        let what = format!("{described}, {}", size(bytes));
        let [ours, bare] = starts(house, plan, &component).with_context(|| what.clone())?;
        rows.push(ours.against(&bare, "ready", &format!("{what}, cache warm"), peer, target));
    }
    Ok(rows)
}

fn starts(house: &House, plan: &Plan, component: &Path) -> Result<[Samples; 2]> {
    // Compiles it, for both sides.
    let warm = start(&house.tokio, &house.runtime, spec(&id_of(component), component.to_owned())?)?;
    let digest = warm.component().context("it is loaded")?.digest.to_string();
    let artefact = artefact(&house.folder().join("cache"), &digest)?;
    let linker = {
        let mut linker = any(bare::linker(house.runtime.engine()))?;
        let component = any(Component::from_file(house.runtime.engine(), component))?;
        any(linker.define_unknown_imports_as_traps(&component))?;
        linker
    };
    let number = Cell::new(0);
    let our_side: Side<'_> = Box::new(|| {
        let runtime = house.restarted()?;
        let mut nanos = 0.0;
        for _ in 0..STARTS {
            number.set(number.get() + 1);
            let mut spec = spec("start", component.to_owned())?;
            spec.id = numbered(number.get())?;
            let (took, extension) = wall(|| start(&house.tokio, &runtime, spec))?;
            ensure!(extension.component().is_some_and(|component| !component.compiled), "it was compiled anew");
            nanos += took;
        }
        house.tokio.block_on(runtime.shutdown(Duration::from_secs(10)));
        Ok(nanos / STARTS as f64)
    });
    let bare_side: Side<'_> = Box::new(|| {
        let mut nanos = 0.0;
        let mut alive = Vec::new();
        for _ in 0..STARTS {
            let (took, instance) = wall(|| {
                // SAFETY: the file is what this run's runtime has compiled, in a folder of this user's own.
                let component = any(unsafe { Component::deserialize_file(house.runtime.engine(), &artefact) })?;
                let mut store = any(bare::store(house.runtime.engine()))?;
                let instance = any(house.tokio.block_on(linker.instantiate_async(&mut store, &component)))?;
                Ok((component, store, instance))
            })?;
            alive.push(instance);
            nanos += took;
        }
        Ok(nanos / STARTS as f64)
    });
    plan.run([our_side, bare_side])
}

fn id_of(component: &Path) -> String {
    component.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The compiled form of a component in the runtime's cache.
fn artefact(cache: &Path, digest: &str) -> Result<PathBuf> {
    let paths: Vec<_> = fs::read_dir(cache)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let found = paths.into_iter().find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(digest) && name.ends_with(".artefact")
    });
    found.context("the runtime has put no compiled component into its cache")
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{:.1} MiB", bytes as f64 / 1_048_576.0) }
}

/// A component of functions and data, from text: no extension of every size is at hand, and what it does is of no account here.
fn made_up((functions, data_bytes): (usize, usize)) -> Result<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut text = String::from("(component (core module $m (memory 160)\n");
    for _ in 0..functions {
        text.push_str("(func (param i32) (result i32) local.get 0\n");
        for _ in 0..150 {
            let operator = ["i32.add", "i32.mul", "i32.xor", "i32.rotl"][random.usize(..4)];
            let _ = writeln!(text, "i32.const {} {operator}", random.i32(..));
        }
        text.push_str(")\n");
    }
    text.push_str("(data (i32.const 0) \"");
    for _ in 0..data_bytes {
        let _ = write!(text, "\\{:02x}", random.u8(..));
    }
    text.push_str("\")) (core instance (instantiate $m)))");
    Ok(wat::parse_str(&text)?)
}
