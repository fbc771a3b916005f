//! A logger for the `log` crate.

use glasshouse_wire::{self as wire, Level, Source};
use log::{Log, Metadata, Record};

/// Sends what is logged through `log` to the host.
pub(super) struct Bridge;

fn level(level: log::Level) -> Level {
    match level {
        log::Level::Trace => Level::Trace,
        log::Level::Debug => Level::Debug,
        log::Level::Info => Level::Info,
        log::Level::Warn => Level::Warning,
        log::Level::Error => Level::Error,
    }
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        crate::enabled(level(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let source = record.file().zip(record.line()).map(|(file, line)| Source { file, line });
        let level = level(record.level());
        crate::log::send_log(level, |body, time| {
            let log = wire::Log { level, target: record.target(), message: "", source, time };
            wire::write_log(body, &log, *record.args(), &[]);
        });
    }

    fn flush(&self) {}
}
