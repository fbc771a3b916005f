//! Spans of functions and blocks: what [`instrument`](crate::instrument) and [`watch!`](crate::watch!) expand to.

use std::cell::Cell;

use glasshouse_wire::{Field, Level, Value};

use crate::error::kind_of;
use crate::{Kind, Span, SpanKind, gate};

thread_local! {
    /// How many spans of functions and blocks lie in each other here. A call that traps takes it along with its instance.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether spans are stored now, and, for one with a level, logs of that level.
#[inline]
pub fn is_traced(level: Option<Level>) -> bool {
    gate::are_stored(Kind::Spans, level)
}

/// The depth of a span that starts now: 1 for one that lies in no other of its kind.
pub fn depth() -> Value<'static> {
    Value::Integer(i64::from(DEPTH.get()) + 1)
}

/// The span of a function or a block, or nothing where it is off.
#[derive(Debug)]
pub struct CodeSpan(Option<Span>);

impl CodeSpan {
    /// Starts one.
    pub fn start(name: &str, kind: SpanKind, fields: &[Field<'_>]) -> Self {
        let span = Span::start(name, kind, fields);
        DEPTH.set(DEPTH.get().saturating_add(1));
        Self(Some(span))
    }

    /// Where it is off.
    #[inline]
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether there is one.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Sets a field.
    pub fn set(&self, name: &str, value: Value<'_>) {
        if let Some(span) = &self.0 {
            span.set(&Field { name, value });
        }
    }

    /// Marks the span as failed by an error.
    pub fn fail<E: ?Sized>(&self, _error: &E, message: &str) {
        if let Some(span) = &self.0 {
            span.set(&Field { name: "error.type", value: Value::Text(kind_of::<E>()) });
            span.fail(message);
        }
    }
}

impl Drop for CodeSpan {
    #[inline]
    fn drop(&mut self) {
        if self.0.is_some() {
            DEPTH.set(DEPTH.get().saturating_sub(1));
        }
    }
}

/// Calls a function's own code. That it takes a `FnOnce` lets that code give away what it borrowed from its arguments.
#[inline]
pub fn call<T>(code: impl FnOnce() -> T) -> T {
    code()
}

/// Runs a block in a span, with the state of chosen variables before and after it.
///
/// First the span's name, then in brackets what is recorded, then the block, whose value is that of the macro. `total`
/// is recorded as the fields `before.total` and `after.total`; a value is written as in [`info!`](crate::info):
/// `?items`, `%address`, or of any expression `key = self.total`, which is evaluated twice. `level: Trace,` may come first: then there
/// is a span only where logs of that level are stored, too.
///
/// The span has the block's time and cost, and the fields of [`instrument`](crate::instrument): `call.depth`, `code.file.path`
/// and `code.line.number`. A block that is left early, by `?` or `return`, has no state after it; so has one that traps, whose
/// span the host ends as unfinished.
///
/// Where spans are off nothing is evaluated but the block.
///
/// ```
/// use glasshouse_sdk::watch;
///
/// let (mut total, mut items) = (10, vec!["tea"]);
/// let count = watch!("add an item", [total, ?items], {
///     items.push("milk");
///     total += 2;
///     items.len()
/// });
/// assert_eq!((count, total), (2, 12));
/// ```
#[macro_export]
macro_rules! watch {
    (level: $level:ident, $name:expr, [$($fields:tt)*], $block:block) => {
        $crate::__fields!(@collect (code watch (::std::option::Option::Some($crate::Level::$level)) $name, $block) [] $($fields)*)
    };
    ($name:expr, [$($fields:tt)*], $block:block) => {
        $crate::__fields!(@collect (code watch (::std::option::Option::None) $name, $block) [] $($fields)*)
    };
    ($($other:tt)*) => {
        ::std::compile_error!("a watched block has a name, what is recorded, and its code: watch!(\"name\", [total, ?items], { … })")
    };
}
