//! Comma-separated values as RFC 4180 has them: a head, a line a record, the same columns whatever is in the records.
//!
//! Spreadsheets take a cell that starts with certain characters for a formula. Text that an extension chose gets an apostrophe before such a
//! start, and before an apostrophe, so that taking one apostrophe away from each text that starts with one gives back what was stored. Numbers are written as
//! they are, negative ones too: no text gets into their columns.

use std::borrow::Cow;
use std::collections::BTreeSet;

use glasshouse_model::Signal;
use glasshouse_model::text::is_hidden;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::export::{Broken, Export};
use crate::json::{Line, Take, feed};
use crate::walk::Walk;

/// The columns that all records have.
const HEAD: &[&str] = &[
    "extension",
    "sequence",
    "time",
    "origin",
    "cut",
    "batched",
    "trace_id",
    "span_id",
    "correlation_id",
    "user",
    "tenant",
    "cursor",
];

/// What tells of several signals which one a line is of.
const SIGNAL: &str = "signal";
/// Fields or labels, as a JSON object.
const FIELDS: &str = "fields";
/// What has no column of its own, such as stacks, as a JSON object.
const MORE: &str = "more";

/// The columns of what a span cost.
const COST: &[&str] = &[
    "fuel",
    "elapsed_ns",
    "in_guest_ns",
    "in_host_ns",
    "waiting_ns",
    "idle_ns",
    "host_calls",
    "memory_delta_bytes",
    "read_bytes",
    "written_bytes",
    "sent_bytes",
    "received_bytes",
];

/// The further columns of a signal. What lies in an object is named by its path.
fn columns(signal: Signal) -> &'static [&'static [&'static str]] {
    match signal {
        Signal::Log => &[&["level", "target", "message", "source.file", "source.line", "guest_time"]],
        Signal::Metric => &[&["instrument", "name", "unit", "value"]],
        Signal::Error => &[&[
            "kind",
            "group",
            "message",
            "blame",
            "handled",
            "call",
            "source.file",
            "source.line",
            "guest_stack",
            "advice",
        ]],
        Signal::Span => &[&["name", "parent", "kind", "status", "failure", "start"], COST, &["memory_peak_bytes"]],
        Signal::Alert => &[&["severity", "type", "title", "message", "metric", "value", "threshold"]],
        Signal::Invocation => &[
            &["name", "parent", "cause", "outcome", "wall_ns", "queued_ns", "unattributed_ns"],
            &["guest_cpu_ns", "host_cpu_ns", "cpu_estimated"],
            COST,
            &["memory_bytes", "memory_peak_bytes", "input_bytes", "output_bytes"],
        ],
    }
}

/// The columns of an export, in order.
fn columns_of(signals: &[Signal]) -> Vec<&'static str> {
    let mut all = if signals.len() > 1 { vec![SIGNAL] } else { Vec::new() };
    let own = signals.iter().flat_map(|signal| columns(*signal)).flat_map(|part| part.iter());
    for column in HEAD.iter().chain(own) {
        if !all.contains(column) {
            all.push(column);
        }
    }
    all.extend([FIELDS, MORE]);
    all
}

/// Writes the head, and a line for each record.
pub(crate) fn write(export: &Export<'_>, walk: &mut Walk<'_>) -> Result<(), Broken> {
    let signals = export.what.signals();
    let mut rows = Rows::of(signals);
    rows.head(walk.buffer());
    for signal in signals {
        for source in export.sources {
            feed(walk, source, *signal, (signals.len() > 1).then_some(*signal), &mut rows)?;
        }
    }
    Ok(())
}

/// Lines of records, as an export has them.
#[derive(Debug)]
pub struct Rows {
    columns: Vec<&'static str>,
}

impl Rows {
    /// Of records of these signals.
    pub fn of(signals: &[Signal]) -> Self {
        Self { columns: columns_of(signals) }
    }

    /// Appends the line with the columns' names.
    pub fn head(&self, output: &mut Vec<u8>) {
        end_line(output, self.columns.join(",").as_bytes());
    }

    /// Appends the line of a record, given as its JSON object; where there are several signals it says in `signal` which one it is of.
    pub fn row(&self, mut record: Map<String, Value>, output: &mut Vec<u8>) {
        let fields = record.remove("fields").or_else(|| record.remove("labels"));
        for (index, column) in self.columns.iter().enumerate() {
            let value = match *column {
                FIELDS => fields.clone().unwrap_or_else(|| Value::Object(Map::new())),
                MORE => Value::Object(std::mem::take(&mut record)),
                column => taken(&mut record, column),
            };
            if index > 0 {
                output.push(b',');
            }
            put(output, &value);
        }
        end_line(output, b"");
    }
}

impl Take for Rows {
    fn take<T: Serialize>(&mut self, walk: &mut Walk<'_>, line: &Line<'_, T>) -> Result<(), Broken> {
        if let Value::Object(record) = serde_json::to_value(line)? {
            self.row(record, walk.buffer());
        }
        Ok(())
    }
}

/// Values of any kind as a table: JSON objects, whose columns are the names of all that they hold, in the order of the alphabet; nothing
/// at all of none.
pub fn table(values: &[Map<String, Value>]) -> Vec<u8> {
    let columns: BTreeSet<_> = values.iter().flat_map(Map::keys).collect();
    let mut output = Vec::new();
    if columns.is_empty() {
        return output;
    }
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            output.push(b',');
        }
        put_quoted(&mut output, &defused(column));
    }
    end_line(&mut output, b"");
    for value in values {
        for (index, column) in columns.iter().enumerate() {
            if index > 0 {
                output.push(b',');
            }
            put(&mut output, value.get(*column).unwrap_or(&Value::Null));
        }
        end_line(&mut output, b"");
    }
    output
}

fn end_line(output: &mut Vec<u8>, last: &[u8]) {
    output.extend_from_slice(last);
    output.extend_from_slice(b"\r\n");
}

/// Takes out what a column is of; null if there is none, or it is no single value.
fn taken(record: &mut Map<String, Value>, column: &str) -> Value {
    let Some((outer, inner)) = column.split_once('.') else {
        return record.remove(column).unwrap_or_default();
    };
    let Some(Value::Object(object)) = record.get_mut(outer) else { return Value::Null };
    let value = object.remove(inner).unwrap_or_default();
    if object.is_empty() {
        record.remove(outer);
    }
    value
}

fn put(line: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => {}
        Value::String(text) => put_quoted(line, &defused(text)),
        Value::Bool(_) | Value::Number(_) => line.extend_from_slice(value.to_string().as_bytes()),
        Value::Array(_) | Value::Object(_) => put_quoted(line, &value.to_string()),
    }
}

/// Text that no spreadsheet takes for a formula, see above. The last four are what East Asian keyboards have for the first. What is not seen, and quotation
/// marks, are passed over, as some readers do before they look for one.
fn defused(text: &str) -> Cow<'_, str> {
    let is_passed_over = |first: char| first == '"' || first.is_whitespace() || first.is_control() || is_hidden(first);
    let is_live =
        |first: char| matches!(first, '=' | '+' | '-' | '@' | '\'' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}');
    let starts_hidden = text.starts_with(|first: char| first.is_control());
    if starts_hidden || text.trim_start_matches(is_passed_over).starts_with(is_live) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A cell, in quotation marks if it needs them.
fn put_quoted(line: &mut Vec<u8>, text: &str) {
    if !text.contains(['"', ',', '\r', '\n']) {
        return line.extend_from_slice(text.as_bytes());
    }
    line.push(b'"');
    line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula_and_each_comes_back() {
        for text in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\t1",
            "\r=1",
            "\n=1",
            "\0=1",
            " =1",
            " \u{a0}\u{3000} +1",
            "\u{feff}=1",
            "\u{200b}\u{202e}=1",
            "\"=1\"",
            "\" \t@SUM(A1)",
            "'=1",
            "''",
            "＝1",
            "＋1",
            "－1",
            "＠SUM(A1)",
        ] {
            assert_eq!(defused(text), format!("'{text}"));
        }
        for text in ["plain", "", "a=1", " a", "\"a\"=1", "1-2", "é", "(=1)"] {
            assert_eq!(defused(text), text);
        }
    }

    #[test]
    fn numbers_stay_numbers_and_what_needs_quotation_marks_gets_them() {
        let check = |value: Value, expect: &str| {
            let mut line = Vec::new();
            put(&mut line, &value);
            assert_eq!(String::from_utf8(line).expect("UTF-8"), expect);
        };
        check((-5).into(), "-5");
        check(Value::from(-2.5), "-2.5");
        check("-5".into(), "'-5");
        check("a, \"b\"\r\nc".into(), "\"a, \"\"b\"\"\r\nc\"");
        check(serde_json::json!({"a": "=1"}), "\"{\"\"a\"\":\"\"=1\"\"}\"");
    }

    #[test]
    fn a_table_has_a_column_for_all_that_its_values_hold() {
        let value = |text: &str| serde_json::from_str(text).expect("an object");
        let table = table(&[value(r#"{"b":"=1","a":1}"#), value(r#"{"=c":[1,"x"],"a":null}"#)]);
        assert_eq!(super::table(&[]), b"");
        assert_eq!(String::from_utf8(table).expect("UTF-8"), "'=c,a,b\r\n,1,'=1\r\n\"[1,\"\"x\"\"]\",,\r\n");
    }

    #[test]
    fn columns_are_those_that_they_were() {
        let of = |signals: &[Signal]| columns_of(signals).join(",");
        assert_eq!(
            of(&[Signal::Log]),
            "extension,sequence,time,origin,cut,batched,trace_id,span_id,correlation_id,user,tenant,cursor,level,target,message,\
             source.file,source.line,guest_time,fields,more"
        );
        assert!(of(crate::What::All.signals()).starts_with("signal,extension,sequence,"));
        let all = columns_of(crate::What::All.signals());
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }
}
