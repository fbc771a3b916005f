//! The protocol over HTTP/1.1: which answer means what.

use std::time::{Duration, SystemTime};

use glasshouse_export::Encoding;
use glasshouse_model::config::Secrets;
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper::http::StatusCode;

use crate::answer::{self, Verdict};

/// What an answer means. `body` is `None` where it could not be read as a whole. What it says is told without secrets.
pub(crate) fn verdict(
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<&[u8]>,
    encoding: Encoding,
    secrets: &Secrets,
) -> Verdict {
    if status.is_success() {
        return answer::accepted(body, encoding, secrets);
    }
    let said = body.map(|body| answer::message_of(body, encoding, secrets)).filter(|said| !said.is_empty());
    let said = said.map_or_else(String::new, |said| format!(": {said}"));
    let why = format!("it answered {status}{said}");
    match status.as_u16() {
        429 | 502 | 503 | 504 => Verdict::Later { after: retry_after(headers), why },
        413 => Verdict::TooLarge { why },
        400 if answer::is_too_large_for_http(&said) => Verdict::TooLarge { why },
        300..=399 => Verdict::Refused {
            why: format!("{why}; it points elsewhere, where nobody follows: name the place itself as the endpoint"),
        },
        _ => Verdict::Refused { why },
    }
}

/// How long the server asks to wait: seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // More than fits is as long as may be.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, retry_after: Option<&str>, expect: &str) {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        let said = if retry_after == Some("body") { &b"http: request body too large"[..] } else { b"" };
        let found = match verdict(status, &headers, Some(said), Encoding::Protobuf, &Secrets::default()) {
            Verdict::Accepted { .. } => "accepted".to_owned(),
            Verdict::Refused { .. } => "refused".to_owned(),
            Verdict::TooLarge { .. } => "too large".to_owned(),
            Verdict::Later { after: None, .. } => "later".to_owned(),
            Verdict::Later { after: Some(after), .. } => format!("in {after:?}"),
        };
        assert_eq!(found, expect, "{status} {retry_after:?}");
    }

    #[test]
    fn only_what_the_specification_names_is_tried_again() {
        check(200, None, "accepted");
        check(202, None, "accepted");
        for status in [429, 502, 503, 504] {
            check(status, None, "later");
        }
        for status in [301, 307, 400, 401, 403, 404, 408, 500, 501, 505] {
            check(status, Some("1"), "refused");
        }
        check(413, None, "too large");
        check(400, Some("body"), "too large");
        check(401, Some("body"), "refused");
        check(503, Some("7"), "in 7s");
        check(429, Some("99999999999999999999999"), &format!("in {:?}", Duration::from_secs(u64::MAX)));
        check(429, Some("Thu, 01 Jan 1998 00:00:00 GMT"), "in 0ns");
        // Of a date that is to come, what is left until then.
        let date = SystemTime::now() + Duration::from_hours(24 * 365);
        let headers = [(RETRY_AFTER, httpdate::fmt_http_date(date).parse().expect("a value"))].into_iter().collect();
        let left = retry_after(&headers).expect("it asks for some time");
        assert!(left > Duration::from_hours(24 * 364) && left <= Duration::from_hours(24 * 365), "{left:?}");
        check(429, Some("soon"), "later");
        check(429, Some("-1"), "later");
    }
}
