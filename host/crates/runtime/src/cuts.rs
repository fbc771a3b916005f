//! Cuts records to what one of them may be: the limits of every record, and what the extension's budget allows below them.

use glasshouse_model::limits;
use glasshouse_model::settings::TelemetryBudget;
use glasshouse_model::text::cut;
use glasshouse_model::wire::{self, Alert, Error, Field, Fields, Log, Metric, Record, Source, Value};

/// Bytes of a field beyond its texts, at most.
const FIELD_OVERHEAD: usize = 16;
/// The label of a metric's overflow series, as OpenTelemetry names it.
const OVERFLOW: Field<'static> = Field { name: "otel.metric.overflow", value: Value::Text("true") };

/// What one record may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cuts {
    /// Fields, or labels.
    pub(crate) fields: usize,
    /// Bytes of a message.
    pub(crate) message: usize,
    /// Bytes of a field's text, and of a stack.
    pub(crate) text: usize,
    /// Bytes of a name.
    pub(crate) name: usize,
    /// Bytes of a link's state.
    pub(crate) link_state: usize,
    /// Bytes of a record that surely needs no cutting but for its number of fields.
    pub(crate) uncut: usize,
    /// Spans that are open at once.
    pub(crate) open_spans: usize,
    /// Spans that lie in each other.
    pub(crate) span_depth: usize,
}

impl Default for Cuts {
    fn default() -> Self {
        Self::new(&TelemetryBudget::default())
    }
}

impl Cuts {
    pub(crate) fn new(budget: &TelemetryBudget) -> Self {
        let text = usize::try_from(budget.string_bytes).unwrap_or(usize::MAX);
        Self {
            fields: budget.fields.min(limits::FIELDS),
            message: text.min(limits::MESSAGE_BYTES),
            text: text.min(limits::TEXT_BYTES),
            name: text.min(limits::NAME_BYTES),
            link_state: text.min(limits::LINK_STATE_BYTES),
            uncut: text.min(limits::UNCUT_BYTES),
            open_spans: budget.open_spans.min(limits::NESTING),
            span_depth: budget.span_depth.min(limits::NESTING),
        }
    }

    /// Whether all parts of a record are within the limits.
    #[inline]
    pub(crate) fn fits(&self, record: &Record<'_>, body_bytes: usize) -> bool {
        let fields = match record {
            Record::Log(_, fields) | Record::Metric(_, fields) | Record::Error(_, fields) => *fields,
            Record::Alert(_) => Fields::EMPTY,
        };
        if fields.len() > self.fields || body_bytes > limits::RECORD_BYTES {
            return false;
        }
        body_bytes <= self.uncut || self.parts_fit(record, fields)
    }

    fn parts_fit(&self, record: &Record<'_>, fields: Fields<'_>) -> bool {
        let name = |text: &str| text.len() <= self.name;
        let text = |text: &str| text.len() <= self.text;
        let message = |text: &str| text.len() <= self.message;
        let file = |source: Option<Source<'_>>| source.is_none_or(|source| name(source.file));
        let own = match record {
            Record::Log(log, _) => name(log.target) && message(log.message) && file(log.source),
            Record::Metric(metric, _) => name(metric.name) && name(metric.unit),
            Record::Error(error, _) => {
                name(error.kind) && message(error.message) && text(error.stack) && file(error.source)
            }
            Record::Alert(alert) => {
                name(alert.kind) && name(alert.title) && message(alert.message) && alert.metric.is_none_or(name)
            }
        };
        own && fields
            .iter()
            .all(|field| name(field.name) && if let Value::Text(value) = field.value { text(value) } else { true })
    }

    /// Bytes of a record's longest text, names included.
    #[cold]
    pub(crate) fn longest_text(record: &Record<'_>) -> usize {
        let file = |source: Option<Source<'_>>| source.map_or(0, |source| source.file.len());
        let (own, fields) = match record {
            Record::Log(log, fields) => ([log.target.len(), log.message.len(), file(log.source), 0], *fields),
            Record::Metric(metric, labels) => ([metric.name.len(), metric.unit.len(), 0, 0], *labels),
            Record::Error(error, fields) => {
                ([error.kind.len(), error.message.len(), error.stack.len(), file(error.source)], *fields)
            }
            Record::Alert(alert) => {
                let metric = alert.metric.map_or(0, str::len);
                ([alert.kind.len(), alert.title.len(), alert.message.len(), metric], Fields::EMPTY)
            }
        };
        let text = |value: &Value<'_>| if let Value::Text(text) = value { text.len() } else { 0 };
        let of_fields = fields.iter().map(|field| field.name.len().max(text(&field.value)));
        own.into_iter().chain(of_fields).max().unwrap_or_default()
    }

    /// Encodes a record anew with its text and its number of fields cut to the limits.
    #[cold]
    pub(crate) fn cut(&self, record: &Record<'_>) -> Vec<u8> {
        let name = |text| cut(text, self.name);
        let source =
            |source: Option<_>| source.map(|source: Source<'_>| Source { file: cut(source.file, self.name), ..source });
        let mut body = Vec::new();
        match record {
            Record::Log(log, fields) => {
                let message = cut(log.message, self.message);
                let log = Log { target: name(log.target), source: source(log.source), ..*log };
                let fields = self.cut_fields(*fields, limits::RECORD_BYTES - limits::MESSAGE_BYTES);
                wire::write_log(&mut body, &log, format_args!("{message}"), &fields);
            }
            Record::Metric(metric, labels) => {
                let metric = Metric { name: name(metric.name), unit: name(metric.unit), ..*metric };
                wire::write_metric(&mut body, &metric, &self.cut_fields(*labels, limits::RECORD_BYTES / 2));
            }
            Record::Error(error, fields) => {
                let error = Error {
                    kind: name(error.kind),
                    message: cut(error.message, self.message),
                    stack: cut(error.stack, self.text),
                    source: source(error.source),
                    ..*error
                };
                let left = limits::RECORD_BYTES - limits::MESSAGE_BYTES - limits::TEXT_BYTES - 4 * limits::NAME_BYTES;
                wire::write_error(&mut body, &error, &self.cut_fields(*fields, left));
            }
            Record::Alert(alert) => {
                let alert = Alert {
                    kind: name(alert.kind),
                    title: name(alert.title),
                    message: cut(alert.message, self.message),
                    metric: alert.metric.map(name),
                    ..*alert
                };
                wire::write_alert(&mut body, &alert);
            }
        }
        body
    }

    /// The first fields, each cut to its limit, that together stay within so many bytes.
    fn cut_fields<'f>(&self, fields: Fields<'f>, mut bytes: usize) -> Vec<Field<'f>> {
        let mut kept = Vec::new();
        for field in fields.iter().take(self.fields) {
            let name = cut(field.name, self.name);
            let value = match field.value {
                Value::Text(text) => Value::Text(cut(text, self.text)),
                other => other,
            };
            let length = name.len() + FIELD_OVERHEAD + if let Value::Text(text) = value { text.len() } else { 0 };
            if length > bytes {
                break;
            }
            bytes -= length;
            kept.push(Field { name, value });
        }
        kept
    }
}

/// A sample of its metric's overflow series, which stands for all surplus sets of labels.
#[cold]
pub(crate) fn overflow(metric: &Metric<'_>) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    wire::write_metric(&mut body, metric, &[OVERFLOW]);
    body
}
