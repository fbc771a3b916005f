//! OpenTelemetry's protocol: what `ExportLogsServiceRequest` and its like take, in protobuf or as JSON.
//!
//! A file of protobuf is one message: messages of its kind that are written one after the other are one with all their resources. Of JSON each
//! line is a message, as OpenTelemetry's file exporter writes them. A batch has the records of one extension, which is its resource.

mod json;
mod logs;
mod messages;
mod metrics;
pub(crate) mod request;
#[cfg(test)]
mod tests;
mod traces;

use glasshouse_model::{Origin, UnixNanos};

use crate::export::{Broken, Export};
use crate::records::{ContextRecord, FieldList, FieldValue, Head};
use crate::walk::Walk;
use crate::{Format, Source, What};
use messages::{AnyValue, Document, KeyValue, Resource, Scope, Value};

/// Records of a batch, at most: more than the collector's own default (512) would only be more memory.
const BATCH_RECORDS: usize = 512;
/// Bytes of a batch's records as they are stored, about: what collectors take at once is 4 MiB where nobody says otherwise, and a record grows.
const BATCH_BYTES: usize = 1 << 20;
/// The scope of what the host recorded of an extension.
const HOST_SCOPE: &str = "glasshouse";

/// Writes what is asked for.
pub(crate) fn write(export: &Export<'_>, walk: &mut Walk<'_>) -> Result<(), Broken> {
    for source in export.sources {
        let mut out = Out { format: export.format, resource: resource(source) };
        match export.what {
            What::Logs | What::Errors | What::Alerts => logs::write(walk, source, export.what, &mut out)?,
            What::Metrics => metrics::write(walk, source, &mut out)?,
            What::Traces | What::Invocations => {
                let mut put = |walk: &mut Walk<'_>, batch: messages::TracesData| out.put(walk, &batch);
                traces::write(walk, source, export.what, &out.resource, &mut put)?;
            }
            // Refused before anything was read.
            What::All => {}
        }
    }
    Ok(())
}

/// Writes calls and spans that are asked for as the items of a list of OpenTelemetry's `ResourceSpans`, in JSON.
pub(crate) fn write_elements(sources: &[Source], walk: &mut Walk<'_>, is_first: &mut bool) -> Result<(), Broken> {
    for source in sources {
        let mut put = |walk: &mut Walk<'_>, batch: messages::TracesData| {
            for element in &batch.resource_spans {
                let separator: &[u8] = if std::mem::take(is_first) { b"\n" } else { b",\n" };
                walk.buffer().extend_from_slice(separator);
                serde_json::to_writer(walk.buffer(), element)?;
            }
            walk.spill()
        };
        traces::write(walk, source, What::Traces, &resource(source), &mut put)?;
    }
    Ok(())
}

/// What batches are written to.
struct Out {
    format: Format,
    resource: Resource,
}

impl Out {
    fn put(&self, walk: &mut Walk<'_>, batch: &impl Document) -> Result<(), Broken> {
        if self.format == Format::OtlpJson {
            serde_json::to_writer(walk.buffer(), batch)?;
            walk.buffer().push(b'\n');
        } else {
            walk.buffer().extend_from_slice(&batch.encode_to_vec());
        }
        walk.spill()
    }
}

/// Counts what a batch has, to tell when it is full.
#[derive(Default)]
struct Fill {
    records: usize,
    bytes: usize,
}

impl Fill {
    /// Notes a record of so many bytes. Returns whether the batch is full; it is empty then.
    fn is_full_with(&mut self, bytes: usize) -> bool {
        self.records += 1;
        self.bytes += bytes;
        let is_full = self.records >= BATCH_RECORDS || self.bytes >= BATCH_BYTES;
        if is_full {
            *self = Self::default();
        }
        is_full
    }
}

/// An extension as OpenTelemetry's semantic conventions have a service.
fn resource(source: &Source) -> Resource {
    let text = |key: &str, value: &str| key_value(key, Value::Text(value.to_owned()));
    Resource { attributes: vec![text("service.name", source.extension()), text("service.namespace", "glasshouse")] }
}

/// Whose measurement or span it is: the extension's, or the host's of it.
fn scope_of(origin: Origin, source: &Source) -> Scope {
    let name = if origin == Origin::Host { HOST_SCOPE } else { source.extension() };
    Scope { name: name.to_owned() }
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// Attributes, of which keys are unique: what is set first stays.
#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn set(&mut self, key: &str, value: Value) {
        if self.0.iter().all(|known| known.key != key) {
            self.0.push(key_value(key, value));
        }
    }

    fn text(&mut self, key: &str, text: &str) {
        self.set(key, Value::Text(text.to_owned()));
    }

    /// A count that has no room in an `i64` is the largest that has.
    fn count(&mut self, key: &str, count: u64) {
        self.set(key, Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)));
    }

    /// What the host put around a record.
    fn head(&mut self, head: &Head) {
        self.text("glasshouse.origin", head.origin.as_str());
        self.count("glasshouse.sequence", head.sequence);
        for (key, is_set) in [("glasshouse.cut", head.cut), ("glasshouse.batched", head.batched)] {
            if is_set {
                self.set(key, Value::Boolean(true));
            }
        }
        let Some(context) = &head.context else { return };
        self.text("glasshouse.correlation_id", &context.correlation_id);
        for (key, text) in [("user.id", &context.user), ("glasshouse.tenant", &context.tenant)] {
            if let Some(text) = text {
                self.text(key, text);
            }
        }
    }

    /// What an extension gave: of several with one name the last one counts, and the host's own stay.
    fn fields(&mut self, fields: FieldList) {
        for (name, value) in fields.0.into_iter().rev() {
            let value = match value {
                FieldValue::Text(text) => Value::Text(text),
                FieldValue::Integer(integer) => Value::Integer(integer),
                FieldValue::Float(float) => Value::Double(float),
                FieldValue::Boolean(boolean) => Value::Boolean(boolean),
            };
            self.set(&name, value);
        }
    }
}

/// A time; one before 1970 is none.
fn nanos(time: UnixNanos) -> u64 {
    u64::try_from(time.0).unwrap_or_default()
}

/// The ids of a record's trace and span; empty, as the protocol has it, where there are none.
fn ids(context: Option<&ContextRecord>) -> (Vec<u8>, Vec<u8>) {
    let known = |bytes: &[u8]| if bytes.iter().all(|byte| *byte == 0) { Vec::new() } else { bytes.to_vec() };
    context.map_or_else(Default::default, |context| (known(&context.trace_id.0), known(&context.span_id.0)))
}
