//! Structured filters of Jaeger's third generation (`expression/v1/expression.proto` and RFC 0005 of the Jaeger project): what of them is answered here.

use glasshouse_client::api::Problem;
use glasshouse_model::text::visible;
use glasshouse_model::{AttributesOf, Comparison, SpanFilter, SpanPart, SpanValue};
use serde::Deserialize;

use super::asked::{go_duration, time, unusable};

/// The parameter.
pub(super) const NAME: &str = "query.filter";
/// Predicates, and constants in their lists, at most: each may be compared with each span.
const PARTS: usize = 100;
/// What is known of operators.
const OPERATORS: &str = "and, or, not, eq, ne, gt, gte, lt, lte, exists, in and not_in";

/// An operator and what it is applied to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    op: String,
    args: Vec<Expression>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expression {
    Attr(Attribute),
    Field(Field),
    Nested(serde::de::IgnoredAny),
    Scalar(Scalar),
    List(List),
    Call(Call),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    key: String,
    #[serde(default)]
    level: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    name: String,
    level: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scalar {
    value: String,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    values: Vec<String>,
    #[serde(default, rename = "type")]
    kind: String,
}

/// Reads a filter.
pub(super) fn parsed(text: &str) -> Result<SpanFilter, Problem> {
    let call = serde_json::from_str::<Call>(text).map_err(|error| {
        let form = "{\"op\":\"eq\",\"args\":[{\"attr\":{\"key\":\"a\"}},{\"scalar\":{\"value\":\"1\"}}]}";
        unusable(NAME, &format!("it is no call such as {form}: {}", visible(&error.to_string(), 200)))
    })?;
    let mut left = PARTS;
    filter(call, &mut left).map_err(|why| unusable(NAME, &why))
}

fn filter(call: Call, left: &mut usize) -> Result<SpanFilter, String> {
    *left = left.checked_sub(1).ok_or_else(|| format!("it has more than {PARTS} parts"))?;
    let Call { op, args } = call;
    let several = |args: Vec<Expression>, left: &mut usize| {
        if args.len() < 2 {
            return Err(format!("\"{op}\" combines two calls or more"));
        }
        args.into_iter().map(|arg| predicate(arg, &op, left)).collect::<Result<Vec<_>, _>>()
    };
    match op.as_str() {
        "and" => Ok(SpanFilter::All(several(args, left)?)),
        "or" => Ok(SpanFilter::Any(several(args, left)?)),
        "not" => Ok(SpanFilter::Not(Box::new(predicate(only(args, &op)?, &op, left)?))),
        "exists" => Ok(SpanFilter::Has(part(only(args, &op)?, &op)?)),
        "in" | "not_in" => {
            let (part, List { values, kind }) = match two(args, &op)? {
                (of, Expression::List(list)) => (part(of, &op)?, list),
                _ => return Err(format!("\"{op}\" takes a reference and a list")),
            };
            if values.is_empty() {
                return Err(format!("the list of \"{op}\" is empty"));
            }
            *left = left.checked_sub(values.len()).ok_or_else(|| format!("it has more than {PARTS} parts"))?;
            let values = values.iter().map(|value| constant(&part, value, &kind)).collect::<Result<_, _>>()?;
            Ok(compared(part, Comparison::Equal, values, op == "not_in"))
        }
        _ => {
            let how = match op.as_str() {
                "eq" | "ne" => Comparison::Equal,
                "gt" => Comparison::Greater,
                "gte" => Comparison::AtLeast,
                "lt" => Comparison::Less,
                "lte" => Comparison::AtMost,
                _ => {
                    return Err(format!("\"{}\" is no operator that is known here: use {OPERATORS}", visible(&op, 40)));
                }
            };
            // A constant may stand on the left.
            let (of, Scalar { value, kind }, how) = match two(args, &op)? {
                (Expression::Scalar(scalar), of) => (of, scalar, turned(how)),
                (of, Expression::Scalar(scalar)) => (of, scalar, how),
                _ => return Err(format!("\"{op}\" compares a reference with a constant here")),
            };
            let part = part(of, &op)?;
            if how != Comparison::Equal && matches!(part, SpanPart::Kind | SpanPart::Status) {
                return Err(format!("\"{op}\" compares what has an order, which kinds and statuses have not"));
            }
            if how != Comparison::Equal && kind == "bool" {
                return Err(format!("\"{op}\" compares what has an order, which true and false have not"));
            }
            let value = constant(&part, &value, &kind)?;
            Ok(compared(part, how, vec![value], op == "ne"))
        }
    }
}

/// A comparison; if it is to be none, of what is there.
fn compared(part: SpanPart, how: Comparison, values: Vec<SpanValue>, is_none: bool) -> SpanFilter {
    let has = SpanFilter::Has(part.clone());
    let compares = SpanFilter::Compares(part, how, values);
    if is_none { SpanFilter::All(vec![has, SpanFilter::Not(Box::new(compares))]) } else { compares }
}

fn turned(how: Comparison) -> Comparison {
    match how {
        Comparison::Equal => Comparison::Equal,
        Comparison::Greater => Comparison::Less,
        Comparison::Less => Comparison::Greater,
        Comparison::AtLeast => Comparison::AtMost,
        Comparison::AtMost => Comparison::AtLeast,
    }
}

fn predicate(argument: Expression, op: &str, left: &mut usize) -> Result<SpanFilter, String> {
    match argument {
        Expression::Call(call) => filter(call, left),
        _ => Err(format!("\"{op}\" combines calls, and nothing else")),
    }
}

fn only(args: Vec<Expression>, op: &str) -> Result<Expression, String> {
    <[Expression; 1]>::try_from(args).map(|[one]| one).map_err(|_| format!("\"{op}\" takes one argument"))
}

fn two(args: Vec<Expression>, op: &str) -> Result<(Expression, Expression), String> {
    <[Expression; 2]>::try_from(args).map(Into::into).map_err(|_| format!("\"{op}\" takes two arguments"))
}

/// What a reference is to.
fn part(of: Expression, op: &str) -> Result<SpanPart, String> {
    match of {
        Expression::Attr(Attribute { key, level }) => {
            let of = match level.as_str() {
                "" => AttributesOf::SpanOrProcess,
                "span" => AttributesOf::Span,
                "resource" => AttributesOf::Process,
                "event" => AttributesOf::Events,
                _ => {
                    let level = visible(&level, 40);
                    return Err(format!(
                        "there are no attributes at the level \"{level}\": use span, resource or event"
                    ));
                }
            };
            Ok(SpanPart::Attribute(key, of))
        }
        Expression::Field(Field { name, level }) => match (level.as_str(), name.as_str()) {
            ("resource", "service") => Ok(SpanPart::Service),
            ("span", "name") => Ok(SpanPart::Name),
            ("span", "kind") => Ok(SpanPart::Kind),
            ("span", "status") => Ok(SpanPart::Status),
            ("span", "statusMessage") => Ok(SpanPart::StatusMessage),
            ("span", "traceID") => Ok(SpanPart::TraceId),
            ("span", "spanID") => Ok(SpanPart::SpanId),
            ("span", "parentSpanID") => Ok(SpanPart::ParentSpanId),
            ("span", "startTime") => Ok(SpanPart::Start),
            ("span", "endTime") => Ok(SpanPart::End),
            ("span", "duration") => Ok(SpanPart::Duration),
            _ => Err(format!(
                "there is no field \"{}\" at the level \"{}\": use service of resource, or name, kind, status, statusMessage, traceID, spanID, parentSpanID, \
                 startTime, endTime or duration of span",
                visible(&name, 40),
                visible(&level, 40)
            )),
        },
        _ => Err(format!("\"{op}\" takes a reference, attr or field")),
    }
}

/// A constant as what it is compared with has it.
fn constant(part: &SpanPart, text: &str, kind: &str) -> Result<SpanValue, String> {
    let shown = || visible(text, 80).into_owned();
    let is_text = matches!(kind, "" | "string");
    match part {
        SpanPart::Start | SpanPart::End => time(text)
            .filter(|_| is_text)
            .map(SpanValue::Time)
            .ok_or_else(|| format!("\"{}\" is no time as RFC 3339 has it, such as 2026-11-22T10:00:00Z", shown())),
        SpanPart::Duration => {
            let nanos = go_duration(text).filter(|_| is_text).map(|length| length.as_nanos());
            let nanos = nanos.and_then(|nanos| u64::try_from(nanos).ok()).map(SpanValue::Nanos);
            nanos.ok_or_else(|| format!("\"{}\" is no duration, such as 1.5s or 100ms", shown()))
        }
        SpanPart::Attribute(..) => match kind {
            "" => Ok(SpanValue::Any(text.to_owned())),
            "string" => Ok(SpanValue::Text(text.to_owned())),
            "int" => text
                .parse::<i64>()
                .map(|number| SpanValue::Number(number as f64))
                .map_err(|_| format!("\"{}\" is no integer", shown())),
            "double" => text.parse().map(SpanValue::Number).map_err(|_| format!("\"{}\" is no number", shown())),
            "bool" => {
                text.parse().map(SpanValue::Switch).map_err(|_| format!("\"{}\" is neither true nor false", shown()))
            }
            _ => Err(format!("there is no type \"{}\": use string, int, double or bool", visible(kind, 40))),
        },
        _ if !is_text => Err(format!("what is compared with \"{}\" is text", shown())),
        // Digits, of which Jaeger leaves out the zeros that an id starts with.
        SpanPart::TraceId => Ok(SpanValue::Text(format!("{:0>32}", text.to_ascii_lowercase()))),
        SpanPart::SpanId | SpanPart::ParentSpanId => Ok(SpanValue::Text(format!("{:0>16}", text.to_ascii_lowercase()))),
        SpanPart::Kind | SpanPart::Status => Ok(SpanValue::Text(text.to_ascii_lowercase())),
        SpanPart::Service | SpanPart::Name | SpanPart::StatusMessage => Ok(SpanValue::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn attribute(key: &str) -> Value {
        json!({"attr": {"key": key}})
    }

    fn check(filter: &Value, expect: &SpanFilter) {
        assert_eq!(parsed(&filter.to_string()).expect("it is usable"), *expect, "{filter}");
    }

    #[test]
    fn a_filter_is_read_as_jaegers_protocol_has_it() {
        let status = SpanPart::Attribute("http.status_code".to_owned(), AttributesOf::SpanOrProcess);
        let any = |text: &str| vec![SpanValue::Any(text.to_owned())];
        let args = json!([attribute("http.status_code"), {"scalar": {"value": "500"}}]);
        let is_500 = SpanFilter::Compares(status.clone(), Comparison::Equal, any("500"));
        check(&json!({"op": "eq", "args": args}), &is_500);
        let not = SpanFilter::All(vec![SpanFilter::Has(status.clone()), SpanFilter::Not(Box::new(is_500.clone()))]);
        check(&json!({"op": "ne", "args": args}), &not);
        // What stands on the left is turned around.
        let args = json!([{"scalar": {"value": "1.5s"}}, {"field": {"name": "duration", "level": "span"}}]);
        let long = SpanFilter::Compares(SpanPart::Duration, Comparison::Greater, vec![SpanValue::Nanos(1_500_000_000)]);
        check(&json!({"op": "lt", "args": args}), &long);
        let list = json!({"list": {"values": ["1", "2"], "type": "int"}});
        let of_event = json!({"attr": {"key": "n", "level": "event"}});
        let n = SpanPart::Attribute("n".to_owned(), AttributesOf::Events);
        let values = vec![SpanValue::Number(1.0), SpanValue::Number(2.0)];
        let is_in = SpanFilter::Compares(n, Comparison::Equal, values);
        check(&json!({"op": "in", "args": [of_event, list]}), &is_in);
        let nested = json!({"op": "or", "args": [
            {"call": {"op": "not", "args": [{"call": {"op": "exists", "args": [attribute("http.status_code")]}}]}},
            {"call": {"op": "eq", "args": [{"field": {"name": "traceID", "level": "span"}}, {"scalar": {"value": "AB"}}]}},
        ]});
        let trace = vec![SpanValue::Text(format!("{:0>32}", "ab"))];
        let expect = SpanFilter::Any(vec![
            SpanFilter::Not(Box::new(SpanFilter::Has(status))),
            SpanFilter::Compares(SpanPart::TraceId, Comparison::Equal, trace),
        ]);
        check(&nested, &expect);
    }

    #[test]
    fn what_of_a_filter_cannot_be_used_is_told() {
        let call = |op: &str, args: Value| json!({"op": op, "args": args}).to_string();
        let field = |name: &str| json!({"field": {"name": name, "level": "span"}});
        let scalar = |value: &str, kind: &str| json!({"scalar": {"value": value, "type": kind}});
        let (a, one) = (attribute("a"), scalar("1", ""));
        let many: Vec<_> = (0..200).map(|_| json!({"call": {"op": "exists", "args": [attribute("a")]}})).collect();
        let deep = (0..200)
            .fold(json!({"op": "exists", "args": [a]}), |inner, _| json!({"op": "not", "args": [{"call": inner}]}));
        for (text, says) in [
            (String::new(), "it is no call such as"),
            ("{}".to_owned(), "it is no call such as"),
            ("[]".to_owned(), "it is no call such as"),
            (call("eq", json!([{"attr": {"name": "a"}}, one])), "it is no call such as"),
            (call("regex", json!([a, one])), "no operator that is known here"),
            (call("some", json!([{"nested": {"level": "event"}}, one])), "no operator that is known here"),
            (call("eq", json!([{"nested": {"level": "event"}}, one])), "takes a reference"),
            (call("eq", json!([a])), "takes two arguments"),
            (call("eq", json!([a, a])), "a reference with a constant"),
            (call("eq", json!([one, one])), "takes a reference"),
            (call("and", json!([{"call": {"op": "exists", "args": [a]}}])), "two calls or more"),
            (call("and", json!([a, a])), "combines calls"),
            (call("in", json!([a, one])), "a reference and a list"),
            (call("in", json!([a, {"list": {"values": []}}])), "is empty"),
            (call("eq", json!([field("dream"), one])), "there is no field \"dream\""),
            (call("eq", json!([{"attr": {"key": "a", "level": "link"}}, one])), "no attributes at the level"),
            (call("eq", json!([field("duration"), one])), "no duration"),
            (call("eq", json!([field("duration"), scalar("1s", "int")])), "no duration"),
            (call("gt", json!([field("startTime"), scalar("now", "")])), "no time"),
            (call("gt", json!([field("kind"), scalar("server", "")])), "has an order"),
            (call("gt", json!([a, scalar("true", "bool")])), "has an order"),
            (call("eq", json!([a, scalar("x", "int")])), "no integer"),
            (call("eq", json!([a, scalar("x", "dream")])), "there is no type"),
            (call("eq", json!([field("name"), scalar("1", "int")])), "is text"),
            (call("or", Value::from(many)), "more than 100 parts"),
            (call("in", json!([a, {"list": {"values": vec!["x"; 200]}}])), "more than 100 parts"),
            (deep.to_string(), "it is no call such as"),
        ] {
            let problem = parsed(&text).expect_err(&text);
            assert!(problem.status == 400 && problem.detail.contains(says), "{text}: {problem:?}");
            assert!(problem.detail.contains("'query.filter'"), "{problem:?}");
        }
    }
}
