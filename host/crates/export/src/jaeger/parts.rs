//! What a span has, as filters of Jaeger's third generation compare it.

use glasshouse_model::{AttributesOf, SpanPart, SpanValue, UnixNanos};
use serde_json::Value;

use super::{Span, Tag, process_tags};

/// The values of a part of a span of a service; none, if it has no such part.
pub(super) fn read(service: &str, span: &Span, part: &SpanPart) -> Vec<SpanValue> {
    let text = |text: &str| vec![SpanValue::Text(text.to_owned())];
    match part {
        SpanPart::Attribute(key, of) => {
            let (mut values, named) = (Vec::new(), |tag: &&Tag| tag.key == *key);
            if matches!(of, AttributesOf::Span | AttributesOf::SpanOrProcess) {
                values.extend(span.tags.iter().filter(named).map(value));
            }
            if matches!(of, AttributesOf::Process | AttributesOf::SpanOrProcess) {
                values.extend(process_tags().iter().filter(named).map(value));
            }
            if *of == AttributesOf::Events {
                values.extend(span.logs.iter().flat_map(|log| &log.fields).filter(named).map(value));
            }
            values
        }
        SpanPart::Service => text(service),
        SpanPart::Name => text(&span.operation_name),
        SpanPart::Kind => tag(span, "span.kind"),
        SpanPart::Status => text(if tag(span, "error") == [SpanValue::Switch(true)] { "error" } else { "unset" }),
        SpanPart::StatusMessage => tag(span, "otel.status_description"),
        SpanPart::TraceId => text(&span.trace_id),
        SpanPart::SpanId => text(&span.id),
        SpanPart::ParentSpanId => span.parents.iter().map(|parent| SpanValue::Text(parent.to_string())).collect(),
        SpanPart::Start => vec![SpanValue::Time(span.start)],
        SpanPart::End => vec![SpanValue::Time(UnixNanos(span.start.0.saturating_add_unsigned(span.elapsed_ns)))],
        SpanPart::Duration => vec![SpanValue::Nanos(span.elapsed_ns)],
    }
}

/// The first tag of a name: what the host says comes before what a guest does.
fn tag(span: &Span, key: &str) -> Vec<SpanValue> {
    span.tags.iter().find(|tag| tag.key == key).map(value).into_iter().collect()
}

fn value(tag: &Tag) -> SpanValue {
    match &tag.value {
        Value::Bool(switch) => SpanValue::Switch(*switch),
        Value::Number(number) => SpanValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        // A large integer is written as text.
        Value::String(text) if tag.kind == "int64" => SpanValue::Number(text.parse().unwrap_or(f64::NAN)),
        Value::String(text) => SpanValue::Text(text.clone()),
        other => SpanValue::Text(other.to_string()),
    }
}
