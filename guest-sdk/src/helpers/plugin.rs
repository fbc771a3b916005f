//! Plugins that an extension ran.

use glasshouse_wire::{Level, Source, Value};

use super::{Known, Outcome, caller, outcome_methods};
use crate::{Kind, enabled, is_stored};

const LOGGER: &str = "glasshouse.function";

/// A plugin that was run; [`log`](PluginExecution::log) tells of it: as an error if it [failed](PluginExecution::failed), as a
/// warning if it was slow, otherwise at info.
///
/// ```
/// use std::time::Duration;
/// use glasshouse_sdk::PluginExecution;
///
/// PluginExecution::new("markdown", "render").elapsed(Duration::from_millis(3)).log();
/// PluginExecution::new("markdown", "render").failed("too-deep").log();
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "an execution is told by `log`"]
pub struct PluginExecution<'a> {
    plugin: &'a str,
    operation: &'a str,
    outcome: Outcome<'a>,
    source: Source<'static>,
}

impl<'a> PluginExecution<'a> {
    /// A plugin, and what it was to do. It succeeded unless it [failed](PluginExecution::failed).
    #[track_caller]
    pub fn new(plugin: &'a str, operation: &'a str) -> Self {
        Self { plugin, operation, outcome: Outcome::default(), source: caller() }
    }

    outcome_methods!();

    /// Tells of it.
    pub fn log(&self) {
        let level = self.outcome.level(Level::Info);
        if !is_stored(Kind::Function) || !enabled(level) {
            return;
        }
        let Self { plugin, operation, outcome, source } = *self;
        let fields = Known::new()
            .text("plugin.name", Some(plugin))
            .text("plugin.operation", Some(operation))
            .add("success", Some(Value::Boolean(outcome.failure.is_none())))
            .outcome(&outcome);
        let send = |message: std::fmt::Arguments<'_>| fields.send(LOGGER, level, source, message);
        match outcome.failure {
            Some(cause) => send(format_args!("{plugin} {operation} failed: {cause}")),
            None => send(format_args!("{plugin} {operation}")),
        }
    }
}
