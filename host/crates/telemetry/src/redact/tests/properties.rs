//! Properties that hold for any text and any record.

use glasshouse_model::settings::Redaction;
use glasshouse_model::wire::{self, Field, KIND_LOG, Value};
use glasshouse_model::{Level, limits};
use proptest::prelude::*;

use crate::redact::Redactor;

/// What secrets are made of, and what is around them.
const PARTS: &[&str] = &[
    "password",
    "Token",
    "API_KEY",
    "pin",
    "secret",
    "cookie",
    "Authorization",
    "session id",
    "sid",
    "api",
    "key",
    "=",
    ":",
    ": ",
    "\"",
    "'",
    "\\\"",
    "\\",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    " ",
    "\n",
    "&",
    ";",
    "://",
    "@",
    "user",
    "host.com",
    "4111111111111111",
    "4111 1111 1111 1111",
    "37828224631000",
    "5",
    "1234567",
    "-",
    "_",
    ".",
    "eyJhbGciOiJIUzI1NiJ9",
    "eyJzdWIiOiIxIn0",
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_R4nd0mCh4r4ctersR4nd0m",
    "sk-R4nd0mCh4r4ctersR4nd0m",
    "Bearer ",
    "Basic ",
    "dXNlcjpwYXNz",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "insert into t (",
    " values (",
    "identified by ",
    "set password for ",
    "[redacted]",
    "true",
    "null",
    "é",
    "x",
    "%3D",
    "--",
    "<",
    ">",
    "acct-1234",
];

const NAMES: &[&str] = &["password", "PASSWD", "apiKey", "API_KEY", "x-api-key", "session_id", "Auth-Token", "pin"];

pub(in crate::redact) fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![4 => prop::sample::select(PARTS).prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec((part, 0..3_u8), 0..14).prop_map(|parts| {
        let cased = parts.into_iter().map(|(part, case)| match case {
            0 => part.to_uppercase(),
            1 => part.to_lowercase(),
            _ => part,
        });
        cased.collect()
    })
}

fn strict() -> Redactor {
    let patterns = vec!["acct-[0-9]{4}".to_owned()];
    Redactor::new(&Redaction { email: true, patterns, ..Redaction::default() }).expect("good settings")
}

fn value() -> impl Strategy<Value = (u8, String, i64)> {
    (0..4_u8, text(), any::<i64>())
}

fn encode(target: &str, message: &str, fields: &[(String, (u8, String, i64))]) -> Vec<u8> {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, (kind, text, number))| {
            let value = match kind {
                0 => Value::Text(text),
                1 => Value::Integer(*number),
                2 => Value::Float(*number as f64),
                _ => Value::Boolean(*number > 0),
            };
            Field { name, value }
        })
        .collect();
    let log = wire::Log { level: Level::Info, target, message: "", source: None, time: None };
    let mut body = Vec::new();
    wire::write_log(&mut body, &log, format_args!("{message}"), &fields);
    body
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_second_time_changes_nothing(text in text()) {
        for redactor in [strict(), super::redactor()] {
            let once = redactor.redact_text(&text).into_owned();
            prop_assert_eq!(redactor.redact_text(&once), once.as_str());
            prop_assert!(once == text || redactor.is_suspect(text.as_bytes()));
        }
    }

    #[test]
    fn a_record_stays_one_and_was_suspect_if_it_changes(
        target in text(), message in text(), fields in prop::collection::vec((text(), value()), 0..5),
    ) {
        let redactor = strict();
        let body = encode(&target, &message, &fields);
        if let Some(clean) = redactor.redact_record(KIND_LOG, &body) {
            prop_assert!(redactor.is_suspect(&body));
            prop_assert!(clean.len() <= body.len().max(limits::RECORD_BYTES));
            let Ok(wire::Record::Log(_, found)) = wire::decode(KIND_LOG, &clean) else { panic!("no log") };
            prop_assert_eq!(found.len(), fields.len());
            prop_assert_eq!(redactor.redact_record(KIND_LOG, &clean), None);
        }
    }

    #[test]
    fn a_planted_secret_is_gone(before in "[ -~]{0,300}", name in prop::sample::select(NAMES)) {
        let text = format!("{before}\n{name}=c4n4ry");
        let clean = strict().redact_text(&text).into_owned();
        prop_assert!(!clean.contains("c4n4ry"), "{clean}");
    }
}

#[test]
fn hostile_text_grows_by_a_bounded_factor() {
    let redactor = strict();
    for part in [
        "\"password\":",
        "://",
        "://a:b/",
        "-----BEGIN PRIVATE KEY",
        "4",
        "4111 ",
        "\\",
        "password=\\",
        "\\\"pin\\\",\\\"",
        "pin=[",
        "(pin ",
        "into (pin ",
        "into (pin,)values(",
        "-eyJaaaaaaaa",
        "eyJaaaaaaaaaaaaaaaa.",
        "pass-",
        "pass ",
        "a@a.aa",
        "identified by ",
        "password for ",
        "(\"pin\",'",
        "pPASStOKENpIN",
    ] {
        let text = part.repeat(64 * 1024 / part.len());
        let clean = redactor.redact_text(&text);
        assert!(clean.len() < 4 * text.len() + 100, "{part}");
        assert_eq!(redactor.redact_text(&clean), clean, "{part}");
    }
}
