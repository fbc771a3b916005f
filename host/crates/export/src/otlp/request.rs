//! Requests: what is pushed to a collector, a bounded part of one signal of one extension at a time.
//!
//! `ExportLogsServiceRequest` and its like have the fields of `LogsData` and its like, so a request is a message of a file.

use glasshouse_model::{Signal, UnixNanos};
use glasshouse_telemetry::{Entry, Gap};
use serde::Serialize;

use super::metrics::Starts;
use super::{logs, metrics, nanos, resource, traces};
use crate::Source;
use crate::walk::Found;

glasshouse_model::wire::byte_enum! {
    /// How a request is written.
    Encoding {
        /// In protobuf.
        Protobuf = 0 "protobuf",
        /// As JSON.
        Json = 1 "json",
    }
}

/// A part of what is stored that is to be pushed.
#[derive(Clone, Copy)]
pub struct Portion<'a> {
    /// Of which extension.
    pub source: &'a Source,
    /// Which signal.
    pub signal: Signal,
    /// The sequence number of its first record.
    pub from: u64,
    /// Where what was pushed before ended: its sums go on from there. `None` if nothing was.
    pub since: Option<UnixNanos>,
    /// Records, at most.
    pub records: usize,
    /// Bytes of the request, at most, unless it has a single record.
    pub bytes: usize,
    /// How it is written.
    pub encoding: Encoding,
}

/// A request, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The message; empty if nothing of it has a place in the protocol.
    pub body: Vec<u8>,
    /// Records in it.
    pub records: u64,
    /// Records that have no place in the protocol, such as spans that belong to no trace, or are damaged.
    pub left_out: u64,
    /// The sequence number to go on from.
    pub next: u64,
    /// Where it ends, for the start of the sums after it.
    pub until: Option<UnixNanos>,
    /// What was to be pushed as well, and is not there any more.
    pub gaps: Vec<Gap>,
}

impl Portion<'_> {
    /// Reads and writes it. Blocks while it reads.
    pub fn request(&self) -> Request {
        let mut records = self.records.max(1);
        loop {
            let request = self.up_to(records);
            let taken = (request.records + request.left_out) as usize;
            if request.body.len() <= self.bytes || taken <= 1 {
                return request;
            }
            // As many as are likely to fit; fewer each time.
            let fitting = taken.saturating_mul(self.bytes) / request.body.len();
            records = fitting.clamp(1, taken - 1);
        }
    }

    fn up_to(&self, records: usize) -> Request {
        let page = self.source.reader(self.signal).page(self.from, records);
        // What is written of a record is seldom shorter than what is stored of it.
        let mut bytes = 0_usize;
        let fitting = page.entries.iter().position(|entry| {
            let is_over = bytes > 0 && bytes + entry.bytes() > self.bytes;
            bytes += entry.bytes();
            is_over
        });
        let taken = &page.entries[..fitting.unwrap_or(page.entries.len())];
        let next = fitting.map_or(page.next_sequence, |at| page.entries[at].sequence());
        let gaps: Vec<_> = page.gaps.into_iter().filter(|gap| gap.first < next).collect();
        let last = taken.iter().map(Entry::time).chain(self.since).max();
        let mut request = Request { next, until: last, gaps, ..Request::default() };
        match self.signal {
            Signal::Log | Signal::Error | Signal::Alert => self.logs(taken, &mut request),
            Signal::Metric => self.metrics(taken, &mut request),
            Signal::Span | Signal::Invocation => self.spans(taken, &mut request),
        }
        request.left_out = taken.len() as u64 - request.records;
        request
    }

    fn logs(&self, entries: &[Entry], request: &mut Request) {
        let mut batch = logs::Batch::new();
        for found in entries.iter().filter_map(Found::of) {
            let Some((scope, record)) = logs::log_record(self.signal, self.source, found) else { continue };
            batch.entry(scope).or_default().push(record);
            request.records += 1;
        }
        self.write(&logs::document(batch, resource(self.source)), request);
    }

    fn spans(&self, entries: &[Entry], request: &mut Request) {
        let mut batch = traces::Batch::new();
        for found in entries.iter().filter_map(Found::of) {
            let Some((scope, span)) = traces::span_of(self.signal, self.source, found) else { continue };
            batch.entry(scope).or_default().push(span);
            request.records += 1;
        }
        self.write(&traces::document(batch, resource(self.source)), request);
    }

    fn metrics(&self, entries: &[Entry], request: &mut Request) {
        let Some(first) = entries.first() else { return };
        // Where something is missing before it, no sum says what happened there. A part has a length.
        let since = self.since.filter(|_| request.gaps.is_empty());
        let mut starts = Starts::After(since.map_or_else(|| nanos(first.time()).saturating_sub(1), nanos));
        let mut batch = metrics::Batch::default();
        for found in entries.iter().filter_map(Found::of) {
            let Some(record) = found.record() else { continue };
            batch.add(self.source, record, &mut starts);
            request.records += 1;
        }
        self.write(&batch.document(resource(self.source)), request);
    }

    fn write(&self, message: &(impl prost::Message + Serialize), request: &mut Request) {
        if request.records == 0 {
            return;
        }
        request.body = match self.encoding {
            Encoding::Protobuf => message.encode_to_vec(),
            // Nothing in it can fail: keys are texts, and what is written to grows.
            Encoding::Json => serde_json::to_vec(message).unwrap_or_default(),
        };
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_model::Instrument;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{START, Shelf};

    fn portion(source: &Source, signal: Signal, from: u64) -> Portion<'_> {
        Portion { source, signal, from, since: None, records: 512, bytes: 1 << 20, encoding: Encoding::Json }
    }

    fn parsed(request: &Request) -> Value {
        serde_json::from_slice(&request.body).expect("JSON")
    }

    #[test]
    fn portions_follow_one_another_within_their_bounds_and_a_record_that_is_larger_goes_alone() {
        let shelf = Shelf::new("markdown");
        let text = "x".repeat(600);
        for number in 0..100 {
            shelf.log(&if number == 50 { "y".repeat(9000) } else { text.clone() }, &[]);
        }
        let source = shelf.source();
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let (mut from, mut sizes) = (1, Vec::new());
            loop {
                let request =
                    Portion { bytes: 4096, records: 7, encoding, ..portion(&source, Signal::Log, from) }.request();
                if request.records == 0 {
                    assert_eq!((from, request.body.len()), (101, 0));
                    break;
                }
                assert!(
                    request.body.len() <= 4096 || request.records == 1,
                    "{} {}",
                    request.records,
                    request.body.len()
                );
                assert!(request.records <= 7 && request.next == from + request.records);
                sizes.push(request.records);
                from = request.next;
            }
            assert_eq!(sizes.iter().sum::<u64>(), 100);
            assert!(sizes.iter().any(|size| *size > 1), "{sizes:?}");
        }
    }

    #[test]
    fn sums_of_two_requests_lie_side_by_side_and_a_series_has_one_point_in_each() {
        let shelf = Shelf::new("markdown");
        for value in [1.0, 2.0, 4.0, 8.0] {
            shelf.sample(Instrument::Counter, "calls", "{call}", value);
        }
        let source = shelf.source();
        let first = Portion { records: 3, ..portion(&source, Signal::Metric, 1) }.request();
        let second = Portion { since: first.until, ..portion(&source, Signal::Metric, first.next) }.request();
        let point = |request: &Request| {
            let points = &parsed(request)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["sum"]["dataPoints"];
            assert_eq!(points.as_array().map(Vec::len), Some(1));
            ["asDouble", "startTimeUnixNano", "timeUnixNano"].map(|key| points[0][key].clone())
        };
        let at = |nanos: i64| json!((START + nanos).to_string());
        assert_eq!(point(&first), [json!(7.0), at(-1), at(2_000_000)]);
        assert_eq!(point(&second), [json!(8.0), at(2_000_000), at(3_000_000)]);
    }

    #[test]
    fn what_has_no_place_is_counted_and_passed_over() {
        let shelf = Shelf::new("markdown");
        shelf.span(0, 1, 0);
        shelf.span(0, 2, 0);
        let source = shelf.source();
        let request = portion(&source, Signal::Span, 1).request();
        assert_eq!((request.body.len(), request.records, request.left_out, request.next), (0, 0, 2, 3));
    }
}
