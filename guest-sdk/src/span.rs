//! Spans: timed pieces of work.

use glasshouse_wire::{Field, SpanKind};

use crate::{Kind, Link, ToValue, backend, batch, gate, is_stored};

/// A timed piece of work, below the innermost one that is open; it ends when it is dropped. [`span!`](crate::span!) starts one.
#[derive(Debug)]
#[must_use = "a span ends when it is dropped: bind it to a name, and not to `_`"]
pub struct Span {
    open: Option<backend::Span>,
    /// Whether it is of a trace that the extension has begun.
    is_in_own_trace: bool,
}

/// Where no spans are stored: nothing begins, and nothing ends.
#[doc(hidden)]
pub fn no_span() -> Span {
    Span { open: None, is_in_own_trace: false }
}

impl Span {
    /// Starts a span.
    pub fn start(name: &str, kind: SpanKind, fields: &[Field<'_>]) -> Self {
        if !is_stored(Kind::Spans) {
            return no_span();
        }
        batch::flush();
        Self::begun(backend::Span::start(name, kind, fields), false)
    }

    /// Starts a span with links to others.
    pub fn start_linked<'l>(
        name: &str,
        kind: SpanKind,
        fields: &[Field<'_>],
        links: impl IntoIterator<Item = Link<'l>>,
    ) -> Self {
        if !is_stored(Kind::Spans) {
            return no_span();
        }
        let links: Vec<_> = links.into_iter().map(|link| (link.to, link.fields)).collect();
        if links.is_empty() {
            return Self::start(name, kind, fields);
        }
        batch::flush();
        Self::begun(backend::Span::start_linked(name, kind, false, fields, &links), false)
    }

    /// Starts a span that begins a trace of its own; see [`root_span!`](crate::root_span!).
    pub fn start_root<'l>(
        name: &str,
        kind: SpanKind,
        fields: &[Field<'_>],
        links: impl IntoIterator<Item = Link<'l>>,
    ) -> Self {
        let links: Vec<_> = links.into_iter().map(|link| (link.to, link.fields)).collect();
        batch::flush();
        Self::begun(backend::Span::start_linked(name, kind, true, fields, &links), true)
    }

    #[inline]
    fn begun(open: Option<backend::Span>, begins_trace: bool) -> Self {
        let is_in_own_trace = open.is_some() && (begins_trace || gate::is_in_own_trace());
        if is_in_own_trace {
            gate::enter_own_trace(begins_trace);
        }
        Self { open, is_in_own_trace }
    }

    /// Adds a field; the last value of a name counts.
    pub fn set_field(&self, name: &str, value: impl ToValue) {
        self.set(&Field { name, value: value.to_value() });
    }

    pub(crate) fn set(&self, field: &Field<'_>) {
        if let Some(span) = &self.open {
            span.set_field(field);
        }
    }

    /// Adds a timed event.
    pub fn add_event(&self, name: &str, fields: &[Field<'_>]) {
        if let Some(span) = &self.open {
            span.add_event(name, fields);
        }
    }

    /// Adds a link to another span.
    pub fn add_link(&self, link: Link<'_>) {
        if let Some(span) = &self.open {
            span.add_link(&link.to, link.fields);
        }
    }

    /// Marks the span as failed, with the reason.
    pub fn fail(&self, reason: &str) {
        if let Some(span) = &self.open {
            span.fail(reason);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            batch::flush();
            drop(open);
            if self.is_in_own_trace {
                gate::leave_own_trace();
            }
        }
    }
}

/// Runs `work` in a span and gives what it gave.
///
/// ```
/// let sum = glasshouse_sdk::in_span("sum", |span| {
///     span.set_field("terms", 3);
///     1 + 2 + 3
/// });
/// assert_eq!(sum, 6);
/// ```
pub fn in_span<T>(name: &str, work: impl FnOnce(&Span) -> T) -> T {
    let span = Span::start(name, SpanKind::Internal, &[]);
    work(&span)
}

/// Starts a [`Span`] with a name and fields, written as in [`info!`](crate::info); `kind: SpanKind::…,` may come first, and then `links: …,` with
/// anything that gives [`Link`]s: an array, a list, one that there may be.
///
/// ```
/// use glasshouse_sdk::{SpanKind, span};
///
/// let words = 3;
/// let _span = span!("index", words = words);
/// let _call = span!(kind: SpanKind::Client, "fetch", url = %"https://example.com");
/// let link = glasshouse_sdk::context::headers();
/// let _late = span!(links: link.link(), "index again", words = words);
/// ```
#[macro_export]
macro_rules! span {
    (kind: $kind:expr, links: $links:expr, $name:expr $(, $($fields:tt)*)?) => {
        $crate::__fields!(@collect (span $name, $kind, $links) [] $($($fields)*)?)
    };
    (links: $links:expr, $name:expr $(, $($fields:tt)*)?) => {
        $crate::__fields!(@collect (span $name, $crate::SpanKind::Internal, $links) [] $($($fields)*)?)
    };
    (kind: $kind:expr, $name:expr $(, $($fields:tt)*)?) => {
        $crate::__fields!(@collect (span $name, $kind) [] $($($fields)*)?)
    };
    ($name:expr $(, $($fields:tt)*)?) => {
        $crate::__fields!(@collect (span $name, $crate::SpanKind::Internal) [] $($($fields)*)?)
    };
}

/// Starts a [`Span`] that begins a trace of its own, for work that is none of what the extension was called for, such as a round of something that it does
/// by itself. It is written as [`span!`](crate::span!).
///
/// Until it ends, what is recorded, started and asked of others belongs to that trace, and [`context`](crate::context) tells of it. Whether it is kept
/// is decided as for a call that begins a trace. The host links it to the span that it would have lain in; correlation id, user and tenant stay as they
/// are, so that `glasshouse trace` finds both traces by the id of the call's. It starts whether spans are stored or not, since more belongs to a trace.
///
/// ```
/// use glasshouse_sdk::{info, root_span};
///
/// for entry in ["tea", "milk"] {
///     let _trace = root_span!("refresh an entry", entry = entry);
///     info!("refreshed");
/// }
/// ```
#[macro_export]
macro_rules! root_span {
    (kind: $kind:expr, links: $links:expr, $name:expr $(, $($fields:tt)*)?) => {
        $crate::__fields!(@collect (span root $name, $kind, $links) [] $($($fields)*)?)
    };
    (links: $links:expr, $name:expr $(, $($fields:tt)*)?) => {
        $crate::__fields!(@collect (span root $name, $crate::SpanKind::Internal, $links) [] $($($fields)*)?)
    };
    (kind: $kind:expr, $name:expr $(, $($fields:tt)*)?) => {
        $crate::__fields!(@collect (span root $name, $kind, []) [] $($($fields)*)?)
    };
    ($name:expr $(, $($fields:tt)*)?) => {
        $crate::__fields!(@collect (span root $name, $crate::SpanKind::Internal, []) [] $($($fields)*)?)
    };
}
