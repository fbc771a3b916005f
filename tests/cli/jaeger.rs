//! The formats of Jaeger's interface and query API: their fields and types, as its public documentation has them.

use serde_json::Value;

/// An object's name, and its fields with their types: `?` may be null, `-` left out. The second generation's are those of Jaeger's `model/json` and of
/// its HTTP handler, the third one's those of `api_v3/query_service.proto` and of OpenTelemetry's `trace.proto`, in JSON.
const OBJECTS: [(&str, &[(&str, &str)]); 32] = [
    ("traces", &[("data", "?[trace]"), ("total", "int"), ("limit", "int"), ("offset", "int"), ("errors", "?[error]")]),
    ("services", &[("data", "[text]"), ("total", "int"), ("limit", "int"), ("offset", "int"), ("errors", "?[error]")]),
    (
        "operations",
        &[("data", "[operation]"), ("total", "int"), ("limit", "int"), ("offset", "int"), ("errors", "?[error]")],
    ),
    (
        "dependencies",
        &[("data", "[dependency]"), ("total", "int"), ("limit", "int"), ("offset", "int"), ("errors", "?[error]")],
    ),
    ("error", &[("code", "-int"), ("msg", "text"), ("traceID", "-hex32")]),
    ("operation", &[("name", "text"), ("spanKind", "text")]),
    ("dependency", &[("parent", "text"), ("child", "text"), ("callCount", "int")]),
    ("trace", &[("traceID", "hex32"), ("spans", "[span]"), ("processes", "{process}"), ("warnings", "?[text]")]),
    (
        "span",
        &[
            ("traceID", "hex32"),
            ("spanID", "hex16"),
            ("parentSpanID", "-hex16"),
            ("flags", "-int"),
            ("operationName", "text"),
            ("references", "[reference]"),
            ("startTime", "int"),
            ("duration", "int"),
            ("tags", "[tag]"),
            ("logs", "[log]"),
            ("processID", "-text"),
            ("process", "-process"),
            ("warnings", "?[text]"),
        ],
    ),
    ("reference", &[("refType", "text"), ("traceID", "hex32"), ("spanID", "hex16")]),
    ("process", &[("serviceName", "text"), ("tags", "[tag]")]),
    ("log", &[("timestamp", "int"), ("fields", "[tag]")]),
    ("tag", &[("key", "text"), ("type", "-text"), ("value", "value")]),
    ("v3.services", &[("services", "[text]")]),
    ("v3.operations", &[("operations", "[operation]")]),
    ("v3.error", &[("error", "v3.error.details")]),
    ("v3.error.details", &[("grpcCode", "-int"), ("httpCode", "int"), ("message", "text"), ("httpStatus", "-text")]),
    ("v3.summaries", &[("summaries", "[v3.summary]"), ("nextPageToken", "-text")]),
    (
        "v3.summary",
        &[
            ("traceId", "hex32"),
            ("rootServiceName", "text"),
            ("rootOperationName", "text"),
            ("minStartTimeUnixNano", "digits"),
            ("maxEndTimeUnixNano", "digits"),
            ("spanCount", "int"),
            ("errorSpanCount", "int"),
            ("orphanSpanCount", "int"),
            ("services", "[v3.service]"),
        ],
    ),
    ("v3.service", &[("name", "text"), ("spanCount", "int"), ("errorSpanCount", "int")]),
    ("v3.traces", &[("result", "v3.traces-data")]),
    ("v3.traces-data", &[("resourceSpans", "[v3.resource-spans]")]),
    ("v3.resource-spans", &[("resource", "v3.resource"), ("scopeSpans", "[v3.scope-spans]"), ("schemaUrl", "-text")]),
    ("v3.resource", &[("attributes", "[v3.attribute]"), ("droppedAttributesCount", "-int")]),
    ("v3.scope-spans", &[("scope", "v3.scope"), ("spans", "[v3.span]"), ("schemaUrl", "-text")]),
    (
        "v3.scope",
        &[
            ("name", "-text"),
            ("version", "-text"),
            ("attributes", "-[v3.attribute]"),
            ("droppedAttributesCount", "-int"),
        ],
    ),
    (
        "v3.span",
        &[
            ("traceId", "hex32"),
            ("spanId", "hex16"),
            ("traceState", "-text"),
            ("parentSpanId", "-hex16"),
            ("flags", "-int"),
            ("name", "text"),
            ("kind", "-int"),
            ("startTimeUnixNano", "digits"),
            ("endTimeUnixNano", "digits"),
            ("attributes", "-[v3.attribute]"),
            ("droppedAttributesCount", "-int"),
            ("events", "-[v3.event]"),
            ("droppedEventsCount", "-int"),
            ("links", "-[v3.link]"),
            ("droppedLinksCount", "-int"),
            ("status", "-v3.status"),
        ],
    ),
    (
        "v3.event",
        &[
            ("timeUnixNano", "digits"),
            ("name", "-text"),
            ("attributes", "-[v3.attribute]"),
            ("droppedAttributesCount", "-int"),
        ],
    ),
    (
        "v3.link",
        &[
            ("traceId", "hex32"),
            ("spanId", "hex16"),
            ("traceState", "-text"),
            ("attributes", "-[v3.attribute]"),
            ("droppedAttributesCount", "-int"),
            ("flags", "-int"),
        ],
    ),
    ("v3.status", &[("message", "-text"), ("code", "-int")]),
    ("v3.attribute", &[("key", "text"), ("value", "v3.value")]),
    (
        "v3.value",
        &[("stringValue", "-text"), ("boolValue", "-flag"), ("intValue", "-digits"), ("doubleValue", "-value")],
    ),
];

/// Fails where a value is not of a kind, or has a field that the kind has not.
pub(crate) fn check(value: &Value, kind: &str) {
    check_at(value, kind, kind);
}

fn check_at(value: &Value, kind: &str, at: &str) {
    let hex = |digits: usize| {
        value
            .as_str()
            .is_some_and(|id| id.len() == digits && id.bytes().all(|byte| b"0123456789abcdef".contains(&byte)))
    };
    if let Some(kind) = kind.strip_prefix('?') {
        if !value.is_null() {
            check_at(value, kind, at);
        }
        return;
    }
    if let Some(kind) = kind.strip_prefix('[') {
        let items = value.as_array().unwrap_or_else(|| panic!("{at} is no list: {value}"));
        return items.iter().for_each(|item| check_at(item, kind.trim_end_matches(']'), at));
    }
    if let Some(kind) = kind.strip_prefix('{') {
        let items = value.as_object().unwrap_or_else(|| panic!("{at} is no object: {value}"));
        return items.values().for_each(|item| check_at(item, kind.trim_end_matches('}'), at));
    }
    match kind {
        "int" => assert!(value.is_u64(), "{at} is {value}"),
        "flag" => assert!(value.is_boolean(), "{at} is {value}"),
        "text" => assert!(value.is_string(), "{at} is {value}"),
        "digits" => assert!(value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()), "{at} is {value}"),
        "value" => assert!(value.is_string() || value.is_number() || value.is_boolean(), "{at} is {value}"),
        "hex16" => assert!(hex(16), "{at} is {value}"),
        "hex32" => assert!(hex(32), "{at} is {value}"),
        _ => {
            let (_, fields) = OBJECTS.iter().find(|(name, _)| *name == kind).expect("a kind of the list");
            let object = value.as_object().unwrap_or_else(|| panic!("{at} is no object: {value}"));
            let unknown = object.keys().find(|key| fields.iter().all(|(name, _)| name != key));
            assert_eq!(unknown, None, "{at}");
            for (name, kind) in *fields {
                let at = format!("{at}.{name}");
                match (object.get(*name), kind.strip_prefix('-')) {
                    (Some(value), kind_if_optional) => check_at(value, kind_if_optional.unwrap_or(kind), &at),
                    (None, optional) => assert!(optional.is_some(), "{at} is missing"),
                }
            }
        }
    }
}
