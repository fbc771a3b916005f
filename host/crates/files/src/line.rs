//! A line of a log file: what it says, and how it is written, for people and as JSON.

use std::fmt::Write as _;

use glasshouse_export::records::{FieldList, FieldValue};
use glasshouse_model::text::{is_hidden, visible};
use glasshouse_model::{Level, Origin, UnixNanos};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::tiers::Tiers;

/// What there is to say. All text may be a guest's, but for the name of its extension.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) time: UnixNanos,
    pub(crate) level: Level,
    /// The extension, or the host's own name.
    pub(crate) extension: String,
    pub(crate) origin: Origin,
    /// What tells it from all others of its extension, such as `logs:17`.
    pub(crate) id: String,
    /// Whose work it belongs to; nobody's where there is none.
    pub(crate) work: Option<Work>,
    pub(crate) logger: String,
    pub(crate) message: String,
    /// The source file, or the module.
    pub(crate) module: Option<String>,
    pub(crate) function: Option<String>,
    /// The line of that file.
    pub(crate) at: Option<u32>,
    /// The thread of the host that said it; what extensions say is told by their tasks.
    pub(crate) thread: Option<String>,
    /// What the host adds: under a key of its own, so that no field can take its place.
    pub(crate) details: Vec<(&'static str, FieldValue)>,
    pub(crate) fields: FieldList,
    pub(crate) tiers: Tiers,
}

/// The invocation that a line belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// The correlation id.
    pub(crate) request: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) user: Option<String>,
    pub(crate) tenant: Option<String>,
}

impl Line {
    /// What does the work: the extension and the request, or the host and its thread.
    fn task(&self) -> String {
        let of = self.work.as_ref().map(|work| &work.request).or(self.thread.as_ref());
        format!("{}/{}", self.extension, of.map_or("-", String::as_str))
    }

    /// Appends the line as people read it, with its end. It is one line whatever a guest wrote, and its first five words are the host's.
    pub(crate) fn write_text(&self, out: &mut String) {
        let _ = write!(out, "{} {:<8} ", self.time, self.level);
        put_word(out, &self.task());
        let _ = write!(out, " {} {} ", self.origin, self.id);
        put_word(out, &self.logger);
        out.push_str(": ");
        out.push_str(&visible(&self.message, usize::MAX));
        let details = self.details.iter().map(|(name, value)| (*name, value));
        let fields = self.fields.0.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in details.chain(fields) {
            out.push(' ');
            put_word(out, name);
            out.push('=');
            match value {
                FieldValue::Text(text) => put_word(out, text),
                FieldValue::Integer(value) => drop(write!(out, "{value}")),
                FieldValue::Float(value) => drop(write!(out, "{value}")),
                FieldValue::Boolean(value) => drop(write!(out, "{value}")),
            }
        }
        out.push('\n');
    }

    /// Appends the line as JSON, with its end. All keys are there in each line; those below `fields` are the guest's, all others the host's.
    pub(crate) fn write_json(&self, out: &mut String) {
        let text = |name: &str| match self.fields.get(name) {
            Some(FieldValue::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let work = self.work.as_ref();
        let structured = Structured {
            timestamp: self.time.to_string(),
            level: self.level.as_str(),
            logger: &self.logger,
            message: &self.message,
            module: self.module.as_deref(),
            function: self.function.as_deref().or_else(|| text("code.function.name")),
            line: self.at,
            task: self.task(),
            thread: self.thread.as_deref(),
            process_id: std::process::id(),
            request: Request {
                id: work.map(|work| work.request.as_str()),
                url: text("url.full"),
                method: text("http.request.method"),
                endpoint: text("http.route").or_else(|| text("url.path")),
                remote_addr: text("client.address").or_else(|| text("network.peer.address")),
                user_agent: text("user_agent.original"),
            },
            user: User { id: work.and_then(|work| work.user.as_deref()), username: text("user.name") },
            id: &self.id,
            extension: &self.extension,
            origin: self.origin.as_str(),
            trace_id: work.map(|work| work.trace_id.as_str()),
            span_id: work.map(|work| work.span_id.as_str()),
            tenant: work.and_then(|work| work.tenant.as_deref()),
            details: Details(&self.details),
            fields: &self.fields,
        };
        // Text and numbers always are JSON.
        let json = serde_json::to_string(&structured).unwrap_or_default();
        // In JSON, what is hidden stands in texts only. Some of it would still reach a terminal, or end a line for some readers.
        if json.chars().any(is_hidden) {
            for character in json.chars() {
                if is_hidden(character) {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                } else {
                    out.push(character);
                }
            }
        } else {
            out.push_str(&json);
        }
        out.push('\n');
    }
}

/// Appends foreign text as one word, in quotes where it would be several.
fn put_word(out: &mut String, text: &str) {
    let shown = visible(text, usize::MAX);
    let is_word = |character: char| !character.is_whitespace() && !matches!(character, '"' | '=');
    if !shown.is_empty() && shown.chars().all(is_word) {
        out.push_str(&shown);
        return;
    }
    out.push('"');
    for character in shown.chars() {
        if character == '"' {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[derive(Serialize)]
struct Structured<'a> {
    timestamp: String,
    level: &'a str,
    logger: &'a str,
    message: &'a str,
    module: Option<&'a str>,
    function: Option<&'a str>,
    line: Option<u32>,
    task: String,
    thread: Option<&'a str>,
    process_id: u32,
    request: Request<'a>,
    user: User<'a>,
    id: &'a str,
    extension: &'a str,
    origin: &'a str,
    trace_id: Option<&'a str>,
    span_id: Option<&'a str>,
    tenant: Option<&'a str>,
    details: Details<'a>,
    fields: &'a FieldList,
}

#[derive(Serialize)]
struct Request<'a> {
    id: Option<&'a str>,
    url: Option<&'a str>,
    method: Option<&'a str>,
    endpoint: Option<&'a str>,
    remote_addr: Option<&'a str>,
    user_agent: Option<&'a str>,
}

#[derive(Serialize)]
struct User<'a> {
    id: Option<&'a str>,
    username: Option<&'a str>,
}

struct Details<'a>(&'a [(&'static str, FieldValue)]);

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn line(logger: &str, message: &str, fields: &[(&str, &str)]) -> Line {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), FieldValue::Text((*value).to_owned()));
        Line {
            time: UnixNanos(1_795_358_417_123_456_789),
            level: Level::Info,
            extension: "shop".into(),
            origin: Origin::Guest,
            id: "logs:7".into(),
            work: Some(Work {
                request: "order-1".into(),
                trace_id: "0".repeat(32),
                span_id: "0".repeat(16),
                user: Some("ada".into()),
                tenant: None,
            }),
            logger: logger.into(),
            message: message.into(),
            module: Some("src/shop.rs".into()),
            function: None,
            at: Some(12),
            thread: None,
            details: vec![("level", FieldValue::Text("of the host".into()))],
            fields: FieldList(fields.iter().map(text).collect()),
            tiers: Tiers::of_level(Level::Info),
        }
    }

    fn text_of(line: &Line) -> String {
        let mut text = String::new();
        line.write_text(&mut text);
        text
    }

    fn json_of(line: &Line) -> (String, serde_json::Value) {
        let mut json = String::new();
        line.write_json(&mut json);
        let value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        (json, value)
    }

    #[test]
    fn a_line_of_text_has_time_level_task_origin_id_logger_message_and_fields() {
        assert_eq!(
            text_of(&line("shop::orders", "an order came", &[("items", "3"), ("of", "a \"friend\""), ("none", "")])),
            "2026-11-22T14:40:17.123456789Z info     shop/order-1 guest logs:7 shop::orders: an order came \
             level=\"of the host\" items=3 of=\"a \\\"friend\\\"\" none=\"\"\n"
        );
    }

    #[test]
    fn a_line_of_json_has_the_same_keys_whatever_it_says() {
        let fields = [
            ("level", "critical"),
            ("request", "mine"),
            ("http.request.method", "GET"),
            ("url.full", "https://example.com/a?b"),
            ("http.route", "/a"),
            ("network.peer.address", "10.0.0.1"),
            ("user_agent.original", "curl"),
            ("user.name", "Ada"),
        ];
        let (_, json) = json_of(&line("shop", "asked", &fields));
        let keys: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
        let (_, bare) = json_of(&line("", "", &[]));
        assert_eq!(keys, bare.as_object().expect("an object").keys().cloned().collect::<Vec<_>>());
        assert_eq!(
            (json["timestamp"].as_str(), json["level"].as_str()),
            (Some("2026-11-22T14:40:17.123456789Z"), Some("info"))
        );
        assert_eq!(json["fields"]["level"], "critical");
        assert_eq!(json["details"]["level"], "of the host");
        assert_eq!(json["process_id"], std::process::id());
        assert_eq!((json["module"].as_str(), json["line"].as_u64()), (Some("src/shop.rs"), Some(12)));
        let request = serde_json::json!({
            "id": "order-1", "url": "https://example.com/a?b", "method": "GET", "endpoint": "/a",
            "remote_addr": "10.0.0.1", "user_agent": "curl",
        });
        assert_eq!(json["request"], request);
        assert_eq!(json["user"], serde_json::json!({"id": "ada", "username": "Ada"}));
    }

    proptest! {
        #[test]
        fn whatever_a_guest_writes_is_one_line_without_a_control_character(
            logger in any::<String>(), message in any::<String>(), name in any::<String>(), value in any::<String>(),
            paint in "[\u{1b}\u{9b}\u{7}\r\n\u{85}\u{2028}\u{202e}\"\\\\= a]{0,12}",
        ) {
            let line = line(&(logger + &paint), &(message + &paint), &[(&(name + &paint), &(value.clone() + &paint))]);
            let (json, read) = json_of(&line);
            for text in [text_of(&line), json] {
                let inner = text.strip_suffix('\n').expect("it ends");
                prop_assert!(!inner.chars().any(is_hidden), "{:?}", inner);
            }
            prop_assert_eq!(read["message"].as_str(), Some(line.message.as_str()));
            prop_assert_eq!(read["logger"].as_str(), Some(line.logger.as_str()));
            let text = text_of(&line);
            let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).take(5).collect();
            prop_assert_eq!(words, ["2026-11-22T14:40:17.123456789Z", "info", "shop/order-1", "guest", "logs:7"]);
        }
    }
}
