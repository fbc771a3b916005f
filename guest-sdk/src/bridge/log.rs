//! A logger for the `log` crate.

use glasshouse_wire::{self as wire, Field, Level, Source, Value};
use log::{Log, Metadata, Record};

use super::CODE_MODULE;

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
        let module = record.module_path().filter(|module| *module != record.target());
        let module = module.map(|module| Field { name: CODE_MODULE, value: Value::Text(module) });
        crate::log::send_log(level, |body, time| {
            let log = wire::Log { level, target: record.target(), message: "", source, time };
            wire::write_log(body, &log, *record.args(), module.as_slice());
        });
    }

    fn flush(&self) {}
}
