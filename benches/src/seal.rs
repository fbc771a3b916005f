//! What sealing costs, and reading what is sealed.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use glasshouse_model::Signal;
use glasshouse_telemetry::DataDir;
use tempfile::TempDir;

use crate::harness::{Plan, Row, Samples, Spread, Unit, wall};
use crate::records::{EXTENSION, Logs, depot, files, folder_of, roomy, store};

/// Logs that are sealed in one turn: some seventy megabytes.
const LOGS: u64 = 300_000;
const TURNS: usize = 5;
/// Bytes of a sealed block.
const BLOCK_BYTES: usize = 64 * 1024;
/// The level of compression that sealing uses.
const LEVEL: i32 = 3;

pub(crate) fn measure(_: &Plan) -> Result<Vec<Row>> {
    let (mut sealing, mut packing, mut reading, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut raw = 0;
    for _ in 0..TURNS {
        let folder = TempDir::new()?;
        let logs_folder = folder_of(folder.path(), EXTENSION, Signal::Log);
        let depot = depot(folder.path())?;
        let store = store(&depot, EXTENSION, &roomy())?;
        let recorder = store.recorder();
        let mut logs = Logs::new(1, LOGS);
        raw = 0;
        for _ in 0..LOGS {
            raw += logs.record(&recorder, None)?;
        }
        let sample = oldest_open(&logs_folder)?;
        // What the keeper has sealed meanwhile, and makes ahead, is left out.
        let (before, _) = files(&logs_folder, "open")?;
        let (took, ()) = wall(|| {
            depot.settle();
            Ok(())
        })?;
        let (after, _) = files(&logs_folder, "open")?;
        sealing.push((before - after) as f64 / took * 1e9);

        let (took, ()) = wall(|| {
            let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
            for block in sample.chunks(BLOCK_BYTES) {
                black_box(compressor.compress(block)?);
            }
            Ok(())
        })?;
        packing.push(sample.len() as f64 / took * 1e9);

        let (took, entries) = wall(|| Ok(DataDir::open(folder.path())?.reader(EXTENSION, Signal::Log).all()))?;
        ensure!(entries.len() as u64 == LOGS, "{} logs are stored, not {LOGS}", entries.len());
        reading.push(raw as f64 / took * 1e9);
        let (left, _) = files(&logs_folder, "open")?;
        // The segment that is being filled, and the one made ahead, are not sealed.
        sizes.push(files(&logs_folder, "sealed")?.0 as f64 / (raw.saturating_sub(left) as f64));
    }
    let packed = Samples::new(sizes).spread().median * raw as f64;
    let speed = |what: &str, speeds| Row::figure("seal", what, Unit::BytesPerSecond, Samples::new(speeds).spread());
    Ok(vec![
        speed("sealing: words, zstd, checksum, file, fsync", sealing)
            .beside("zstd level 3 alone, in blocks of 64 KiB", Samples::new(packing).spread().median),
        speed("reading all back, by bytes of records", reading),
        Row::figure("seal", format!("{LOGS} logs, sealed"), Unit::Bytes, Spread::of(packed))
            .beside("the same in segments", raw as f64),
    ])
}

/// The bytes of the oldest segment that is not sealed.
fn oldest_open(folder: &Path) -> Result<Vec<u8>> {
    let paths: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let open = paths.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "open")).min();
    Ok(fs::read(open.context("a segment is being filled")?)?)
}
