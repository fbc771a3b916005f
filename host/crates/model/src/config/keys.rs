//! The one table of configuration keys: path, kind, default, meaning, and where each may stand.

use std::time::Duration;

use super::key::key;
pub(super) use super::key::{Cap, Slot, Target};
pub use super::key::{Key, Scope};
use super::value::Kind;
use super::{check, otlp};
use crate::settings::Settings;
use crate::{Aspect, limits};

mod files;
#[cfg(test)]
mod tests;
/// The key of that path in that scope.
pub(super) fn find(scope: Scope, path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path && key.scopes.contains(&scope))
}

const SWITCH: Kind = Kind::Switch;
/// Signals kept in memory; the bound keeps a manifest from claiming the host's memory by this door.
const KEPT: Kind = Kind::Integer { least: 1, most: 1_000_000 };
const INTERVAL: Kind = duration(1_000, 86_400);
/// At least two segments of a signal.
const KEPT_BYTES: Kind = Kind::Size { least: 256 << 10, most: 1 << 50 };
const KEPT_AGE: Kind = duration(1_000, 3650 * 86_400);
const NONE: &str = "[]";
const URL: Kind = Kind::Text(otlp::endpoint);
/// What of a request is in memory at once, a few times over.
const BATCH: Kind = Kind::Size { least: 1 << 10, most: 16 << 20 };

/// Where it is kept whether an aspect is watched.
fn aspect(all: &mut Settings, aspect: Aspect) -> Target<'_> {
    Target::Switch(&mut all.debugging.aspects[aspect as usize])
}

const fn duration(least_millis: u64, most_seconds: u64) -> Kind {
    Kind::Duration { least: Duration::from_millis(least_millis), most: Duration::from_secs(most_seconds) }
}

/// All keys, in the order of the reference.
pub(super) static KEYS: &[Key] = &[
    key("id", Kind::Text(check::id), "", "The extension's id: the name of its folder."),
    key("version", Kind::Text(check::version), "0.0.0", "The extension's version, as in semver.org."),
    key("name", Kind::Text(check::line), "", "Its name for people; the id if empty."),
    key("description", Kind::Text(check::any), "", "What it does."),
    key("authors", Kind::Texts(check::line), NONE, "Who wrote it."),
    key(
        "component",
        Kind::Text(check::inside),
        "",
        "The component file, relative to the extension's folder and inside it; <id>.wasm if empty.",
    ),
    key(
        "subscribe",
        Kind::Texts(check::topic),
        NONE,
        "Topics whose events it gets; a trailing * stands for any ending.",
    ),
    key("enabled", SWITCH, "true", "Whether the extension is loaded at all.").operator(),
    key(
        "permissions.files",
        Kind::Files,
        NONE,
        "Folders that it sees: host path, guest path, access (read or write); a grant covers the folders below it too.",
    )
    .granted(),
    key("permissions.env", Kind::Texts(check::variable), NONE, "Environment variables that it sees, by name.")
        .granted(),
    key(
        "permissions.network",
        Kind::Network,
        NONE,
        "Where it may connect to: address, block of addresses or name, with a port or for all ports.",
    )
    .granted(),
    key(
        "permissions.http",
        Kind::Origins,
        NONE,
        "Where it may send HTTP requests to, by scheme, host and port; *.example.com stands for all names below it. Names \
         may lead to public addresses, and to those that are granted beside them.",
    )
    .granted(),
    key(
        "permissions.call",
        Kind::Texts(check::id_pattern),
        NONE,
        "Extensions that it may call, by id; a trailing * stands for any ending.",
    )
    .granted(),
    key(
        "permissions.publish",
        Kind::Texts(check::topic),
        NONE,
        "Topics that it may publish to; a trailing * stands for any ending.",
    )
    .granted(),
    key(
        "budget.metering",
        Kind::Metering,
        "fuel",
        "What measures and slices its work: fuel, exact and repeatable, or cpu, faster, without fuel and its budgets; \
         a manifest may only choose fuel.",
    )
    .setting(Cap::AtLeast, |all| Target::Metering(&mut all.budget.metering))
    .at_start(),
    key(
        "budget.fuel_per_call",
        Kind::Integer { least: 1, most: i64::MAX as u64 },
        "2000000000",
        "Wasm fuel that one call may use; about a unit an instruction.",
    )
    .setting(Cap::AtMost, |all| Target::Long(&mut all.budget.fuel_per_call)),
    key(
        "budget.fuel_per_second",
        Kind::Integer { least: 1, most: i64::MAX as u64 },
        "10000000000",
        "Wasm fuel that it may use in a second, over budget.rate_window; with more, its calls are spaced.",
    )
    .setting(Cap::AtMost, |all| Target::Long(&mut all.budget.fuel_per_second)),
    key(
        "budget.cpu_share",
        Kind::Integer { least: 1, most: 100 },
        "100",
        "CPU time that it may use, in percent of one processor, over budget.rate_window; with more, its calls are spaced.",
    )
    .setting(Cap::AtMost, |all| Target::Int(&mut all.budget.cpu_share)),
    key("budget.rate_window", duration(1_000, 3600), "60s", "The time over which budget.fuel_per_second and budget.cpu_share are taken.")
        .setting_of_operator(|all| Target::Duration(&mut all.budget.rate_window)),
    key("budget.deadline", duration(1, 86_400), "5s", "Wall time that one call may take, waiting included.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.budget.deadline)),
    key(
        "budget.memory",
        Kind::Size { least: 64 << 10, most: 4 << 30 },
        "64MiB",
        "Linear memory that an instance may have.",
    )
    .setting(Cap::AtMost, |all| Target::Size(&mut all.budget.memory_bytes)),
    key(
        "budget.table_elements",
        Kind::Integer { least: 1, most: 10_000_000 },
        "1000000",
        "Elements of all tables of an instance, each a pointer of the host's memory; real programs have a few thousand.",
    )
    .setting(Cap::AtMost, |all| Target::Count(&mut all.budget.table_elements)),
    key(
        "budget.instances",
        Kind::Integer { least: 1, most: 1_000 },
        "100",
        "Core modules that an instance may consist of; most have about four, Python some thirty.",
    )
    .setting(Cap::AtMost, |all| Target::Count(&mut all.budget.instances)),
    key(
        "budget.memories",
        Kind::Integer { least: 1, most: 100 },
        "16",
        "Memories of an instance; each takes 4 GiB of the host's address space, whatever its size.",
    )
    .setting(Cap::AtMost, |all| Target::Count(&mut all.budget.memories)),
    key(
        "budget.handles",
        Kind::Integer { least: 16, most: 1_000_000 },
        "10000",
        "Handles of resources, its own and the host's, that an instance may hold at once; each is some of the host's memory.",
    )
    .setting(Cap::AtMost, |all| Target::Count(&mut all.budget.handles)),
    key(
        "budget.resources",
        Kind::Integer { least: 16, most: 100_000 },
        "1000",
        "Resources of the host, such as open files, sockets, streams and meters, that an instance may hold at once.",
    )
    .setting(Cap::AtMost, |all| Target::Count(&mut all.budget.resources)),
    key(
        "budget.host_data_per_call",
        Kind::Size { least: 1 << 10, most: 4 << 30 },
        "16MiB",
        "Data that one host call may carry from guest to host, about.",
    )
    .setting(Cap::AtMost, |all| Target::Size(&mut all.budget.host_data_per_call)),
    key(
        "budget.host_calls_per_call",
        Kind::Integer { least: 1, most: i64::MAX as u64 },
        "10000000",
        "Calls of host functions, WASI's included, that one call may make.",
    )
    .setting(Cap::AtMost, |all| Target::Long(&mut all.budget.host_calls_per_call)),
    key(
        "budget.mailbox",
        Kind::Integer { least: 1, most: 65_536 },
        "256",
        "Calls that wait for the extension before its callers wait or are turned away.",
    )
    .setting(Cap::AtMost, |all| Target::Count(&mut all.budget.mailbox)),
    key(
        "budget.failures_in_a_row",
        Kind::Integer { least: 1, most: 1000 },
        "3",
        "Failures in a row after which the extension is quarantined.",
    )
    .setting(Cap::AtMost, |all| Target::Int(&mut all.budget.failures_in_a_row)),
    key(
        "budget.quarantine",
        duration(1, 7 * 86_400),
        "30s",
        "How long a quarantine lasts before a call probes the extension; a manifest may only make it longer.",
    )
    .setting(Cap::AtLeast, |all| Target::Duration(&mut all.budget.quarantine)),
    key(
        "budget.warn_at",
        Kind::Integer { least: 1, most: 100 },
        "80",
        "The part of a budget, in percent, at which the extension is warned.",
    )
    .setting(Cap::AtMost, |all| Target::Int(&mut all.budget.warn_at)),
    key(
        "budget.throttle_limit",
        duration(1_000, 7 * 86_400),
        "600s",
        "How long the extension may go on asking for more than a rate, with its calls spaced, before it is quarantined.",
    )
    .setting(Cap::AtMost, |all| Target::Duration(&mut all.budget.throttle_limit)),
    key(
        "budget.records_per_second",
        Kind::Integer { least: 1, most: 100_000_000 },
        "100000",
        "Records that it may store a second; what matters most, such as errors, has a quarter of that for itself besides.",
    )
    .setting(Cap::AtMost, |all| Target::Long(&mut all.budget.telemetry.records_per_second)),
    key(
        "budget.record_bytes_per_second",
        Kind::Size { least: 64 << 10, most: 16 << 30 },
        "64MiB",
        "Bytes of records that it may store a second; as with their number, a quarter more for what matters most.",
    )
    .setting(Cap::AtMost, |all| Target::Size(&mut all.budget.telemetry.bytes_per_second)),
    key(
        "budget.fields_per_record",
        Kind::Integer { least: 1, most: limits::FIELDS as u64 },
        "64",
        "Fields of a record, or labels of a sample; further ones are cut off.",
    )
    .setting(Cap::AtMost, |all| Target::Count(&mut all.budget.telemetry.fields)),
    key(
        "budget.string_bytes",
        Kind::Size { least: 64, most: limits::MESSAGE_BYTES as u64 },
        "16KiB",
        "Bytes of a text in a record; the rest is cut off.",
    )
    .setting(Cap::AtMost, |all| Target::Size(&mut all.budget.telemetry.string_bytes)),
    key(
        "budget.metrics",
        Kind::Integer { least: 1, most: limits::SERIES as u64 },
        "1000",
        "Names of metrics; samples of further ones are dropped.",
    )
    .setting(Cap::AtMost, |all| Target::Int(&mut all.budget.telemetry.metrics)),
    key(
        "budget.series_per_metric",
        Kind::Integer { least: 1, most: limits::SERIES as u64 },
        "2000",
        "Sets of labels of a metric; samples of further ones get the label otel.metric.overflow in their place.",
    )
    .setting(Cap::AtMost, |all| Target::Int(&mut all.budget.telemetry.series_per_metric)),
    key(
        "budget.open_spans",
        Kind::Integer { least: 1, most: limits::NESTING as u64 },
        "128",
        "Spans that may be open at once in a call; further ones are counted only.",
    )
    .setting(Cap::AtMost, |all| Target::Count(&mut all.budget.telemetry.open_spans)),
    key(
        "budget.span_depth",
        Kind::Integer { least: 1, most: limits::NESTING as u64 },
        "128",
        "How deeply spans may lie in each other; deeper ones are counted only.",
    )
    .setting(Cap::AtMost, |all| Target::Count(&mut all.budget.telemetry.span_depth)),
    key("debugging.logging_enabled", SWITCH, "true", "Whether logs are stored.")
        .setting(Cap::Free, |all| Target::Switch(&mut all.debugging.logging_enabled)),
    key("debugging.metrics_enabled", SWITCH, "true", "Whether metric samples are stored.")
        .setting(Cap::Free, |all| Target::Switch(&mut all.debugging.metrics_enabled)),
    key("debugging.error_tracking_enabled", SWITCH, "true", "Whether errors are stored.")
        .setting(Cap::Free, |all| Target::Switch(&mut all.debugging.error_tracking_enabled)),
    key("debugging.alerting_enabled", SWITCH, "true", "Whether alerts are stored.")
        .setting(Cap::Free, |all| Target::Switch(&mut all.debugging.alerting_enabled)),
    key("debugging.profiling_enabled", SWITCH, "false", "Whether the extension is profiled.")
        .not_yet()
        .setting(Cap::Free, |all| Target::Switch(&mut all.debugging.profiling_enabled)),
    key(
        "debugging.tracing_enabled",
        SWITCH,
        "false",
        "Whether all spans are stored; otherwise those that failed and those of calls that fail or are slow, for which a span costs \
         nine tenths of a stored one, unless error_tracking_enabled is off as well.",
    )
    .setting(Cap::Free, |all| Target::Switch(&mut all.debugging.tracing_enabled)),
    key("debugging.log_level", Kind::Level, "debug", "The least level of a log that is stored.")
        .setting(Cap::Free, |all| Target::Level(&mut all.debugging.log_level)),
    key(
        "debugging.log_levels",
        Kind::Texts(check::logger_level),
        NONE,
        "Other least levels for logs whose target starts so, such as [\"http=debug\", \"db.pool=warning\"]; the longest start holds.",
    )
    .setting(Cap::Free, |all| Target::Texts(&mut all.debugging.log_levels)),
    key(
        "debugging.aspects.function",
        SWITCH,
        "true",
        "Whether logs of functions and plugins that were run (glasshouse.function) are stored.",
    )
    .setting(Cap::Free, |all| aspect(all, Aspect::Function)),
    key(
        "debugging.aspects.request",
        SWITCH,
        "true",
        "Whether logs of requests to other services (glasshouse.request) are stored.",
    )
    .setting(Cap::Free, |all| aspect(all, Aspect::Request)),
    key(
        "debugging.aspects.database",
        SWITCH,
        "true",
        "Whether logs of queries of databases (glasshouse.database) are stored.",
    )
    .setting(Cap::Free, |all| aspect(all, Aspect::Database)),
    key("debugging.aspects.cache", SWITCH, "true", "Whether logs of uses of caches (glasshouse.cache) are stored.")
        .setting(Cap::Free, |all| aspect(all, Aspect::Cache)),
    key(
        "debugging.aspects.security",
        SWITCH,
        "true",
        "Whether security events are stored: logs of the extension (glasshouse.security), and what the host tells of denied uses.",
    )
    .setting_of_operator(|all| aspect(all, Aspect::Security)),
    key(
        "debugging.aspects.resources",
        SWITCH,
        "true",
        "Whether what the extension uses is stored as samples of the host's, each metrics_interval.",
    )
    .setting_of_operator(|all| aspect(all, Aspect::Resources)),
    key("debugging.metrics_interval", INTERVAL, "30s", "How often the extension's collector is called, and what debugging costs it is stored.")
        .setting(Cap::Free, |all| Target::Duration(&mut all.debugging.metrics_interval)),
    key("debugging.health_check_interval", INTERVAL, "60s", "How often the extension's health is asked for.")
        .setting(Cap::Free, |all| Target::Duration(&mut all.debugging.health_check_interval)),
    key(
        "debugging.alert_resolve_after",
        duration(1_000, 365 * 86_400),
        "1d",
        "How long after it was last raised an alert of the extension's own is over by itself; guests cannot end their alerts.",
    )
    .setting(Cap::Free, |all| Target::Duration(&mut all.debugging.alert_resolve_after)),
    key(
        "debugging.thresholds",
        Kind::Thresholds,
        NONE,
        "Limits of what metrics come to, beyond which the host raises alerts: count, sum, rate, min, max, mean, last, p50, p90, p95, p99 or p99.9 \
         of a metric, over a window that ends now (5m if left out), each metrics_interval; a manifest's are added.",
    )
    .setting(Cap::Adds, |all| Target::Texts(&mut all.debugging.thresholds)),
    key("debugging.max_log_entries", KEPT, "10000", "Logs kept in memory.")
        .setting(Cap::AtMost, |all| Target::Count(&mut all.debugging.max_log_entries))
        .at_start(),
    key("debugging.max_metrics", KEPT, "50000", "Metric samples kept in memory.")
        .setting(Cap::AtMost, |all| Target::Count(&mut all.debugging.max_metrics))
        .at_start(),
    key("debugging.max_errors", KEPT, "1000", "Errors kept in memory.")
        .setting(Cap::AtMost, |all| Target::Count(&mut all.debugging.max_errors))
        .at_start(),
    key("debugging.max_traces", KEPT, "1000", "Traces, and invocations, kept in memory, about.")
        .setting(Cap::AtMost, |all| Target::Count(&mut all.debugging.max_traces))
        .at_start(),
    key(
        "debugging.sampling_rate",
        Kind::Number { least: 0.0, most: 1.0 },
        "1.0",
        "The part of traces that begin here whose spans, and whose logs below warning, are stored, from 0.0 to 1.0; what failed always is. A trace that \
         began elsewhere is kept if it is kept there.",
    )
    .setting(Cap::Free, |all| Target::Number(&mut all.debugging.sampling_rate)),
    key(
        "debugging.slow_call",
        Kind::SlowCall { least: Duration::ZERO, most: Duration::from_hours(24) },
        "1s",
        "A call that takes so long is slow: the spans of its trace are stored whatever the sampling rate is, also with tracing switched off, and in \
         whichever extensions; so a manifest may only ask for more time. With p95 it is slow if it takes longer than all but a twentieth of the recent \
         calls of its export and event, which counts as the least.",
    )
    .setting(Cap::AtLeast, |all| Target::SlowCall(&mut all.debugging.slow_call)),
    key(
        "debugging.profiling_overhead_limit",
        Kind::Number { least: 0.0, most: 100.0 },
        "5.0",
        "The part of its CPU time that debugging may cost an extension, in percent, before detail is left out; 100 is no limit.",
    )
    .setting(Cap::AtMost, |all| Target::Number(&mut all.debugging.profiling_overhead_limit)),
    key("retention.bytes", KEPT_BYTES, "512MiB", "Bytes in the data directory, of all its signals together. 8 MiB of them are set aside for what is known of its errors and alerts, of less than 32 MiB a quarter; that may take up to 8 MiB all the same.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.bytes)),
    key("retention.logs_bytes", KEPT_BYTES, "128MiB", "Bytes of its logs in the data directory.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.signals[0].bytes)),
    key("retention.logs_age", KEPT_AGE, "7d", "How long its logs are kept, about.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.retention.signals[0].age)),
    key("retention.metrics_bytes", KEPT_BYTES, "64MiB", "Bytes of its metric samples in the data directory.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.signals[1].bytes)),
    key("retention.metrics_age", KEPT_AGE, "7d", "How long its metric samples are kept, about.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.retention.signals[1].age)),
    key("retention.errors_bytes", KEPT_BYTES, "64MiB", "Bytes of its errors in the data directory.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.signals[2].bytes)),
    key("retention.errors_age", KEPT_AGE, "30d", "How long its errors are kept, about.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.retention.signals[2].age)),
    key("retention.spans_bytes", KEPT_BYTES, "128MiB", "Bytes of its spans in the data directory.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.signals[3].bytes)),
    key("retention.spans_age", KEPT_AGE, "3d", "How long its spans are kept, about.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.retention.signals[3].age)),
    key("retention.alerts_bytes", KEPT_BYTES, "32MiB", "Bytes of its alerts in the data directory.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.signals[4].bytes)),
    key("retention.alerts_age", KEPT_AGE, "30d", "How long its alerts are kept, about.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.retention.signals[4].age)),
    key("retention.invocations_bytes", KEPT_BYTES, "64MiB", "Bytes of its invocations in the data directory.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.signals[5].bytes)),
    key("retention.invocations_age", KEPT_AGE, "7d", "How long its invocations are kept, about.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.retention.signals[5].age)),
    key("retention.rollups_1s_bytes", KEPT_BYTES, "16MiB", "Bytes of what its metrics came to in each second, in the data directory.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.rollups[0].bytes)),
    key("retention.rollups_1s_age", KEPT_AGE, "1d", "How long that is kept, about.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.retention.rollups[0].age)),
    key("retention.rollups_10s_bytes", KEPT_BYTES, "8MiB", "Bytes of what its metrics came to in each ten seconds, in the data directory.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.rollups[1].bytes)),
    key("retention.rollups_10s_age", KEPT_AGE, "7d", "How long that is kept, about.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.retention.rollups[1].age)),
    key("retention.rollups_1m_bytes", KEPT_BYTES, "8MiB", "Bytes of what its metrics came to in each minute, in the data directory.")
        .setting(Cap::AtMost, |all| Target::Size(&mut all.retention.rollups[2].bytes)),
    key("retention.rollups_1m_age", KEPT_AGE, "30d", "How long that is kept, about.")
        .setting(Cap::AtMost, |all| Target::Duration(&mut all.retention.rollups[2].age)),
    key(
        "redaction.enabled",
        SWITCH,
        "true",
        "Whether secrets in its telemetry are replaced before storage; a manifest may only switch it on.",
    )
    .setting(Cap::AtLeast, |all| Target::Switch(&mut all.redaction.enabled)),
    key("redaction.email", SWITCH, "false", "Whether e-mail addresses are replaced; a manifest may only switch it on.")
        .setting(Cap::AtLeast, |all| Target::Switch(&mut all.redaction.email)),
    key(
        "redaction.fields",
        Kind::Texts(check::field_name),
        NONE,
        "Names of fields whose values are replaced, beside the built-in ones; a manifest's are added.",
    )
    .setting(Cap::Adds, |all| Target::Texts(&mut all.redaction.fields)),
    key(
        "redaction.patterns",
        Kind::Patterns,
        NONE,
        "Regular expressions whose matches are replaced, beside the built-in patterns; a manifest's are added.",
    )
    .setting(Cap::Adds, |all| Target::Texts(&mut all.redaction.patterns)),
    key(
        "redaction.keep_fields",
        Kind::Texts(check::field_name),
        NONE,
        "Names of fields whose values are not replaced for their names.",
    )
    .setting_of_operator(|all| Target::Texts(&mut all.redaction.keep_fields)),
    key(
        "config",
        Kind::Free,
        "{}",
        "What the extension's init gets, as JSON; the operator's keys overlay the manifest's.",
    )
    .granted(),
    key("host.cache_dir", Kind::Path, "", "The folder of compiled components; in the user's cache folder if empty.")
        .host(|host| Target::Path(&mut host.cache_dir)),
    key(
        "host.data_dir",
        Kind::Path,
        "",
        "The folder that telemetry is kept in, so that it outlives the host; in memory only if empty.",
    )
    .host(|host| Target::Path(&mut host.data_dir)),
    key(
        "host.data_limit",
        Kind::Size { least: 1 << 20, most: 1 << 50 },
        "16GiB",
        "Bytes in the data directory, of all extensions together. When all are taken, whoever has most gives way to who has less than an equal part.",
    )
    .host(|host| Target::Size(&mut host.data_limit)),
    key("host.cleanup_interval", INTERVAL, "60s", "How often telemetry that is over its age is removed.")
        .host(|host| Target::Duration(&mut host.cleanup_interval)),
    key("host.metrics_interval", INTERVAL, "30s", "How often it is measured what the host's process uses.")
        .host(|host| Target::Duration(&mut host.metrics_interval)),
    key(
        "host.sync_interval",
        duration(100, 3600),
        "5s",
        "How often telemetry is made safe against the loss of power; against the end of the host it always is.",
    )
    .host(|host| Target::Duration(&mut host.sync_interval)),
    key(
        "host.compile_threads",
        Kind::Integer { least: 0, most: 256 },
        "0",
        "Components of usual size that are compiled at once; 0 stands for one per processor. Half as many that take long are compiled beside them, and two large ones.",
    )
    .host(|host| Target::Count(&mut host.compile_threads)),
    key(
        "host.compile_memory",
        Kind::Size { least: 64 << 20, most: 1 << 40 },
        "2GiB",
        "Memory that compiling one component may take; one that needs more is not loaded.",
    )
    .host(|host| Target::Size(&mut host.compile_memory)),
    key(
        "host.compile_time",
        duration(1_000, 86_400),
        "60s",
        "CPU time that compiling one component may take; one that needs more is not loaded.",
    )
    .host(|host| Target::Duration(&mut host.compile_time)),
    key(
        "host.http_certificate",
        Kind::Path,
        "",
        "The certificates that servers which extensions ask over HTTPS are trusted by, a file in PEM; the system's if empty.",
    )
    .host(|host| Target::Path(&mut host.http_certificate)),
    key("host.shutdown_limit", duration(0, 3600), "5s", "How long calls in flight may go on when the host stops.")
        .host(|host| Target::Duration(&mut host.shutdown_limit)),
    key(
        "host.listen",
        Kind::Text(check::listen),
        "127.0.0.1:7077",
        "The address and port that the API listens on, or off; one that others can reach needs host.tls_certificate.",
    )
    .host(|host| Target::Text(&mut host.listen)),
    key(
        "host.names",
        Kind::Texts(check::host_name),
        NONE,
        "Names by which clients may call the host, beside localhost and its addresses.",
    )
    .host(|host| Target::Texts(&mut host.names)),
    key("host.tls_certificate", Kind::Path, "", "The API's certificates, a file in PEM; without, it speaks plain HTTP.")
        .host(|host| Target::Path(&mut host.tls_certificate)),
    key("host.tls_key", Kind::Path, "", "The private key of host.tls_certificate, a file in PEM.")
        .host(|host| Target::Path(&mut host.tls_key)),
    key(
        "host.open_on_loopback",
        Kind::Switch,
        "false",
        "Whether every program on this machine may use the API without a token.",
    )
    .host(|host| Target::Switch(&mut host.open_on_loopback)),
    key("otlp.endpoint", URL, "", "The collector that telemetry is pushed to, such as http://127.0.0.1:4318; none if empty.")
        .host(|host| Target::Text(&mut host.otlp.endpoint)),
    key("otlp.logs_endpoint", URL, "", "The same for logs, errors and alerts alone; over HTTP with its path.")
        .host(|host| Target::Text(&mut host.otlp.logs_endpoint)),
    key("otlp.metrics_endpoint", URL, "", "The same for metrics alone.")
        .host(|host| Target::Text(&mut host.otlp.metrics_endpoint)),
    key("otlp.traces_endpoint", URL, "", "The same for spans and calls alone.")
        .host(|host| Target::Text(&mut host.otlp.traces_endpoint)),
    key("otlp.protocol", Kind::Text(otlp::protocol), "http/protobuf", "How it is pushed: http/protobuf, http/json or grpc.")
        .host(|host| Target::Text(&mut host.otlp.protocol)),
    key("otlp.compression", Kind::Text(otlp::compression), "gzip", "How requests are made smaller: gzip or none.")
        .host(|host| Target::Text(&mut host.otlp.compression)),
    key("otlp.headers", Kind::Secrets(otlp::header), NONE, "Headers of each request, as name=value; only their names are shown.")
        .host(|host| Target::Secrets(&mut host.otlp.headers)),
    key("otlp.certificate", Kind::Path, "", "The certificates that collectors are trusted by, a file in PEM; the system's if empty.")
        .host(|host| Target::Path(&mut host.otlp.certificate)),
    key("otlp.client_certificate", Kind::Path, "", "The host's own certificate, for collectors that ask who it is, a file in PEM.")
        .host(|host| Target::Path(&mut host.otlp.client_certificate)),
    key("otlp.client_key", Kind::Path, "", "The private key of otlp.client_certificate, a file in PEM.")
        .host(|host| Target::Path(&mut host.otlp.client_key)),
    key("otlp.signals", Kind::Texts(otlp::signal), "[logs, errors, alerts, metrics, traces]", "What is pushed.")
        .host(|host| Target::Texts(&mut host.otlp.signals)),
    key("otlp.interval", duration(100, 3600), "5s", "How often it is looked for what is new to be pushed.")
        .host(|host| Target::Duration(&mut host.otlp.interval)),
    key("otlp.timeout", duration(100, 600), "10s", "How long a request may take, its answer included.")
        .host(|host| Target::Duration(&mut host.otlp.timeout)),
    key("otlp.batch_records", Kind::Integer { least: 1, most: 8192 }, "512", "Records of a request, at most.")
        .host(|host| Target::Count(&mut host.otlp.batch_records)),
    key("otlp.batch_bytes", BATCH, "1MiB", "Bytes of a request before it is compressed; a record that is larger goes alone.")
        .host(|host| Target::Size(&mut host.otlp.batch_bytes)),
    files::FOLDER,
    files::TIERS,
    files::FORMAT,
    files::ROTATE_SIZE,
    files::ROTATE_AGE,
    files::COMPRESS,
    files::KEEP_COUNT,
    files::KEEP_AGE,
    files::KEEP_BYTES,
];
