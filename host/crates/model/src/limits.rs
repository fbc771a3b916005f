//! Bounds on what one record may hold. What is longer is cut and the record marked so; it is never refused for size.

/// Bytes of a log's or an error's message. Log pipelines commonly split lines at 16 KiB.
pub const MESSAGE_BYTES: usize = 16 * 1024;
/// Bytes of a field's text value, and of a stack.
pub const TEXT_BYTES: usize = 8 * 1024;
/// Bytes of a name: field, metric, span, logger, unit, kind. Prometheus and OpenTelemetry users stay far below.
pub const NAME_BYTES: usize = 256;
/// Fields of a record, or labels of a sample; OpenTelemetry's default for attributes is 128, records there are larger.
pub const FIELDS: usize = 64;
/// Links of a span: OpenTelemetry's default.
pub const LINKS: usize = 128;
/// Bytes of a link's `tracestate`: what W3C Trace Context asks everyone to pass on.
pub const LINK_STATE_BYTES: usize = 512;
/// Bytes of one encoded record, whatever its parts add up to: the smallest segment holds two.
pub const RECORD_BYTES: usize = 32 * 1024;
/// Bytes of a record that surely needs no cutting, so that the common case is checked by its length alone.
pub const UNCUT_BYTES: usize = NAME_BYTES;
/// Characters of a correlation id, and of a user or tenant name.
pub const CONTEXT_BYTES: usize = 128;
/// Sets of labels that are told apart in all metrics of an extension together: each takes some 20 bytes of the host's memory.
pub const SERIES: usize = 20_000;
/// Nested context scopes and open spans of an invocation: deeper ones are counted, not entered.
pub const NESTING: usize = 128;
/// Bytes of the host's stack that a call of a guest may take, which no setting changes: the engine's default, which real programs stay far below.
pub const CALL_STACK_BYTES: usize = 512 * 1024;
/// Frames kept of a guest's stack: the innermost ones; wasmtime collects no more by default either.
pub const FRAMES: usize = 64;
/// Bytes of an event's payload or a reply that pass from one side to the other.
pub const PAYLOAD_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of an extension's version that is compared with others, and kept with groups of errors: longer ones are nobody's.
pub const VERSION_BYTES: usize = 64;
/// Depth of extensions that call extensions.
pub const CALL_DEPTH: usize = 8;
