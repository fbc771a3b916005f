//! Rollups: what runs of samples came to, by series, as records of three rings beside that of the samples.
//!
//! A run is of samples in a row, all of one second (ten seconds, a minute), so that each sample is in one run of each ring. One
//! second may have several runs; they are merged when they are read. A run is one record, and is there as a whole or not at all.
//!
//! # Format, version 1
//!
//! ```text
//! rollup = version:u8(=1) from:u64 to:u64 missed:varint series*       the record's time is the start of the second
//! series = origin:u8 length:varint sample[length] aggregate           a sample's body as it is recorded, with the last value
//! aggregate = count:varint sum:f64 min:f64 max:f64 last:varint 0|1 [distribution if 1]      nanoseconds after the start
//! ```

use std::collections::HashMap;

use glasshouse_model::wire::{self, METRIC_VALUE_AT, Malformed, Reader as Bytes};
use glasshouse_model::{Instrument, Origin, UnixNanos};

use super::Aggregate;
use super::varint::{put_varint, varint};

const VERSION: u8 = 1;
/// More samples than any host stores: numbers of samples go on after those that a run says it is of.
const MAX_SAMPLES: u64 = 1 << 62;
/// Bytes before the number of samples that are missing.
const HEAD_BYTES: usize = 17;
/// About how many bytes a series takes beside its labels and its distribution.
const SERIES_BYTES: usize = 48;
/// About how many bytes a bucket of a distribution takes.
const BUCKET_BYTES: usize = 3;

glasshouse_model::wire::byte_enum! {
    /// How long the runs of a ring are.
    Tier {
        /// A second.
        Second = 0 "1s",
        /// Ten seconds.
        TenSeconds = 1 "10s",
        /// A minute.
        Minute = 2 "1m",
    }
}

impl Tier {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its length in nanoseconds.
    pub fn nanos(self) -> i64 {
        1_000_000_000
            * match self {
                Self::Second => 1,
                Self::TenSeconds => 10,
                Self::Minute => 60,
            }
    }

    /// The start of the second, ten seconds or minute that a time is in.
    pub(super) fn start(self, time: i64) -> i64 {
        time.saturating_sub(time.rem_euclid(self.nanos()))
    }
}

/// The key of a series: its origin, and a sample's body without its value.
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Bytes before the sample's body.
    const BODY_AT: usize = 1;

    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// The key of a sample's series.
    pub(super) fn set(&mut self, origin: Origin, body: &[u8]) -> &[u8] {
        self.0.clear();
        self.0.push(origin as u8);
        self.0.extend_from_slice(body);
        if let Some(value) = self.0.get_mut(Self::BODY_AT..).and_then(|body| body.get_mut(METRIC_VALUE_AT)) {
            value.fill(0);
        }
        &self.0
    }

    /// The origin and the sample's body of a key.
    pub(super) fn parts(key: &[u8]) -> Option<(Origin, &[u8])> {
        let (origin, body) = key.split_first()?;
        Some((Origin::from_byte(*origin)?, body))
    }
}

/// The instrument and value of a sample's body, without looking at the rest of it.
pub(super) fn sample(kind: u8, body: &[u8]) -> Option<(Instrument, f64)> {
    let instrument =
        body.first().filter(|_| kind == wire::KIND_METRIC).and_then(|byte| Instrument::from_byte(*byte))?;
    let value = f64::from_le_bytes(body.get(METRIC_VALUE_AT)?.try_into().ok()?);
    value.is_finite().then_some((instrument, value))
}

/// A run that goes on.
pub(super) struct Run {
    pub(super) start: i64,
    /// The first sample's sequence number.
    pub(super) from: u64,
    /// The sequence number after the last sample's.
    pub(super) to: u64,
    /// Samples before the first one that were gone before they were seen.
    pub(super) missed: u64,
    pub(super) series: HashMap<Box<[u8]>, Aggregate>,
    /// About how large it is.
    pub(super) bytes: usize,
}

impl Run {
    pub(super) fn new(start: i64, from: u64, missed: u64) -> Self {
        Self { start, from, to: from, missed, series: HashMap::new(), bytes: 0 }
    }

    /// Adds the sample after the last one.
    pub(super) fn add(&mut self, key: &[u8], instrument: Instrument, value: f64, time: UnixNanos) {
        if let Some(aggregate) = self.series.get_mut(key) {
            if aggregate.add(value, time) {
                self.bytes += BUCKET_BYTES;
            }
        } else {
            self.bytes += key.len() + SERIES_BYTES + BUCKET_BYTES;
            self.series.insert(key.into(), Aggregate::of(instrument, value, time));
        }
    }

    /// Adds the run after the last one.
    pub(super) fn merge(&mut self, later: Self) {
        self.to = later.to;
        if self.series.is_empty() {
            (self.series, self.bytes) = (later.series, later.bytes);
            return;
        }
        for (key, aggregate) in later.series {
            let buckets =
                |aggregate: &Aggregate| aggregate.distribution.as_ref().map_or(0, super::Distribution::buckets);
            if let Some(mine) = self.series.get_mut(&key) {
                let before = buckets(mine);
                mine.merge(&aggregate);
                self.bytes += BUCKET_BYTES * buckets(mine).saturating_sub(before);
            } else {
                self.bytes += key.len() + SERIES_BYTES + BUCKET_BYTES * buckets(&aggregate);
                self.series.insert(key, aggregate);
            }
        }
    }

    /// Writes it as it is stored.
    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.push(VERSION);
        buffer.extend_from_slice(&self.from.to_le_bytes());
        buffer.extend_from_slice(&self.to.to_le_bytes());
        put_varint(buffer, self.missed);
        for (key, aggregate) in &self.series {
            let Some((origin, body)) = Key::parts(key) else { continue };
            buffer.push(origin as u8);
            put_varint(buffer, body.len() as u64);
            let at = buffer.len();
            buffer.extend_from_slice(body);
            buffer[at..][METRIC_VALUE_AT].copy_from_slice(&aggregate.last.to_le_bytes());
            aggregate.encode(buffer, UnixNanos(self.start));
        }
    }
}

/// A run that was stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredRun<'a> {
    pub(super) start: i64,
    /// The sequence numbers of its samples.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Samples before the first one that were gone before they were seen.
    pub(super) missed: u64,
    series: &'a [u8],
}

/// A series of a run that was stored: its origin, the body of a sample of it, and what its samples came to.
pub(super) type StoredSeries<'a> = (Origin, &'a [u8], Aggregate);

impl<'a> StoredRun<'a> {
    /// Reads what [`Run::encode`] wrote; its series are looked at later.
    pub(super) fn decode(body: &'a [u8], start: i64) -> Result<Self, Malformed> {
        let mut bytes = Bytes::new(body);
        if bytes.byte()? != VERSION {
            return Err(Malformed("a rollup of an unknown version"));
        }
        let number =
            |at: usize| body.get(at..).and_then(|bytes| bytes.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes));
        let (from, to) = number(1).zip(number(9)).ok_or(Malformed("a rollup ends in its head"))?;
        bytes.take(HEAD_BYTES - 1)?;
        let missed = varint(&mut bytes)?;
        if from >= to || missed >= from || to > MAX_SAMPLES {
            return Err(Malformed("a rollup of samples that there cannot be"));
        }
        Ok(Self { start, from, to, missed, series: bytes.rest() })
    }

    /// Its series, up to the first one that is damaged.
    pub(super) fn series(&self) -> impl Iterator<Item = Result<StoredSeries<'a>, Malformed>> + use<'a> {
        let (mut bytes, start) = (Bytes::new(self.series), UnixNanos(self.start));
        std::iter::from_fn(move || {
            if bytes.rest().is_empty() {
                return None;
            }
            let series = one_series(&mut bytes, start);
            if series.is_err() {
                bytes = Bytes::new(&[]);
            }
            Some(series)
        })
    }
}

fn one_series<'a>(bytes: &mut Bytes<'a>, start: UnixNanos) -> Result<StoredSeries<'a>, Malformed> {
    let origin = Origin::from_byte(bytes.byte()?).ok_or(Malformed("unknown origin"))?;
    let length = usize::try_from(varint(bytes)?).map_err(|_| Malformed("a series that is too long"))?;
    let body = bytes.take(length)?;
    let (_, last) = sample(wire::KIND_METRIC, body).ok_or(Malformed("a series that is no sample"))?;
    Ok((origin, body, Aggregate::decode(bytes, start, last)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_model::wire::{Field, Metric, Value};
    use proptest::prelude::*;

    fn run(samples: &[(u8, f64)]) -> Run {
        let mut run = Run::new(60_000_000_000, 7, 2);
        let mut key = Key::new();
        for (at, (label, value)) in samples.iter().enumerate() {
            let instrument = Instrument::ALL[usize::from(label % 3)];
            let metric = Metric { instrument, name: "size", unit: "By", value: *value };
            let label = label.to_string();
            let mut body = Vec::new();
            wire::write_metric(&mut body, &metric, &[Field { name: "kind", value: Value::Text(&label) }]);
            run.add(key.set(Origin::Guest, &body), instrument, *value, UnixNanos(60_000_000_000 + at as i64));
            run.to += 1;
        }
        run
    }

    proptest! {
        #[test]
        fn a_run_is_read_as_it_was_written_and_about_as_large_as_it_says(
            samples in prop::collection::vec((0..20_u8, -1e9..1e9), 1..200),
        ) {
            let (given, mut bytes) = (run(&samples), Vec::new());
            given.encode(&mut bytes);
            prop_assert!(bytes.len() <= 2 * given.bytes + 64, "{} and {}", bytes.len(), given.bytes);
            let read = StoredRun::decode(&bytes, given.start).expect("a run");
            prop_assert_eq!((read.from, read.to, read.missed), (given.from, given.to, given.missed));
            let mut key = Key::new();
            let series: HashMap<Box<[u8]>, Aggregate> = read.series().map(|series| {
                let (origin, body, aggregate) = series.expect("a series");
                (key.set(origin, body).into(), aggregate)
            }).collect();
            prop_assert_eq!(series, given.series);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            samples in prop::collection::vec((0..3_u8, -1e9..1e9), 1..20),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            run(&samples).encode(&mut bytes);
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Ok(read) = StoredRun::decode(&bytes, 0) {
                read.series().count();
            }
        }
    }
}
