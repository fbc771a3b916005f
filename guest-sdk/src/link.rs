//! Links of spans to other spans.

use glasshouse_wire::{self as wire, Field};

use crate::context::Headers;

/// Another span that a span has to do with and does not lie in, of its trace or of another: each of the requests that are served
/// together, or what made the work necessary. It is given when a span starts ([`span!`](crate::span!)) or added to one that is open
/// ([`Span::add_link`](crate::Span::add_link)); a span has 128 at most.
///
/// ```
/// use glasshouse_sdk::{Field, Link, Value, span};
///
/// // What came along with each of some messages.
/// let messages = ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"];
/// let links = messages.iter().filter_map(|traceparent| Link::from_traceparent(traceparent));
/// let span = span!(links: links, "write a batch", messages = messages.len());
///
/// let fields = [Field { name: "reason", value: Value::Text("retried") }];
/// if let Some(link) = Link::new("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7") {
///     span.add_link(link.fields(&fields));
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link<'a> {
    pub(crate) to: wire::Link<'a>,
    pub(crate) fields: &'a [Field<'a>],
}

impl<'a> Link<'a> {
    /// To a span by its trace's id and its own: 32 and 16 lower-case hexadecimal digits, neither all zero; `None` if they are not.
    pub fn new(trace_id: &str, span_id: &str) -> Option<Self> {
        let (trace_id, span_id) = (bytes(trace_id)?, bytes(span_id)?);
        let is_one = trace_id != [0; 16] && span_id != [0; 8];
        is_one.then_some(Self { to: wire::Link { trace_id, span_id, state: "" }, fields: &[] })
    }

    /// To the span that a header `traceparent` names (<https://www.w3.org/TR/trace-context/>), such as a message or an event had with it; `None` if it
    /// is none.
    pub fn from_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let [version, trace_id, span_id, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
        // Later versions may say more after what the first one has.
        let is_whole = parts.next().is_none() || version != "00";
        let is_known = bytes::<1>(version).is_some_and(|version| version != [0xff]) && bytes::<1>(flags).is_some();
        Self::new(trace_id, span_id).filter(|_| is_whole && is_known)
    }

    /// With what came beside the ids as the header `tracestate`. One that is none, or is longer than 512 bytes, is left out by the host.
    #[must_use]
    pub fn tracestate(mut self, state: &'a str) -> Self {
        self.to.state = state;
        self
    }

    /// With fields of its own.
    #[must_use]
    pub fn fields(mut self, fields: &'a [Field<'a>]) -> Self {
        self.fields = fields;
        self
    }
}

impl Headers {
    /// A link to the span that these headers are of: with [`headers`](crate::context::headers), the one that is the innermost now.
    ///
    /// ```
    /// use glasshouse_sdk::{context, in_span};
    ///
    /// let first = in_span("first", |_| context::headers());
    /// in_span("second", |span| first.link().map(|link| span.add_link(link)));
    /// ```
    pub fn link(&self) -> Option<Link<'_>> {
        Link::from_traceparent(&self.traceparent).map(|link| link.tracestate(&self.tracestate))
    }
}

/// So many bytes in lower-case hexadecimal digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
    }
    Some(bytes)
}
