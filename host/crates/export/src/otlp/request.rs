//! Requests: what is pushed to a collector, a bounded part of one signal of one extension at a time.
//!
//! `ExportLogsServiceRequest` and its like have the fields of `LogsData` and its like, so a request is a message of a file.

use std::collections::BTreeMap;
use std::io;

use glasshouse_model::{Signal, UnixNanos};
use glasshouse_telemetry::{Entry, Gap};
use serde::Serialize;

use super::messages::Scope;
use super::metrics::Starts;
use super::{logs, metrics, nanos, resource, traces};
use crate::Source;
use crate::walk::Found;

/// Bytes around a list of messages, at most: the names of its fields in JSON, or their numbers and lengths in protobuf.
pub(super) const AROUND: usize = 96;

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
    /// Reads and writes it. Blocks while it reads. It is bounded while it is made: what does not fit any more is left to the next one.
    pub fn request(&self) -> Request {
        let page = self.source.reader(self.signal).page(self.from, self.records.max(1));
        let mut request = Request { next: page.next_sequence, gaps: page.gaps, ..Request::default() };
        let taken = match self.signal {
            Signal::Log | Signal::Error | Signal::Alert => self.logs(&page.entries, &mut request),
            Signal::Metric => self.metrics(&page.entries, &mut request),
            Signal::Span | Signal::Invocation => self.spans(&page.entries, &mut request),
        };
        if let Some(entry) = page.entries.get(taken) {
            request.next = entry.sequence();
            request.gaps.retain(|gap| gap.first < entry.sequence());
        }
        request.left_out = taken as u64 - request.records;
        request
    }

    /// Returns how many were taken.
    fn logs(&self, entries: &[Entry], request: &mut Request) -> usize {
        let (batch, taken) = self.gathered(entries, request, |found| logs::log_record(self.signal, self.source, found));
        self.write(&logs::document(batch, resource(self.source)), request);
        taken
    }

    fn spans(&self, entries: &[Entry], request: &mut Request) -> usize {
        let (batch, taken) = self.gathered(entries, request, |found| traces::span_of(self.signal, self.source, found));
        self.write(&traces::document(batch, resource(self.source)), request);
        taken
    }

    /// The first records, by scope, as many as there is room for, and how many those are.
    fn gathered<R: prost::Message + Serialize>(
        &self,
        entries: &[Entry],
        request: &mut Request,
        of: impl Fn(Found<'_>) -> Option<(Scope, R)>,
    ) -> (BTreeMap<Scope, Vec<R>>, usize) {
        let (mut batch, mut room) = (BTreeMap::<Scope, Vec<R>>::new(), self.room());
        let mut until = self.since;
        for (index, entry) in entries.iter().enumerate() {
            if let Some((scope, record)) = Found::of(entry).and_then(&of) {
                let of_scope = if batch.contains_key(&scope) { 0 } else { self.encoding.size(&scope) + AROUND };
                if !room.takes(self.encoding.size(&record) + of_scope) {
                    request.until = until;
                    return (batch, index);
                }
                batch.entry(scope).or_default().push(record);
                request.records += 1;
            }
            until = until.max(Some(entry.time()));
        }
        request.until = until;
        (batch, entries.len())
    }

    fn metrics(&self, entries: &[Entry], request: &mut Request) -> usize {
        let Some(first) = entries.first() else {
            request.until = self.since;
            return 0;
        };
        // Where something is missing before it, no sum says what happened there; nor where what was told last is too far ahead of the clock.
        let is_near = |since: &UnixNanos| nanos(*since).saturating_sub(nanos(first.time())) <= metrics::AHEAD_MOST;
        let since = self.since.filter(|since| request.gaps.is_empty() && is_near(since));
        // A part has a length.
        let mut starts = Starts::After(since.map_or_else(|| nanos(first.time()).saturating_sub(1), nanos));
        let (mut batch, mut room) = (metrics::Batch::default(), self.room());
        let (mut taken, mut until) = (entries.len(), since);
        for (index, entry) in entries.iter().enumerate() {
            if let Some(record) = Found::of(entry).and_then(Found::record) {
                let sample = metrics::Sample::of(self.source, record, &mut starts);
                if !room.takes(batch.growth(&sample, self.encoding)) {
                    taken = index;
                    break;
                }
                until = until.max(sample.until());
                batch.add(sample, &starts);
                request.records += 1;
            }
            until = until.max(Some(entry.time()));
        }
        request.until = until;
        self.write(&batch.document(resource(self.source)), request);
        taken
    }

    fn room(&self) -> Room {
        let around = self.encoding.size(&resource(self.source)) + AROUND;
        Room { left: self.bytes.saturating_sub(around), is_new: true }
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

/// What is left of a request's bytes.
struct Room {
    left: usize,
    is_new: bool,
}

impl Room {
    /// Whether so many bytes fit, which are taken then. Something always goes into a request.
    fn takes(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.left || std::mem::take(&mut self.is_new);
        if fits {
            self.left = self.left.saturating_sub(bytes);
            self.is_new = false;
        }
        fits
    }
}

impl Encoding {
    /// Bytes of a message within a list, at most.
    pub(super) fn size(self, message: &(impl prost::Message + Serialize)) -> usize {
        match self {
            // The number of its field, and its length.
            Self::Protobuf => message.encoded_len() + 6,
            Self::Json => {
                let mut counted = Counted(0);
                // Nothing in it can fail, nor does counting.
                let _ = serde_json::to_writer(&mut counted, message);
                // A comma.
                counted.0 + 1
            }
        }
    }
}

/// Counts what is written.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_model::wire::{Field, Metric, Value as Wire};
    use glasshouse_model::{Instrument, Origin};
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

    /// All requests of what a shelf has of a signal, each within so many bytes.
    fn all(shelf: &Shelf, signal: Signal, bytes: usize, encoding: Encoding) -> Vec<Request> {
        let (source, mut requests) = (shelf.source(), Vec::<Request>::new());
        loop {
            let (from, since) = requests.last().map_or((1, None), |last| (last.next, last.until));
            let request = Portion { since, bytes, encoding, ..portion(&source, signal, from) }.request();
            if request.next == from {
                return requests;
            }
            let length = request.body.len();
            assert!(length <= bytes || request.records == 1, "{} records in {length} bytes", request.records);
            requests.push(request);
        }
    }

    #[test]
    fn no_request_is_larger_than_it_may_be_whatever_its_records_become() {
        let shelf = Shelf::new("markdown");
        let names: Vec<_> = (0..40).map(|number| format!("name\u{1}\"{number}")).collect();
        for number in 0..400_usize {
            let fields: Vec<_> = names[..number % 40]
                .iter()
                .map(|name| Field { name, value: Wire::Text("\u{1}\u{2}\\\"\u{7f}é") })
                .collect();
            shelf.log(&"\u{1}".repeat(number), &fields);
            let labels = [("label", names[number % 7].as_str())];
            for (instrument, name) in [
                (Instrument::Histogram, "took"),
                (Instrument::Counter, "calls"),
                (Instrument::Gauge, "depth"),
                (Instrument::Histogram, names[number % 40].as_str()),
            ] {
                // Of all sizes, so that a histogram has as many buckets as it may have.
                let value = 10_f64.powi((number % 600) as i32 - 300) * if number % 2 == 0 { 1.0 } else { -1.0 };
                shelf.metric(Origin::Guest, &Metric { instrument, name, unit: "ms", value }, &labels);
            }
            shelf.span(number as u128 % 3, number as u64 + 1, 0);
        }
        for (signal, count) in [(Signal::Log, 400), (Signal::Metric, 1600), (Signal::Span, 400)] {
            for encoding in [Encoding::Json, Encoding::Protobuf] {
                for bytes in [1, 4096, 20_000, 1 << 20] {
                    let requests = all(&shelf, signal, bytes, encoding);
                    let taken: u64 = requests.iter().map(|request| request.records + request.left_out).sum();
                    assert_eq!(taken, count, "{signal} {encoding} {bytes}");
                    // Nor much smaller, where a record is as large as it seems: a histogram grows later on.
                    let written: usize = requests.iter().map(|request| request.body.len()).sum();
                    let is_seen = signal != Signal::Metric && bytes <= 20_000;
                    assert!(!is_seen || 3 * written >= bytes * (requests.len() - 1), "{written} in {}", requests.len());
                }
            }
        }
    }

    /// The parts of sums of all requests, by the name of their series: where each starts and ends.
    fn parts(requests: &[Request]) -> BTreeMap<String, Vec<(i64, i64)>> {
        let mut parts = BTreeMap::<_, Vec<_>>::new();
        for request in requests {
            let metrics = parsed(request)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].clone();
            for metric in metrics.as_array().expect("metrics") {
                for point in ["sum", "exponentialHistogram"].iter().filter_map(|kind| metric[kind]["dataPoints"].get(0))
                {
                    let time = |key: &str| point[key].as_str().and_then(|text| text.parse::<i64>().ok());
                    let (start, end) = (time("startTimeUnixNano"), time("timeUnixNano"));
                    let part = (start.expect("a time") - START, end.expect("a time") - START);
                    parts.entry(metric["name"].to_string()).or_default().push(part);
                }
            }
        }
        parts
    }

    #[test]
    fn a_part_of_a_sum_ends_after_its_start_and_follows_on_the_one_before_though_the_clock_is_set_back() {
        const SECOND: i64 = 1_000_000_000;
        let sampled = |steps: &[i64]| {
            let shelf = Shelf::new("markdown");
            for step in steps {
                shelf.step(*step);
                shelf.sample(Instrument::Counter, "calls", "{call}", 1.0);
                shelf.sample(Instrument::Histogram, "took", "ms", 1.0);
            }
            shelf
        };
        let shelf = sampled(&[0, 300 * SECOND, -400 * SECOND, 0, 0, 500 * SECOND, -599 * SECOND, 0]);
        for records in [1, 2, 3, 100] {
            let (source, mut requests, mut next) = (shelf.source(), Vec::<Request>::new(), 1);
            while next <= 16 {
                let since = requests.last().and_then(|last| last.until);
                requests.push(Portion { since, records, ..portion(&source, Signal::Metric, next) }.request());
                next = requests.last().map_or(0, |last| last.next);
            }
            for (series, parts) in parts(&requests) {
                assert!(parts.iter().all(|(start, end)| start < end), "{series} {parts:?}");
                assert!(parts.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{series} {parts:?}");
            }
        }
        // Far ahead and back: what was told then stays wrong, what comes after it is right.
        let shelf = sampled(&[0, 86_400 * SECOND, -86_400 * SECOND, 0]);
        let source = shelf.source();
        let first = Portion { records: 4, ..portion(&source, Signal::Metric, 1) }.request();
        let second = Portion { since: first.until, ..portion(&source, Signal::Metric, first.next) }.request();
        for (series, parts) in parts(&[second]) {
            assert!(parts.iter().all(|(start, end)| start < end && *end < SECOND), "{series} {parts:?}");
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
