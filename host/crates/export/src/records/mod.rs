//! What extensions did, as records of one's own: read from the stores, serialisable, and good for as long as one likes.
//!
//! Integers are numbers, times are RFC 3339 with nanoseconds, ids are lower-case hexadecimal digits.

mod alert;
mod error;
mod invocation;
mod log;
mod metric;
mod span;

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use glasshouse_model::wire::{self, Fields};
use glasshouse_model::{Envelope, Origin, Signal, SpanId, TraceId, TraceSampling, TraceState, UnixNanos};
use glasshouse_telemetry::{Body, Cursor, Entry, Query, Reader};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use alert::AlertRecord;
pub use error::{ErrorRecord, StackFrame};
pub use invocation::{HostFunctionUse, InvocationRecord, TransferRecord};
pub use log::LogRecord;
pub use metric::MetricRecord;
pub use span::{SpanCostRecord, SpanEventRecord, SpanLinkRecord, SpanRecord};

/// A kind of record; sealed.
pub trait Record: Sized + sealed::FromStore {}

impl<T: sealed::FromStore> Record for T {}

#[doc(hidden)]
pub mod sealed {
    use super::{Body, Head, Signal};

    /// Made from what a store holds.
    pub trait FromStore: Sized {
        /// What such records are of.
        const SIGNAL: Signal;

        /// The record, if the body is one of this kind.
        fn from_store(head: Head, body: Body<'_>) -> Option<Self>;
    }
}

/// Reads one kind of record of one extension.
pub struct Records<T> {
    reader: Reader,
    extension: String,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Records<T> {
    fn clone(&self) -> Self {
        Self { reader: self.reader.clone(), extension: self.extension.clone(), kind: PhantomData }
    }
}

/// Records in the order of their sequence numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordPage<T> {
    /// The records, oldest first.
    pub records: Vec<T>,
    /// Records that were asked for and are not there any more.
    pub missed: u64,
    /// Records that could not be read back.
    pub unreadable: u64,
    /// Where the next page starts.
    pub next_sequence: u64,
}

impl<T: Record> Records<T> {
    /// Records of this extension, by what makes a reader of a signal of it.
    pub fn new(reader: impl FnOnce(Signal) -> Reader, extension: &str) -> Self {
        Self { reader: reader(T::SIGNAL), extension: extension.to_owned(), kind: PhantomData }
    }

    /// The records that a query asks for, in its order, and as many as it says, or else as `limit` does.
    pub fn search(&self, query: &Query, limit: usize) -> Vec<T> {
        self.reader.search(&self.extension, query, limit).iter().filter_map(record).collect()
    }

    /// A record and up to so many before and after it, oldest first; none if it is not there any more.
    pub fn around(&self, sequence: u64, before: usize, after: usize) -> Vec<T> {
        self.reader.around(sequence, before, after).iter().filter_map(record).collect()
    }

    /// The place after a record, to go on from later.
    pub fn cursor(&self, sequence: u64) -> Cursor {
        self.reader.cursor(&self.extension, sequence)
    }

    /// As they are stored.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The newest `limit` records, oldest of them first.
    pub fn latest(&self, limit: usize) -> Vec<T> {
        self.reader.latest(limit).iter().filter_map(record).collect()
    }

    /// Up to `limit` records from sequence number `from` on, oldest first. Sequence numbers start at 1.
    pub fn page(&self, from: u64, limit: usize) -> RecordPage<T> {
        let page = self.reader.page(from, limit);
        let records: Vec<T> = page.entries.iter().filter_map(record).collect();
        RecordPage {
            unreadable: (page.entries.len() - records.len()) as u64,
            records,
            missed: page.missed,
            next_sequence: page.next_sequence,
        }
    }

    /// Records ever stored.
    pub fn stored(&self) -> u64 {
        self.reader.stored()
    }

    /// Records that were stored and had to go.
    pub fn evicted(&self) -> u64 {
        self.reader.evicted()
    }
}

/// An entry as a record of a kind; `None` if it is of another, or does not decode.
pub fn record<T: Record>(entry: &Entry) -> Option<T> {
    T::from_store(entry.envelope().into(), entry.body().ok()?)
}

/// What the host puts around each record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// The record's place among those of its kind: counts from 1, without holes and without repeats.
    pub sequence: u64,
    /// When the host received or made it.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub time: UnixNanos,
    /// Who made it.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub origin: Origin,
    /// Whether the host cut text or left out fields that were over the limits.
    pub cut: bool,
    /// Whether the extension gathered it and sent it later, with others: it was made before `time`. Shown only where it is so.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub batched: bool,
    /// Whose work it is; `None` outside of any invocation.
    #[serde(flatten)]
    pub context: Option<ContextRecord>,
}

/// Whose work a record belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextRecord {
    /// The trace that it is part of.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub trace_id: TraceId,
    /// The span that it is part of; of a span or an invocation, its own id.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub span_id: SpanId,
    /// What the trigger gave, else the trace id.
    pub correlation_id: String,
    /// On whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// For which customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What was decided on the trace. Shown where it is not kept as all traces are: `sampled` = false if it is not, and as `tracestate` what
    /// OpenTelemetry says of it.
    #[serde(flatten, serialize_with = "shown_sampling", deserialize_with = "read_sampling")]
    pub sampling: TraceSampling,
}

fn shown_sampling<S: Serializer>(sampling: &TraceSampling, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    if !sampling.is_sampled {
        map.serialize_entry("sampled", &false)?;
    }
    if let Some(state) = state_of(sampling) {
        map.serialize_entry("tracestate", &state)?;
    }
    map.end()
}

fn read_sampling<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TraceSampling, D::Error> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(default = "kept")]
        sampled: bool,
        #[serde(default, deserialize_with = "read_if_any")]
        tracestate: Option<TraceState>,
    }
    fn kept() -> bool {
        true
    }
    let Told { sampled, tracestate } = Told::deserialize(deserializer)?;
    let state = tracestate.unwrap_or_default();
    Ok(TraceSampling { is_sampled: sampled, threshold: state.threshold(), randomness: state.randomness() })
}

/// What OpenTelemetry says of what was decided on a trace, where that is anything but what holds of all.
pub(crate) fn state_of(sampling: &TraceSampling) -> Option<String> {
    let state = (*sampling != TraceSampling::default()).then(|| TraceState::default().passed_on(sampling));
    state.filter(|state| !state.is_empty())
}

impl From<Envelope> for Head {
    fn from(envelope: Envelope) -> Self {
        let context = envelope.context.map(|context| ContextRecord {
            correlation_id: context.correlation(),
            trace_id: context.trace_id,
            span_id: context.span_id,
            user: context.user,
            tenant: context.tenant,
            sampling: context.sampling,
        });
        Self {
            sequence: envelope.sequence,
            time: envelope.time,
            origin: envelope.origin,
            cut: envelope.cut,
            batched: envelope.batched,
            context,
        }
    }
}

/// The value of a field. Numbers that are not finite are nothing in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldValue {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Float(#[serde(deserialize_with = "number")] f64),
    /// True or false.
    Boolean(bool),
}

/// Fields in the order in which they were given. As JSON they are an object; of several with one name, the last one
/// counts there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldList(pub Vec<(String, FieldValue)>);

impl FieldList {
    /// The value of the last field with this name.
    pub fn get(&self, name: &str) -> Option<&FieldValue> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

impl Serialize for FieldList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (index, (name, value)) in self.0.iter().enumerate() {
            if self.0[index + 1..].iter().all(|(later, _)| later != name) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for FieldList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = FieldList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldList, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(FieldList(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl From<Fields<'_>> for FieldList {
    fn from(fields: Fields<'_>) -> Self {
        let owned = |field: wire::Field<'_>| {
            let value = match field.value {
                wire::Value::Text(text) => FieldValue::Text(text.to_owned()),
                wire::Value::Integer(value) => FieldValue::Integer(value),
                wire::Value::Float(value) => FieldValue::Float(value),
                wire::Value::Boolean(value) => FieldValue::Boolean(value),
            };
            (field.name.to_owned(), value)
        };
        Self(fields.iter().map(owned).collect())
    }
}

/// A place in a guest's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLine {
    /// The file as the compiler named it.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
}

impl From<wire::Source<'_>> for SourceLine {
    fn from(source: wire::Source<'_>) -> Self {
        Self { file: source.file.to_owned(), line: source.line }
    }
}

/// Serialises what has a text form as that.
pub fn shown<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// The same for what need not be there.
#[expect(clippy::ref_option, reason = "serde passes fields in this form")]
pub(crate) fn shown_if_any<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => shown(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// Reads what [`shown`] has written.
pub fn read<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Text<T>(PhantomData<T>);
    impl<T: FromStr<Err: Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text(PhantomData))
}

/// The same for what need not be there.
pub(crate) fn read_if_any<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
}

/// Reads a number, of which JSON has none that is not finite.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(|number| number.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_fields_with_one_name_the_last_one_counts() {
        let field = |name: &str, value| (name.to_owned(), FieldValue::Integer(value));
        let fields = FieldList(vec![field("a", 1), field("b", 2), field("a", 3)]);
        assert_eq!(serde_json::to_string(&fields).expect("JSON"), r#"{"b":2,"a":3}"#);
        assert_eq!(fields.get("a"), Some(&FieldValue::Integer(3)));
    }

    #[test]
    fn a_head_is_flat_and_readable() {
        let context = glasshouse_model::Context { user: Some("ada".into()), ..Default::default() };
        let mut envelope = Envelope {
            sequence: 1,
            time: UnixNanos(1),
            origin: Origin::Guest,
            cut: false,
            batched: false,
            context: Some(context),
        };
        let head = serde_json::to_value(Head::from(envelope.clone())).expect("JSON");
        assert_eq!(head["time"], "1970-01-01T00:00:00.000000001Z");
        assert_eq!(head["trace_id"], "0".repeat(32));
        assert_eq!(head["correlation_id"], "0".repeat(32));
        assert_eq!((head["user"].as_str(), head.get("tenant")), (Some("ada"), None));
        assert_eq!(head.get("batched"), None);
        assert_eq!((head.get("sampled"), head.get("tracestate")), (None, None));
        envelope.batched = true;
        let sampling = |is_sampled: bool, threshold: Option<&str>, random: Option<&str>| TraceSampling {
            is_sampled,
            threshold: threshold.map(|text| text.parse().expect("a threshold")),
            randomness: random.map(|text| text.parse().expect("a random value")),
        };
        for (sampling, shown) in [
            (sampling(true, Some("e"), None), (None, Some("ot=th:e"))),
            (sampling(false, None, Some("00000000000001")), (Some(false), Some("ot=rv:00000000000001"))),
            (sampling(true, None, None), (None, None)),
        ] {
            envelope.context = Some(glasshouse_model::Context { sampling, ..Default::default() });
            let head = serde_json::to_value(Head::from(envelope.clone())).expect("JSON");
            assert_eq!(head["batched"], true);
            let text = |name: &str| head.get(name).and_then(serde_json::Value::as_str);
            assert_eq!((head.get("sampled").and_then(serde_json::Value::as_bool), text("tracestate")), shown);
        }
    }
}
