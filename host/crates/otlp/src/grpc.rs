//! The protocol over gRPC: a unary call over HTTP/2, whose message has five bytes before it and whose outcome comes last.
//!
//! From gRPC's "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping", and OpenTelemetry's "OTLP/gRPC". The crate that does all of gRPC brings
//! five others; of all that, this is what one kind of call needs.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use glasshouse_export::Encoding;
use glasshouse_model::config::{OtlpService, Secrets};
use glasshouse_model::text::{percent_decoded, visible};
use hyper::header::HeaderMap;
use hyper::http::StatusCode;
use prost::Message as _;

use crate::answer::{self, Status, Verdict};

/// Bytes before a message: whether it is compressed, and how long it is.
const PREFIX: usize = 5;

/// The path of a service's calls.
pub(crate) fn path(service: OtlpService) -> &'static str {
    match service {
        OtlpService::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        OtlpService::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        OtlpService::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    }
}

/// A message as it goes over the wire.
pub(crate) fn framed(message: &[u8], is_compressed: bool) -> Vec<u8> {
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.push(u8::from(is_compressed));
    // A request is bounded to some megabytes.
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// What an answer means; `trailers` are what came after its body, or its headers where there was none. `None` is what could not be read as
/// a whole. What it says is told without secrets.
pub(crate) fn verdict(
    status: StatusCode,
    headers: &HeaderMap,
    body: Option<&[u8]>,
    trailers: Option<&HeaderMap>,
    secrets: &Secrets,
) -> Verdict {
    let is_grpc = headers
        .get(hyper::header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/grpc"));
    if status != StatusCode::OK || !is_grpc {
        let why = format!("it answered {status} and no gRPC: is otlp.protocol what the endpoint speaks?");
        return match status.as_u16() {
            429 | 502 | 503 | 504 => Verdict::Later { after: None, why },
            413 => Verdict::TooLarge { why: format!("it answered {status}") },
            _ => Verdict::Refused { why },
        };
    }
    let told = |key: &str| trailers.and_then(|all| all.get(key)).or_else(|| headers.get(key));
    let Some(code) = told("grpc-status").and_then(|code| code.to_str().ok()?.parse::<u32>().ok()) else {
        // The connection broke before the outcome.
        return Verdict::Later {
            after: None,
            why: "its answer ended before it said what became of the request".to_owned(),
        };
    };
    if code == 0 {
        return answer::accepted(body.and_then(message), Encoding::Protobuf, secrets);
    }
    let details = told("grpc-status-details-bin").and_then(|details| {
        let text = details.as_bytes();
        let bytes = STANDARD_NO_PAD.decode(text).or_else(|_| STANDARD.decode(text)).ok()?;
        Status::decode(&bytes[..]).ok()
    });
    let said = told("grpc-message").map(|text| percent_decoded(text.as_bytes())).unwrap_or_default();
    let why = format!(
        "it answered {} ({code}){}{}",
        name(code),
        if said.is_empty() { "" } else { ": " },
        visible(&secrets.scrub(&said), 300)
    );
    let after = details.and_then(|status| status.retry_delay());
    match code {
        // Resource exhausted, or out of range: the one or the other where a message is too large, which it still is later.
        8 | 11 if after.is_none() && answer::is_too_large_for_grpc(&said) => Verdict::TooLarge { why },
        // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
        1 | 4 | 10 | 11 | 14 | 15 => Verdict::Later { after, why },
        // Of what it has no room for now, it says when to come again.
        8 if after.is_some() => Verdict::Later { after, why },
        _ => Verdict::Refused { why },
    }
}

/// The message of a body that is a whole one and not compressed, which nobody asked for.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = body.split_first_chunk::<PREFIX>()?;
    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
    (prefix[0] == 0 && message.len() == length).then_some(message)
}

fn name(code: u32) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    NAMES.get(code as usize).copied().unwrap_or("a status of its own")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `google.rpc.Status` with a `RetryInfo` of three seconds.
    const RETRY_IN_3: &str = "CAgaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIAw";

    fn check(
        status: u16,
        headers: &[(&'static str, &str)],
        trailers: &[(&'static str, &str)],
        body: &[u8],
        expect: &str,
    ) {
        let map = |pairs: &[(&'static str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| (key.parse().expect("a name"), value.parse().expect("a value")))
                .collect::<HeaderMap>()
        };
        let status = StatusCode::from_u16(status).expect("a status");
        let found = match verdict(status, &map(headers), Some(body), Some(&map(trailers)), &Secrets::default()) {
            Verdict::Accepted { is_odd, rejected, .. } => format!("accepted {rejected} {is_odd}"),
            Verdict::Refused { why } => format!("refused {why}"),
            Verdict::TooLarge { why } => format!("too large {why}"),
            Verdict::Later { after, .. } => format!("later {after:?}"),
        };
        assert!(found.starts_with(expect), "{found} is not {expect}");
    }

    #[test]
    fn only_the_codes_of_the_specification_are_tried_again() {
        const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");
        for code in 1..=17 {
            let expect = if [1, 4, 10, 11, 14, 15].contains(&code) { "later None" } else { "refused" };
            check(200, &[GRPC], &[("grpc-status", &code.to_string())], b"", expect);
            // Without a body the outcome is among the headers.
            check(200, &[GRPC, ("grpc-status", &code.to_string())], &[], b"", expect);
        }
        for code in ["8", "14"] {
            let trailers = [("grpc-status", code), ("grpc-status-details-bin", RETRY_IN_3)];
            check(200, &[GRPC], &trailers, b"", "later Some(3s)");
        }
        check(
            200,
            &[GRPC],
            &[("grpc-status", "3"), ("grpc-message", "a%20b%")],
            b"",
            "refused it answered INVALID_ARGUMENT (3): a b%",
        );
        let large = ("grpc-message", "grpc: received message larger than max (9 vs. 4)");
        for code in ["8", "11"] {
            check(200, &[GRPC], &[("grpc-status", code), large], b"", "too large it answered");
            let asked = [("grpc-status", code), large, ("grpc-status-details-bin", RETRY_IN_3)];
            check(200, &[GRPC], &asked, b"", "later Some(3s)");
        }
        check(200, &[GRPC], &[("grpc-status", "3"), large], b"", "refused");
        check(413, &[], &[], b"", "too large");
        check(200, &[GRPC], &[], b"", "later None");
        check(200, &[GRPC], &[("grpc-status", "0")], b"\0\0\0\0\0", "accepted 0 false");
        check(200, &[GRPC], &[("grpc-status", "0")], b"\0\0\0\0\x04\x0a\x02\x08\x05", "accepted 5 false");
        check(200, &[GRPC], &[("grpc-status", "0")], b"\0\0\0\0\x09\x0a", "accepted 0 true");
        check(200, &[("content-type", "text/html")], &[("grpc-status", "0")], b"", "refused");
        check(503, &[], &[], b"", "later None");
        check(404, &[GRPC], &[], b"", "refused");
    }
}
