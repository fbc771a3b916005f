//! Texts that only look like secrets stay as they are.

use super::{check, redactor};

#[test]
fn ordinary_telemetry_stays_as_it_is() {
    let redactor = redactor();
    for text in [
        "token bucket refilled",
        "password reset requested",
        "authored by Ada, authorized by Grace",
        "unexpected token: '}' at line 3",
        "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON",
        "tokens_used=512 token_count=3 token_type=bearer",
        "at app::password::verify (src/password.rs:12)",
        "order 4111111111111112 shipped",
        "id 1234567890123456",
        "stamp=1763774400000000000 next 1763774400123456789",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
        "x4111111111111111",
        "0.4111111111111111 and 4111111111111111.5",
        "4111-1111 1111-1111",
        "digest 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "550e8400-e29b-41d4-a716-446655440000",
        "https://example.com:8080/@scope/pkg?page=2#top",
        "ssh://git@example.com/repo.git",
        "a bearer token is needed, basic authentication is off",
        "keyboard=us cache_key=page:7 primary_key=3 monkey: see",
        "task-management-and-planning-2024 risk-assessment-of-the-year-2024",
        "session started; possessive; asia-northeast1-a; discard=3 wildcard: *",
        "pinned: 3, spinning=true, mapping: a, ping=12ms",
        "password=null token: none secret=\"\" pwd='***' has_password=true",
        "SELECT * FROM users WHERE password = ? AND token = $1",
        "user identified by its number",
        "mail from ada@example.com",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "eyJ is how it starts",
        "",
    ] {
        check(&redactor, text, text);
    }
}

#[test]
fn what_nearly_all_logs_look_like_is_not_suspect() {
    let redactor = redactor();
    for text in [
        "request served from the cache of rendered pages route=/docs/getting-started status=200 GET 3.25ms",
        "rendered 14 headings and 3 tables of guide/index.md in eu-central-1 at 2026-11-22T01:46:10Z",
        "authored by Ada, and nothing more",
        "began at 1763774400000000000, ended at 1763774400123456789",
    ] {
        assert!(!redactor.is_suspect(text.as_bytes()), "{text}");
    }
}
