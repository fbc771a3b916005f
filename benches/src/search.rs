//! A search of a million stored logs, beside ripgrep over the same records as lines of JSON.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use glasshouse::Stored;
use glasshouse::records::{LogRecord, record};
use glasshouse_model::{Signal, UnixNanos};
use glasshouse_telemetry::{DataDir, Query};
use serde::Serialize;
use tempfile::TempDir;

use crate::harness::{Plan, Row, Side, Unit, wall};
use crate::records::{EXTENSION, Logs, depot, files, folder_of, roomy, store};

/// Logs that are searched.
const LOGS: u64 = 1_000_000;
/// A word that three of them have.
const RARE: &str = "zanzibar";
const RARE_EVERY: u64 = LOGS / 3 - 7;
/// A filter that fifteen of a hundred pass, and the page of it.
const COMMON: &str = "level>=warning limit 100";
const COMMON_PATTERN: &str = r#""level":"(warning|error|critical)""#;
const PAGE: usize = 100;

/// A line as `glasshouse logs show --format json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    extension: &'a str,
    cursor: String,
    #[serde(flatten)]
    record: &'a LogRecord,
}

pub(crate) fn measure(plan: &Plan) -> Result<Vec<Row>> {
    check_ripgrep()?;
    let folder = TempDir::new()?;
    let data_dir = folder.path().join("data");
    fill(&data_dir)?;
    let lines = folder.path().join("logs.jsonl");
    let lines_bytes = write_lines(&data_dir, &lines)?;
    let (sealed, sealed_files) = files(&folder_of(&data_dir, EXTENSION, Signal::Log), "sealed")?;
    let lines = lines.as_path();

    let sides: [Side<'_>; 8] = [
        Box::new(|| search(&data_dir, RARE, 3)),
        Box::new(|| rg(&["-c", RARE], lines, Some("3"))),
        Box::new(|| search(&data_dir, COMMON, PAGE)),
        Box::new(|| rg(&["-m", "100", COMMON_PATTERN], lines, None)),
        Box::new(|| newest_by_rg(lines)),
        Box::new(|| cli(&data_dir, RARE)),
        Box::new(|| cli(&data_dir, COMMON)),
        Box::new(|| rg(&["-c", RARE], Path::new("/dev/null"), None)),
    ];
    let [rare, rg_rare, common, rg_common, rg_newest, cli_rare, cli_common, rg_nothing] = plan.run(sides)?;
    let rare_word = "a word that 3 of a million stored logs have";
    let page = "a page of the newest 100 of level>=warning";
    Ok(vec![
        rare.against(&rg_rare, "search", rare_word, "rg -c, the same as lines of JSON", Some(1.0 / 3.0)),
        common.against(&rg_newest, "search", page, "rg | tail -n 100, which gives the same", Some(0.1)),
        common.against(&rg_common, "search", page, "rg -m 100, which gives the oldest", Some(0.1)),
        cli_rare.against(&rg_rare, "search", "the rare word, by `glasshouse logs search`", "rg -c", None),
        cli_common.against(&rg_newest, "search", "the page, by `glasshouse logs search`", "rg | tail -n 100", None),
        rg_nothing.against(&rg_rare, "search", "(rg on an empty file: its start)", "rg -c", None),
        Row::figure("search", format!("what is searched, {sealed_files} sealed files"), Unit::Bytes, spread(sealed))
            .beside("the same as lines of JSON", lines_bytes as f64),
    ])
}

fn spread(bytes: u64) -> crate::harness::Spread {
    crate::harness::Spread::of(bytes as f64)
}

fn check_ripgrep() -> Result<()> {
    let found = Command::new("rg").arg("--version").stdout(Stdio::null()).status();
    ensure!(
        found.is_ok_and(|status| status.success()),
        "searching is measured beside ripgrep, which is not installed: apt-get install ripgrep"
    );
    Ok(())
}

/// Stores the logs, and seals what is full.
fn fill(data_dir: &Path) -> Result<()> {
    let depot = depot(data_dir)?;
    let store = store(&depot, EXTENSION, &roomy())?;
    let recorder = store.recorder();
    let mut logs = Logs::new(1, LOGS);
    for number in 1..=LOGS {
        logs.record(&recorder, (number % RARE_EVERY == 0).then_some(RARE))?;
    }
    depot.settle();
    Ok(())
}

/// Writes what is stored as the command line prints it; returns how many bytes.
fn write_lines(data_dir: &Path, path: &Path) -> Result<u64> {
    let records = Stored::open(data_dir)?.extension(EXTENSION).records::<LogRecord>();
    let mut file = BufWriter::new(File::create(path)?);
    let mut next = 1;
    while next <= LOGS {
        let page = records.reader().page(next, 50_000);
        ensure!(page.missed == 0 && !page.entries.is_empty(), "not all logs are stored");
        next = page.next_sequence;
        for entry in &page.entries {
            let record = record::<LogRecord>(entry).context("what is stored is a log")?;
            let cursor = records.cursor(entry.sequence()).to_string();
            serde_json::to_writer(&mut file, &Line { extension: EXTENSION, cursor, record: &record })?;
            file.write_all(b"\n")?;
        }
    }
    file.flush()?;
    Ok(path.metadata()?.len())
}

/// Opens the data directory and searches it; the query is read, too.
fn search(data_dir: &Path, query: &str, expected: usize) -> Result<f64> {
    let (nanos, found) = wall(|| {
        let query = Query::parse(query, UnixNanos(0))?;
        let reader = DataDir::open(data_dir)?.reader(EXTENSION, Signal::Log);
        Ok(reader.search(EXTENSION, &query, PAGE))
    })?;
    ensure!(found.len() == expected, "{query}: {} were found, not {expected}", found.len());
    Ok(nanos)
}

fn rg(arguments: &[&str], file: &Path, expected: Option<&str>) -> Result<f64> {
    let (nanos, output) = wall(|| Command::new("rg").args(arguments).arg(file).output().context("running rg"))?;
    if let Some(expected) = expected {
        let found = String::from_utf8_lossy(&output.stdout);
        ensure!(found.trim() == expected, "rg found {}, not {expected}", found.trim());
    }
    Ok(nanos)
}

/// The newest that pass the common filter: those at the file's end.
fn newest_by_rg(file: &Path) -> Result<f64> {
    let (nanos, lines) = wall(|| {
        let mut rg = Command::new("rg").arg(COMMON_PATTERN).arg(file).stdout(Stdio::piped()).spawn()?;
        let found = rg.stdout.take().context("rg has an output")?;
        let tail = Command::new("tail").arg("-n100").stdin(found).output()?;
        rg.wait()?;
        Ok(tail.stdout.split(|byte| *byte == b'\n').count() - 1)
    })?;
    ensure!(lines == PAGE, "{lines} lines are no page");
    Ok(nanos)
}

/// The same by our own command line.
fn cli(data_dir: &Path, query: &str) -> Result<f64> {
    let program = program()?;
    let (nanos, output) = wall(|| {
        let mut command = Command::new(&program);
        command.args(["logs", "search", "--format", "json", "--extension-id", EXTENSION, "--data-dir"]);
        command.arg(data_dir).arg(query).output().context("running glasshouse")
    })?;
    ensure!(output.status.success(), "glasshouse: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(!output.stdout.is_empty(), "glasshouse found nothing");
    Ok(nanos)
}

/// The command line that was built with this program.
pub(crate) fn program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("glasshouse");
    ensure!(program.exists(), "{} is not there: run `cargo xtask bench`, which builds it", program.display());
    Ok(program)
}
