//! The start of a host on a data directory that is full.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use glasshouse_model::Signal;
use glasshouse_model::settings::Settings;
use glasshouse_telemetry::DataDir;
use tempfile::TempDir;

use crate::child::{self, Child};
use crate::harness::{Plan, Row, Samples, Unit};
use crate::idle::resident_bytes;
use crate::records::{Logs, depot, files, folder_of, roomy, store};

/// Bytes of sealed files that each extension has, about: under what is kept of logs by default.
const BYTES_EACH: u64 = 100_000_000;
/// Logs that are written before it is looked whether they are enough.
const ROUND: u64 = 50_000;
/// Starts that are measured.
const STARTS: usize = 5;
/// A host is to start in this time.
const LIMIT_NANOS: f64 = 1e9;

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let folder = TempDir::new()?;
    let extensions = plan.sealed_bytes.div_ceil(BYTES_EACH).max(1);
    let (bytes, sealed) = fill(folder.path(), extensions)?;
    let (mut took, mut grown) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        if plan.drop_caches {
            drop_caches()?;
        }
        let figures = child::run(Child::Start, folder.path())?;
        ensure!(figures.len() == 3, "a child tells its time, its memory and how many records there are");
        took.push(figures[0]);
        grown.push(figures[1]);
    }
    let caches = if plan.drop_caches { "caches dropped" } else { "caches as they are" };
    let gigabytes = bytes as f64 / 1e9;
    let what = format!("{extensions} stores with {gigabytes:.1} GB in {sealed} sealed files opened, {caches}");
    Ok(vec![
        Row::figure("start", what, Unit::Nanos, Samples::new(took).spread()).under("the limit", LIMIT_NANOS),
        Row::figure("start", "resident memory that this takes", Unit::Bytes, Samples::new(grown).spread()),
    ])
}

/// Makes one full store, and copies of it under other names; returns bytes and number of all sealed files.
fn fill(data_dir: &Path, extensions: u64) -> Result<(u64, usize)> {
    let first = name(0);
    let logs_of = |extension: &str| folder_of(data_dir, extension, Signal::Log);
    {
        let depot = depot(data_dir)?;
        let store = store(&depot, &first, &roomy())?;
        let recorder = store.recorder();
        let mut logs = Logs::new(2, ROUND);
        while !logs_of(&first).exists() || files(&logs_of(&first), "sealed")?.0 < BYTES_EACH {
            for _ in 0..ROUND {
                logs.record(&recorder, None)?;
            }
            depot.settle();
        }
    }
    let from = logs_of(&first);
    let (bytes, count) = files(&from, "sealed")?;
    for number in 1..extensions {
        let to = logs_of(&name(number));
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let path = to.join(entry.file_name());
            fs::copy(entry.path(), &path).with_context(|| format!("copying to {}", path.display()))?;
            // By it, a store knows how old the records are.
            File::options().write(true).open(&path)?.set_modified(entry.metadata()?.modified()?)?;
        }
    }
    Ok((bytes * extensions, count * extensions as usize))
}

fn name(number: u64) -> String {
    format!("extension-{number}")
}

/// Drops the caches of files and folders of the whole machine.
fn drop_caches() -> Result<()> {
    let synced = Command::new("sync").status()?;
    ensure!(synced.success(), "sync failed");
    fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the caches, which only root may")
}

/// In a process of its own: opens all stores; tells nanoseconds, bytes of resident memory, and records.
pub(crate) fn child(folder: &Path) -> Result<Vec<f64>> {
    let extensions = DataDir::open(folder)?.extensions()?;
    let before = resident_bytes()?;
    let start = Instant::now();
    let depot = depot(folder)?;
    depot.open_ahead(extensions.iter().map(String::as_str));
    let stores = extensions
        .iter()
        .map(|extension| store(&depot, extension, &Settings::default()))
        .collect::<Result<Vec<_>>>()?;
    let took = start.elapsed().as_nanos() as f64;
    let grown = resident_bytes()? - before;
    let records: u64 = stores.iter().map(|store| store.reader(Signal::Log).stored()).sum();
    ensure!(records > 0, "the stores are empty");
    Ok(vec![took, grown, records as f64])
}
