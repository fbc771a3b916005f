//! What a collector's answer means: taken, to be tried again later, or refused for good.

use std::time::Duration;

use glasshouse_export::Encoding;
use glasshouse_model::config::Secrets;
use glasshouse_model::text::visible;
use prost::Message as _;
use serde_json::Value;

/// Characters of what a collector says that are told.
const MESSAGE: usize = 300;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was taken, and is never sent again.
    Accepted {
        /// Records of it that were not taken all the same.
        rejected: u64,
        /// What the collector had to say.
        message: String,
        /// Whether the answer was none of the protocol's, so that who gave it may be no collector.
        is_odd: bool,
    },
    /// It was not taken now.
    Later {
        /// How long the collector asked to be left in peace.
        after: Option<Duration>,
        /// Why.
        why: String,
    },
    /// The collector says that it is larger than it takes, as far as such words are known; parts of it may not be.
    TooLarge {
        /// Why.
        why: String,
    },
    /// It is never taken.
    Refused {
        /// Why.
        why: String,
    },
}

/// `ExportLogsServiceResponse` and its like, which are alike.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Status {
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Seconds>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct Seconds {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Status {
    /// How long the collector asks to wait, if it does.
    pub(crate) fn retry_delay(&self) -> Option<Duration> {
        let of_type = |any: &&Any| any.type_url.rsplit('/').next() == Some("google.rpc.RetryInfo");
        let info = RetryInfo::decode(&self.details.iter().find(of_type)?.value[..]).ok()?;
        let Seconds { seconds, nanos } = info.retry_delay.unwrap_or_default();
        Some(Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0).min(999_999_999)))
    }
}

/// What gRPC says of a message that is too large, for which it has no status: in Go and C++ (also of one that is so once it is decompressed), Java, .NET and Rust.
const TOO_LARGE_GRPC: [&str; 5] = [
    "received message larger than max",
    "received message after decompression larger than max",
    "grpc message exceeds maximum size",
    "received message exceeds the maximum configured message size",
    "decoded message length too large",
];
/// What collectors over HTTP say that answer 400 where 413 is meant: Go's.
const TOO_LARGE_HTTP: [&str; 1] = ["http: request body too large"];

/// Whether what is said of a call that was not taken is that its message is too large. Nothing else is: what has no room for other reasons would not have it in parts either.
pub(crate) fn is_too_large_for_grpc(said: &str) -> bool {
    says(said, &TOO_LARGE_GRPC)
}

/// The same of a request over HTTP.
pub(crate) fn is_too_large_for_http(said: &str) -> bool {
    says(said, &TOO_LARGE_HTTP)
}

fn says(said: &str, words: &[&str]) -> bool {
    let said = said.to_ascii_lowercase();
    words.iter().any(|words| said.contains(words))
}

/// What the answer to a request that was taken says; `None` is one that could not be read.
pub(crate) fn accepted(body: Option<&[u8]>, encoding: Encoding, secrets: &Secrets) -> Verdict {
    let answer = body.and_then(|body| match encoding {
        Encoding::Protobuf => ExportResponse::decode(body).ok(),
        Encoding::Json => of_json(body),
    });
    let is_odd = answer.is_none();
    let partial = answer.and_then(|answer| answer.partial_success);
    let PartialSuccess { rejected, error_message } = partial.unwrap_or_default();
    Verdict::Accepted {
        rejected: u64::try_from(rejected).unwrap_or(0),
        message: visible(&secrets.scrub(&error_message), MESSAGE).into_owned(),
        is_odd,
    }
}

/// The same of JSON, whose names differ from service to service and whose numbers may be texts.
fn of_json(body: &[u8]) -> Option<ExportResponse> {
    if body.is_empty() {
        return Some(ExportResponse::default());
    }
    let answer: Value = serde_json::from_slice(body).ok()?;
    let Some(partial) = answer.as_object()?.get("partialSuccess").and_then(Value::as_object) else {
        return Some(ExportResponse::default());
    };
    let rejected = ["rejectedLogRecords", "rejectedDataPoints", "rejectedSpans"].iter().find_map(|key| {
        let number = partial.get(*key)?;
        number.as_i64().or_else(|| number.as_str()?.parse().ok())
    });
    let error_message = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default().to_owned();
    let rejected = rejected.unwrap_or_default();
    Some(ExportResponse { partial_success: Some(PartialSuccess { rejected, error_message }) })
}

/// What a refusal over HTTP says: a `Status` in the request's encoding, or else what may be text.
pub(crate) fn message_of(body: &[u8], encoding: Encoding, secrets: &Secrets) -> String {
    let message = match encoding {
        Encoding::Protobuf => Status::decode(body).ok().map(|status| status.message),
        Encoding::Json => serde_json::from_slice::<Value>(body)
            .ok()
            .and_then(|value| Some(value.get("message")?.as_str()?.to_owned())),
    };
    let text = message.filter(|text| !text.is_empty()).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    visible(&secrets.scrub(text.trim()), MESSAGE).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: Option<&[u8]>, encoding: Encoding, expect: (u64, &str, bool)) {
        let (rejected, message, is_odd) = expect;
        let expect = Verdict::Accepted { rejected, message: message.to_owned(), is_odd };
        assert_eq!(accepted(body, encoding, &Secrets::default()), expect, "{body:?}");
    }

    #[test]
    fn what_was_not_taken_of_a_request_is_read_from_both_encodings() {
        let full = ExportResponse {
            partial_success: Some(PartialSuccess { rejected: 3, error_message: "too\nold".to_owned() }),
        };
        check(Some(&full.encode_to_vec()), Encoding::Protobuf, (3, "too\\nold", false));
        check(Some(b""), Encoding::Protobuf, (0, "", false));
        check(Some(b"<html>"), Encoding::Protobuf, (0, "", true));
        check(None, Encoding::Protobuf, (0, "", true));
        for number in ["3", "\"3\""] {
            let json = format!("{{\"partialSuccess\": {{\"rejectedSpans\": {number}, \"errorMessage\": \"no\"}}}}");
            check(Some(json.as_bytes()), Encoding::Json, (3, "no", false));
        }
        check(Some(b"{}"), Encoding::Json, (0, "", false));
        check(Some(b"[]"), Encoding::Json, (0, "", true));
        check(Some(b"{\"partialSuccess\": {\"rejectedSpans\": -1}}"), Encoding::Json, (0, "", false));
    }

    #[test]
    fn that_a_request_is_too_large_is_understood_from_all_who_say_so() {
        for said in [
            "grpc: received message larger than max (5000000 vs. 4194304)",
            "Received message larger than max (5000000 vs. 4194304)",
            "gRPC message exceeds maximum size 4194304: 5000000",
            "Received message exceeds the maximum configured message size.",
            "Error, decoded message length too large: found 5000000 bytes, the limit is: 4194304 bytes",
            "grpc: received message after decompression larger than max 4194304",
        ] {
            assert!(is_too_large_for_grpc(said) && !is_too_large_for_http(said), "{said}");
        }
        let said = "http: request body too large";
        assert!(is_too_large_for_http(said) && !is_too_large_for_grpc(said), "{said}");
        for said in [
            "",
            "quota exceeded",
            "too many requests",
            "timestamp out of range",
            "the rate of this tenant exceeds the maximum",
            "attribute value length too large",
            "the series' label is larger than max",
        ] {
            assert!(!is_too_large_for_grpc(said) && !is_too_large_for_http(said), "{said}");
        }
    }

    #[test]
    fn a_delay_that_is_asked_for_is_read_and_nonsense_is_none() {
        let status = |type_url: &str, seconds, nanos| {
            let value = RetryInfo { retry_delay: Some(Seconds { seconds, nanos }) }.encode_to_vec();
            Status { message: String::new(), details: vec![Any { type_url: type_url.to_owned(), value }] }.retry_delay()
        };
        let url = "type.googleapis.com/google.rpc.RetryInfo";
        assert_eq!(status(url, 2, 500_000_000), Some(Duration::from_millis(2500)));
        assert_eq!(status(url, -2, -1), Some(Duration::ZERO));
        assert_eq!(status("type.googleapis.com/google.rpc.DebugInfo", 2, 0), None);
    }
}
