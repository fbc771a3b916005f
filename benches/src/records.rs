//! Logs as an extension writes them, made up: several levels and targets, four fields, words of which few are frequent.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{self, Field, KIND_LOG, Log, Source, Value};
use glasshouse_model::{Clock as _, Context, Level, Origin, Signal, SpanId, TraceId, UnixNanos};
use glasshouse_runtime::SystemClock;
use glasshouse_telemetry::{Depot, DepotSettings, Head, Recorder, Store};

/// The extension that the stored records are of.
pub(crate) const EXTENSION: &str = "bench";
/// Words of which messages are made.
const WORDS: usize = 4_000;
/// Bytes that a record has in a segment beside its context and its body.
const HEAD_BYTES: usize = 28;
const TARGETS: [&str; 12] = [
    "shop::cart",
    "shop::checkout",
    "shop::search",
    "auth::session",
    "auth::oidc",
    "mail::queue",
    "mail::smtp",
    "image::resize",
    "image::cache",
    "db::pool",
    "db::migrate",
    "http::client",
];
const PATHS: [&str; 8] =
    ["/index.html", "/cart", "/cart/items", "/checkout", "/search", "/login", "/images/banner.png", "/api/v2/orders"];

/// Makes logs, the same ones for the same seed.
pub(crate) struct Logs {
    random: fastrand::Rng,
    words: Vec<String>,
    time: i64,
    body: Vec<u8>,
    context: Vec<u8>,
    message: String,
}

impl Logs {
    /// Logs that end about now if there are so many of them.
    pub(crate) fn new(seed: u64, count: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let syllables = ["ka", "lo", "mi", "ren", "sto", "ta", "vi", "zen", "po", "qua", "ber", "ni", "fal", "dor"];
        let word = |random: &mut fastrand::Rng| -> String {
            (0..random.usize(2..5)).map(|_| syllables[random.usize(..syllables.len())]).collect()
        };
        let words = (0..WORDS).map(|_| word(&mut random)).collect();
        let time = SystemClock::new().now().0 - count as i64 * Self::GAP;
        Self { random, words, time, body: Vec::new(), context: Vec::new(), message: String::new() }
    }

    /// Nanoseconds from one log to the next.
    const GAP: i64 = 1_000_000;

    /// Records the next log, with a word in its message that others do not have; returns the bytes that it takes.
    pub(crate) fn record(&mut self, recorder: &Recorder, extra: Option<&str>) -> Result<u64> {
        let random = &mut self.random;
        let level = match random.u32(..100) {
            0..=4 => Level::Trace,
            5..=39 => Level::Debug,
            40..=84 => Level::Info,
            85..=94 => Level::Warning,
            95..=98 => Level::Error,
            _ => Level::Critical,
        };
        self.message.clear();
        for _ in 0..random.usize(5..12) {
            // Few words are frequent, and most are rare.
            let rank = random.f64().powi(3) * WORDS as f64;
            self.message.push_str(&self.words[rank as usize]);
            self.message.push(' ');
        }
        self.message.push_str(extra.unwrap_or("done"));
        let source = Source { file: "src/handlers/orders.rs", line: random.u32(1..900) };
        let log = Log {
            level,
            target: TARGETS[random.usize(..TARGETS.len())],
            message: "",
            source: Some(source),
            time: None,
        };
        let fields = [
            Field { name: "path", value: Value::Text(PATHS[random.usize(..PATHS.len())]) },
            Field { name: "status", value: Value::Integer([200, 200, 200, 204, 304, 404, 500][random.usize(..7)]) },
            Field { name: "seconds", value: Value::Float(f64::from(random.u32(1..90_000)) / 1e5) },
            Field { name: "cached", value: Value::Boolean(random.bool()) },
        ];
        let context = Context {
            trace_id: TraceId(random.u128(..).to_le_bytes()),
            span_id: SpanId(random.u64(..).to_le_bytes()),
            user: Some(format!("u{}", random.u32(1..5_000))),
            ..Context::default()
        };
        self.time += random.i64(0..2 * Self::GAP);
        self.body.clear();
        wire::write_log(&mut self.body, &log, format_args!("{}", self.message), &fields);
        self.context.clear();
        context.encode(&mut self.context);
        let head = Head {
            time: UnixNanos(self.time),
            origin: Origin::Guest,
            cut: false,
            batched: false,
            context: &self.context,
        };
        ensure!(recorder.append(Signal::Log, head, KIND_LOG, &self.body) > 0, "a log was not stored");
        Ok((HEAD_BYTES + self.context.len() + self.body.len()).next_multiple_of(8) as u64)
    }
}

/// A depot with a data directory in this folder, with room for all that is measured here.
pub(crate) fn depot(folder: &Path) -> Result<Depot> {
    let settings =
        DepotSettings { data_dir: Some(folder.to_owned()), data_limit: 64 << 30, ..DepotSettings::default() };
    Depot::open(&settings, clock()).context("opening a data directory")
}

/// The system's clock.
pub(crate) fn clock() -> Arc<SystemClock> {
    Arc::new(SystemClock::new())
}

/// Settings that keep gigabytes of logs.
pub(crate) fn roomy() -> Settings {
    let mut settings = Settings::default();
    settings.retention.bytes = 8 << 30;
    settings.retention.signals[Signal::Log as usize].bytes = 4 << 30;
    settings
}

/// The store of an extension.
pub(crate) fn store(depot: &Depot, extension: &str, settings: &Settings) -> Result<Arc<Store>> {
    depot.store(extension, settings).with_context(|| format!("opening the store of {extension}"))
}

/// The folder of an extension's files of a signal.
pub(crate) fn folder_of(data_dir: &Path, extension: &str, signal: Signal) -> std::path::PathBuf {
    data_dir.join("extensions").join(extension).join(signal.as_str())
}

/// Bytes of the files in a folder that end so, and their number.
pub(crate) fn files(folder: &Path, ending: &str) -> Result<(u64, usize)> {
    let mut bytes = 0;
    let mut count = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == ending) {
            bytes += entry.metadata()?.len();
            count += 1;
        }
    }
    Ok((bytes, count))
}
