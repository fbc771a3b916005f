//! What these tests share: a depot in a folder that goes with the test, and short ways to write and read.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{self, Log};
use glasshouse_model::{Clock, Level, Origin, Signal, UnixNanos};

use crate::{DataDir, Depot, DepotSettings, Entry, Head, Reader, Store, StoreSettings};

/// A clock that stands still until it is set.
pub(crate) struct Hand(pub(crate) AtomicI64);

impl Clock for Hand {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }

    fn monotonic_nanos(&self) -> u64 {
        self.0.load(Ordering::Relaxed) as u64
    }
}

/// The time that tests start at.
pub(crate) const START: i64 = 1_800_000_000_000_000_000;
const LONG: Duration = Duration::from_hours(1);

pub(crate) fn hand() -> Arc<Hand> {
    Arc::new(Hand(AtomicI64::new(START)))
}

/// A depot whose keeper does nothing by itself but seal.
pub(crate) fn depot(folder: &Path, clock: Arc<Hand>) -> Depot {
    depot_of(&DepotSettings { data_dir: Some(folder.to_owned()), ..quiet() }, clock)
}

pub(crate) fn quiet() -> DepotSettings {
    DepotSettings { cleanup_interval: LONG, sync_interval: LONG, ..DepotSettings::default() }
}

pub(crate) fn depot_of(settings: &DepotSettings, clock: Arc<Hand>) -> Depot {
    Depot::open(settings, clock).expect("a depot")
}

pub(crate) fn store(depot: &Depot, change: impl FnOnce(&mut StoreSettings)) -> Arc<Store> {
    let mut settings = StoreSettings::new(&Settings::default());
    // A file that a test has written anew has the present time, and not that of the test's clock.
    settings.bounds.iter_mut().for_each(|bounds| bounds.age = Duration::MAX);
    change(&mut settings);
    depot.store_of("markdown", &settings, Arc::default()).expect("a store")
}

/// Stores a log; returns its sequence number.
pub(crate) fn log(store: &Arc<Store>, time: i64, message: &str) -> u64 {
    let mut body = Vec::new();
    let log = Log { level: Level::Info, target: "test", message, source: None, time: None };
    wire::write_log(&mut body, &log, format_args!("{message}"), &[]);
    let head = Head { time: UnixNanos(time), origin: Origin::Guest, cut: false, batched: false, context: b"" };
    store.recorder().append(Signal::Log, head, wire::KIND_LOG, &body)
}

/// Stores logs `from..to`, each with its number as its message and, so that they take some room, some more.
pub(crate) fn logs(store: &Arc<Store>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        log(store, START + number as i64, &message(number));
    }
}

pub(crate) fn message(number: u64) -> String {
    format!("{number} {:x} some text that goes on for a while, as logs do", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

pub(crate) fn message_of(entry: &Entry) -> String {
    match entry.body() {
        Ok(crate::Body::Record(wire::Record::Log(log, _))) => log.message.to_owned(),
        other => panic!("a log, and not {other:?}"),
    }
}

pub(crate) fn messages(reader: &Reader) -> Vec<String> {
    reader.all().iter().map(message_of).collect()
}

/// Where two lists of messages differ first: what is found there, and what is expected.
pub(crate) fn difference(found: &[String], expect: &[String]) -> Option<(usize, Option<String>, Option<String>)> {
    let shown = |text: Option<&String>| text.map(|text| text.chars().take(40).collect());
    let at = (0..found.len().max(expect.len())).find(|at| found.get(*at) != expect.get(*at))?;
    Some((at, shown(found.get(at)), shown(expect.get(at))))
}

/// What another process would read.
pub(crate) fn stored(folder: &Path) -> Reader {
    DataDir::open(folder).expect("a data directory").reader("markdown", Signal::Log)
}

/// The files of the logs, by name.
pub(crate) fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder.join("extensions/markdown/logs")).expect("the folder of logs");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

pub(crate) fn sequences(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(Entry::sequence).collect()
}

/// Makes all files look as if another boot of the system had written them.
pub(crate) fn as_of_another_boot(folder: &Path) {
    use std::os::unix::fs::FileExt as _;

    for path in files(folder) {
        let bytes = std::fs::read(&path).expect("a file");
        let mut header = crate::header::Header::decode(&bytes).expect("a header");
        header.boot ^= 1;
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a file");
        let modified = file.metadata().and_then(|metadata| metadata.modified()).expect("its time");
        file.write_all_at(&header.encode(), 0).and_then(|()| file.set_modified(modified)).expect("another header");
    }
}
