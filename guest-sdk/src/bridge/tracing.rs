//! A subscriber for the `tracing` crate: its events become logs, its spans become spans.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Write};
use std::num::NonZeroU64;
use std::ops::Range;

use glasshouse_wire::{self as wire, Field, Level, Source, Value};
use tracing_core::field::Visit;
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Interest, Metadata, Subscriber};

use super::CODE_MODULE;
use crate::{Span, SpanKind, ToValue};

/// An event or span of `tracing` has at most this many fields, by its own limit.
const MAX_FIELDS: usize = 32;
/// Fields that tell where it stands in the code: file, line, target, level and module.
const CODE_FIELDS: usize = 5;

/// Sends what is traced through `tracing` to the host. A span lasts from its making to its last handle's drop.
pub(super) struct Bridge;

/// A span and how many handles it has.
struct Open {
    span: Span,
    handles: usize,
}

thread_local! {
    /// The slot of a span is its id less one; a slot is used again once its span ended.
    static SPANS: RefCell<Vec<Option<Open>>> = const { RefCell::new(Vec::new()) };
    static COLLECTED: Cell<Collected> = const { Cell::new(Collected::new()) };
}

fn level(level: tracing_core::Level) -> Level {
    match level {
        tracing_core::Level::TRACE => Level::Trace,
        tracing_core::Level::DEBUG => Level::Debug,
        tracing_core::Level::INFO => Level::Info,
        tracing_core::Level::WARN => Level::Warning,
        tracing_core::Level::ERROR => Level::Error,
    }
}

fn with_open<T>(id: &Id, act: impl FnOnce(&mut Option<Open>) -> T) -> Option<T> {
    let slot = usize::try_from(id.into_u64() - 1).ok()?;
    SPANS.with_borrow_mut(|spans| spans.get_mut(slot).map(act))
}

impl Subscriber for Bridge {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // What is stored may change between invocations.
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        crate::enabled(level(*metadata.level())) && (metadata.is_event() || crate::is_stored(crate::Kind::Spans))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let metadata = attributes.metadata();
        let visit = |visitor: &mut Collected| {
            attributes.record(visitor);
            visitor.code_of_span(metadata);
        };
        let span = collect(visit, |_, fields| Span::start(metadata.name(), SpanKind::Internal, fields));
        SPANS.with_borrow_mut(|spans| {
            let open = Some(Open { span, handles: 1 });
            let slot = if let Some(free) = spans.iter().position(Option::is_none) {
                spans[free] = open;
                free
            } else {
                spans.push(open);
                spans.len() - 1
            };
            Id::from_non_zero_u64(NonZeroU64::MIN.saturating_add(slot as u64))
        })
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        collect(
            |visitor| values.record(visitor),
            |_, fields| {
                with_open(id, |open| {
                    for field in fields {
                        if let Some(open) = open {
                            open.span.set(field);
                        }
                    }
                });
            },
        );
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let source = metadata.file().zip(metadata.line()).map(|(file, line)| Source { file, line });
        let level = level(*metadata.level());
        let target = metadata.target();
        let visit = |visitor: &mut Collected| {
            event.record(visitor);
            visitor.module_of(metadata);
        };
        collect(visit, |message, fields| {
            crate::log::send_log(level, |body, time| {
                let log = wire::Log { level, target, message: "", source, time };
                wire::write_log(body, &log, format_args!("{message}"), fields);
            });
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn clone_span(&self, id: &Id) -> Id {
        with_open(id, |open| {
            if let Some(open) = open {
                open.handles += 1;
            }
        });
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let ended = with_open(&id, |slot| match slot {
            Some(open) if open.handles > 1 => {
                open.handles -= 1;
                None
            }
            slot => slot.take(),
        });
        matches!(ended, Some(Some(_)))
    }
}

/// Lets `visit` collect a message and fields, and gives them to `act`.
fn collect<T>(visit: impl FnOnce(&mut Collected), act: impl FnOnce(&str, &[Field<'_>]) -> T) -> T {
    let mut collected = COLLECTED.take();
    collected.clear();
    visit(&mut collected);
    let result = collected.with_fields(act);
    COLLECTED.set(collected);
    result
}

/// The message and fields of one event or span, with all text in one reused string: what is visited is borrowed for
/// the length of a visit only.
#[derive(Default)]
struct Collected {
    message: String,
    text: String,
    fields: Vec<(&'static str, Kept)>,
}

enum Kept {
    Text(Range<usize>),
    Other(Value<'static>),
}

impl Collected {
    const fn new() -> Self {
        Self { message: String::new(), text: String::new(), fields: Vec::new() }
    }

    fn clear(&mut self) {
        self.message.clear();
        self.text.clear();
        self.fields.clear();
    }

    fn with_fields<T>(&self, act: impl FnOnce(&str, &[Field<'_>]) -> T) -> T {
        let mut fields = [Field { name: "", value: Value::Boolean(false) }; MAX_FIELDS + CODE_FIELDS];
        let count = self.fields.len().min(fields.len());
        for (field, (name, kept)) in fields.iter_mut().zip(&self.fields) {
            *field = Field {
                name,
                value: match kept {
                    Kept::Text(range) => Value::Text(&self.text[range.clone()]),
                    Kept::Other(value) => *value,
                },
            };
        }
        act(&self.message, &fields[..count])
    }

    /// Where a span stands in the code, and its level: a span's record has no part for them, as a log's has.
    fn code_of_span(&mut self, metadata: &'static Metadata<'static>) {
        self.add("code.file.path", metadata.file().map(Value::Text), metadata);
        self.add("code.line.number", metadata.line().map(|line| Value::Integer(line.into())), metadata);
        self.add("target", Some(Value::Text(metadata.target())), metadata);
        self.add("level", Some(Value::Text(level(*metadata.level()).as_str())), metadata);
        self.module_of(metadata);
    }

    /// The module, where the target is not the module.
    fn module_of(&mut self, metadata: &'static Metadata<'static>) {
        let module = metadata.module_path().filter(|module| *module != metadata.target());
        self.add(CODE_MODULE, module.map(Value::Text), metadata);
    }

    /// Adds a field that has a value, unless the author has one of that name.
    fn add(&mut self, name: &'static str, value: Option<Value<'static>>, metadata: &'static Metadata<'static>) {
        let value = value.filter(|_| metadata.fields().field(name).is_none());
        self.fields.extend(value.map(|value| (name, Kept::Other(value))));
    }

    fn other(&mut self, field: &tracing_core::Field, value: Value<'static>) {
        self.fields.push((field.name(), Kept::Other(value)));
    }

    fn formatted(&mut self, field: &tracing_core::Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            // A `Display` that fails has written what it could; that much is kept, here and below.
            let _ = self.message.write_fmt(value);
        } else {
            let start = self.text.len();
            let _ = self.text.write_fmt(value);
            self.fields.push((field.name(), Kept::Text(start..self.text.len())));
        }
    }
}

impl Visit for Collected {
    fn record_f64(&mut self, field: &tracing_core::Field, value: f64) {
        self.other(field, Value::Float(value));
    }

    fn record_i64(&mut self, field: &tracing_core::Field, value: i64) {
        self.other(field, Value::Integer(value));
    }

    fn record_u64(&mut self, field: &tracing_core::Field, value: u64) {
        match value.to_value() {
            Value::Integer(number) => self.other(field, Value::Integer(number)),
            _ => self.other(field, Value::Float(value as f64)),
        }
    }

    fn record_bool(&mut self, field: &tracing_core::Field, value: bool) {
        self.other(field, Value::Boolean(value));
    }

    fn record_str(&mut self, field: &tracing_core::Field, value: &str) {
        self.formatted(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &tracing_core::Field, value: &(dyn std::error::Error + 'static)) {
        self.formatted(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &tracing_core::Field, value: &dyn fmt::Debug) {
        self.formatted(field, format_args!("{value:?}"));
    }
}
