//! The memory of a thousand extensions that do nothing, without their instances.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use glasshouse_model::invocation::{Cost, HostUses};
use glasshouse_model::record::KIND_INVOCATION;
use glasshouse_model::settings::Settings;
use glasshouse_model::{Clock as _, Invocation, Origin, Outcome, Signal};
use glasshouse_runtime::SystemClock;
use glasshouse_telemetry::Head;
use tempfile::TempDir;

use crate::child::{self, Child};
use crate::harness::{Plan, Row, Samples, Unit};
use crate::records::{Logs, depot, store};

const EXTENSIONS: usize = 1_000;
const LIMIT: f64 = 64.0 * 1_048_576.0;

pub(crate) fn measure(_: &Plan) -> Result<Vec<Row>> {
    let mut grown = Vec::new();
    for _ in 0..3 {
        let folder = TempDir::new()?;
        grown.push(child::run(Child::Idle, folder.path())?[0]);
    }
    let what = "resident memory of 1,000 stores with 2 logs and an invocation each";
    Ok(vec![Row::figure("idle", what, Unit::Bytes, Samples::new(grown).spread()).under("the limit", LIMIT)])
}

/// In a process of its own: bytes of resident memory, mapped files' pages included, that the stores take.
pub(crate) fn child(folder: &Path) -> Result<Vec<f64>> {
    let depot = depot(folder)?;
    let clock = SystemClock::new();
    let mut logs = Logs::new(1, 2);
    let before = resident_bytes()?;
    let mut stores = Vec::with_capacity(EXTENSIONS);
    for number in 0..EXTENSIONS {
        let store = store(&depot, &format!("extension-{number}"), &Settings::default())?;
        let recorder = store.recorder();
        logs.record(&recorder, None)?;
        logs.record(&recorder, None)?;
        let invocation = Invocation {
            outcome: Outcome::Ok,
            name: "init",
            parent: None,
            cause: None,
            cost: Cost::default(),
            host: HostUses::default(),
            input_bytes: 0,
            input: None,
            output_bytes: 0,
        };
        let mut body = Vec::new();
        invocation.encode(&mut body);
        let head = Head { time: clock.now(), origin: Origin::Host, cut: false, batched: false, context: &[] };
        recorder.append(Signal::Invocation, head, KIND_INVOCATION, &body);
        stores.push(store);
    }
    depot.settle();
    Ok(vec![resident_bytes()? - before])
}

/// Bytes of this process that are in memory, those of files that it has mapped included.
pub(crate) fn resident_bytes() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/status").context("reading what the system says of this process")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("it says how much is resident")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024.0)
}
