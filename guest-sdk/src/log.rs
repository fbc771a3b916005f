//! Logs: the macros, and the one crossing that a record costs.

use std::cell::Cell;
use std::fmt;

use glasshouse_wire::{self as wire, Field, Level};

use crate::backend;
use crate::batch::{self, Batch};

/// A buffer that one large record made this big is given back rather than kept.
const BUFFER_KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Sends or gathers one log whose message is literal and thus in the prefix of its place in the source. Nothing of the author's
/// runs while it is written, so it is gathered where it is written. (It takes no more arguments than go in registers: for
/// others a guest waits for its stack.)
#[doc(hidden)]
pub fn write_literal(prefix: &[u8], fields: &[Field<'_>]) {
    if let Some(batch) = batch::of_logs() {
        if is_gathered(prefix) {
            let time = batch.time();
            if batch.gather(|room| wire::write_log_record(room, prefix, time, fields)) {
                return;
            }
        }
        batch.flush();
    }
    encode(|buffer| wire::write_log_at(buffer, prefix, fields), backend::emit);
}

/// Sends or gathers one log whose message is not in the prefix. To format it runs code of the author's, which may log or trap, so
/// such a log is gathered once it is whole.
#[doc(hidden)]
pub fn write_formatted(prefix: &[u8], message: fmt::Arguments<'_>, fields: &[Field<'_>]) {
    let batch = batch::of_logs();
    let gathered = is_gathered(prefix);
    let time = batch.filter(|_| gathered).and_then(Batch::time);
    encode(
        |buffer| wire::write_formatted_log_at(buffer, prefix, time, message, fields),
        |encoded| send_encoded(batch, gathered, encoded),
    );
}

/// Sends or gathers one log of a level, which `write_body` writes with the time that it is given.
pub(crate) fn send_log(level: Level, write_body: impl FnOnce(&mut Vec<u8>, Option<i64>)) {
    let batch = batch::of_logs();
    let gathered = Batch::takes(level);
    let time = batch.filter(|_| gathered).and_then(Batch::time);
    encode(
        |buffer| {
            wire::begin_batch(buffer);
            wire::record(buffer, wire::KIND_LOG, |body| write_body(body, time));
            buffer
        },
        |encoded| send_encoded(batch, gathered, encoded),
    );
}

/// Encodes one record that is no log, and sends it.
#[inline]
pub(crate) fn send(kind: u8, write_body: impl FnOnce(&mut Vec<u8>)) {
    encode(
        |buffer| {
            wire::begin_batch(buffer);
            wire::record(buffer, kind, write_body);
            buffer
        },
        backend::emit,
    );
}

fn is_gathered(prefix: &[u8]) -> bool {
    wire::prefix_level(prefix).is_some_and(Batch::takes)
}

/// Gathers a log that was encoded as one to cross alone, or sends it after what was gathered before it.
fn send_encoded(batch: Option<&Batch>, gathered: bool, encoded: &[u8]) {
    if let Some(batch) = batch {
        let record = encoded.get(1..).unwrap_or_default();
        let copy = |room: &mut [u8]| {
            room.get_mut(..record.len())?.copy_from_slice(record);
            Some(record.len())
        };
        if gathered && batch.gather(copy) {
            return;
        }
        batch.flush();
    }
    backend::emit(encoded);
}

/// Encodes into the reused buffer. The buffer is taken out meanwhile: a `Display` of a message that logs by itself gets one
/// of its own.
#[inline]
pub(crate) fn encode<T>(write: impl FnOnce(&mut Vec<u8>) -> &[u8], act: impl FnOnce(&[u8]) -> T) -> T {
    let mut buffer = BUFFER.take();
    let given = act(write(&mut buffer));
    if buffer.capacity() <= BUFFER_KEPT_BYTES {
        BUFFER.set(buffer);
    }
    given
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fields {
    (@collect $then:tt [$($fields:tt)*]) => { $crate::__fields!(@then $then [$($fields)*]) };
    (@collect $then:tt [$($fields:tt)*] $key:ident = ? $value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect $then [$($fields)* (stringify!($key), $crate::Value::Text(&::std::format!("{:?}", $value))),] $($($rest)*)?)
    };
    (@collect $then:tt [$($fields:tt)*] $key:ident = % $value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect $then [$($fields)* (stringify!($key), $crate::Value::Text(&::std::format!("{}", $value))),] $($($rest)*)?)
    };
    (@collect $then:tt [$($fields:tt)*] $key:ident = $value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect $then [$($fields)* (stringify!($key), $crate::ToValue::to_value(&$value)),] $($($rest)*)?)
    };
    (@collect $then:tt [$($fields:tt)*] $key:literal = ? $value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect $then [$($fields)* ($key, $crate::Value::Text(&::std::format!("{:?}", $value))),] $($($rest)*)?)
    };
    (@collect $then:tt [$($fields:tt)*] $key:literal = % $value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect $then [$($fields)* ($key, $crate::Value::Text(&::std::format!("{}", $value))),] $($($rest)*)?)
    };
    (@collect $then:tt [$($fields:tt)*] $key:literal = $value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect $then [$($fields)* ($key, $crate::ToValue::to_value(&$value)),] $($($rest)*)?)
    };
    (@collect $then:tt [$($fields:tt)*] ? $key:ident $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect $then [$($fields)* (stringify!($key), $crate::Value::Text(&::std::format!("{:?}", $key))),] $($($rest)*)?)
    };
    (@collect $then:tt [$($fields:tt)*] % $key:ident $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect $then [$($fields)* (stringify!($key), $crate::Value::Text(&::std::format!("{}", $key))),] $($($rest)*)?)
    };
    // Where there is no message, a name alone is a field.
    (@collect (code $($then:tt)*) [$($fields:tt)*] $key:ident $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect (code $($then)*) [$($fields)* (stringify!($key), $crate::ToValue::to_value(&$key)),] $($($rest)*)?)
    };
    (@collect (code $($then:tt)*) $fields:tt $($other:tt)*) => {
        ::std::compile_error!("what is recorded is written as name, ?debug, %display, key = value, key = ?debug or key = %display")
    };
    // What is no field is an argument of the message; only logs have one.
    (@collect (log $level:ident $target:tt [$($message:tt)*]) [$($fields:tt)*] $argument:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect (log $level $target [$($message)*, $argument]) [$($fields)*] $($($rest)*)?)
    };
    (@collect (span $($then:tt)*) $fields:tt $($other:tt)*) => {
        ::std::compile_error!("a span's name is followed by fields only: span!(\"name\", key = value, key = ?debug, key = %display)")
    };

    (@then (log $level:ident ($target:expr) [$message:literal $($arguments:tt)*]) [$(($key:expr, $value:expr),)*]) => {
        if $crate::enabled($crate::Level::$level) {
            const SITE: $crate::__private::LogSite = $crate::__private::LogSite {
                level: $crate::Level::$level,
                target: $target,
                file: ::std::file!(),
                line: ::std::line!(),
                message: $message,
            };
            static PREFIX: [u8; SITE.prefix_bytes()] = SITE.prefix();
            match &[$($crate::Field { name: $key, value: $value }),*] {
                fields if const { SITE.is_literal() } => $crate::__private::write_literal(&PREFIX, fields),
                fields => $crate::__private::write_formatted(&PREFIX, ::std::format_args!($message $($arguments)*), fields),
            }
        }
    };
    (@then (span root $name:expr, $kind:expr, $links:expr) [$(($key:expr, $value:expr),)*]) => {
        $crate::Span::start_root($name, $kind, &[$($crate::Field { name: $key, value: $value }),*], $links)
    };
    (@then (span $name:expr, $kind:expr) [$(($key:expr, $value:expr),)*]) => {
        if $crate::is_stored($crate::Kind::Spans) {
            $crate::Span::start($name, $kind, &[$($crate::Field { name: $key, value: $value }),*])
        } else {
            $crate::__private::no_span()
        }
    };
    (@then (span $name:expr, $kind:expr, $links:expr) [$(($key:expr, $value:expr),)*]) => {
        if $crate::is_stored($crate::Kind::Spans) {
            $crate::Span::start_linked($name, $kind, &[$($crate::Field { name: $key, value: $value }),*], $links)
        } else {
            $crate::__private::no_span()
        }
    };
    (@then (code start ($level:expr) $kind:expr, $name:expr) [$(($key:expr, $value:expr),)*]) => {
        if $crate::__private::is_traced($level) {
            $crate::__private::CodeSpan::start($name, $kind, &[
                $($crate::Field { name: $key, value: $value },)*
                $crate::Field { name: "call.depth", value: $crate::__private::depth() },
                $crate::Field { name: "code.file.path", value: $crate::Value::Text(::std::file!()) },
                $crate::Field { name: "code.line.number", value: $crate::Value::Integer(::std::line!() as i64) },
            ])
        } else {
            $crate::__private::CodeSpan::off()
        }
    };
    (@then (code watch ($level:expr) $name:expr, $block:block) [$(($key:expr, $value:expr),)*]) => {{
        let span = $crate::__fields!(
            @then (code start ($level) $crate::SpanKind::Internal, $name) [$((::std::concat!("before.", $key), $value),)*]
        );
        let given = $block;
        if span.is_on() {
            $(span.set(::std::concat!("after.", $key), $value);)*
        }
        given
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident target: $target:expr, $message:literal $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect (log $level ($target) [$message]) [] $($($rest)*)?)
    };
    ($level:ident $message:literal $(, $($rest:tt)*)?) => {
        $crate::__fields!(@collect (log $level (::std::module_path!()) [$message]) [] $($($rest)*)?)
    };
    ($level:ident $($other:tt)*) => {
        ::std::compile_error!("a log starts with its message, a string literal: info!(\"text {}\", argument, key = value)")
    };
}

/// Logs fine detail of a computation; the syntax is that of [`info!`](crate::info).
#[macro_export]
macro_rules! trace {
    ($($log:tt)*) => { $crate::__log!(Trace $($log)*) };
}

/// Logs what a developer wants to know; the syntax is that of [`info!`](crate::info).
#[macro_export]
macro_rules! debug {
    ($($log:tt)*) => { $crate::__log!(Debug $($log)*) };
}

/// Logs what normally happens.
///
/// First the message, a format string, then in any order its arguments, as for [`format!`], and fields, `key = value`.
/// Names in the message (`{name}`) are captured from the scope; a `name = …` after it is always a field.
///
/// A value is text, a number or a boolean (see [`ToValue`](crate::ToValue)), or anything else after `?` for its `Debug` or `%` for its
/// `Display` form; `?name` and `%name` are short for `name = ?name` and `name = %name`. A key that is no identifier is
/// quoted. `target: "…",` before the message names another logger than the module.
///
/// Nothing is evaluated unless the host stores logs of this level; literal messages and plain values are sent without
/// allocation.
///
/// ```
/// use glasshouse_sdk::info;
///
/// let (path, size, peer) = ("/index.html", 1234_u64, std::net::Ipv4Addr::LOCALHOST);
/// info!("page served");
/// info!("served {path}, {} bytes", size, path = path, "http.response.size" = size);
/// info!(target: "access", "served", %peer, headers = ?["host", "accept"]);
/// ```
#[macro_export]
macro_rules! info {
    ($($log:tt)*) => { $crate::__log!(Info $($log)*) };
}

/// Logs something unexpected that was coped with; the syntax is that of [`info!`](crate::info).
#[macro_export]
macro_rules! warning {
    ($($log:tt)*) => { $crate::__log!(Warning $($log)*) };
}

/// Logs that something failed; the syntax is that of [`info!`](crate::info).
#[macro_export]
macro_rules! error {
    ($($log:tt)*) => { $crate::__log!(Error $($log)*) };
}

/// Logs that the extension cannot go on as intended; the syntax is that of [`info!`](crate::info).
#[macro_export]
macro_rules! critical {
    ($($log:tt)*) => { $crate::__log!(Critical $($log)*) };
}
