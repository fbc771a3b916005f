//! Metrics: single samples, and meters whose strings cross once.

use std::sync::Mutex;
use std::time::Duration;

use glasshouse_wire::{self as wire, Field, Instrument, Value};

use crate::{Kind, backend, batch, is_stored, log};

/// A total that only grows: what is recorded is added to it.
pub fn counter(name: &str) -> Metric<'_> {
    Metric::new(name, Instrument::Counter)
}

/// The present value of something.
pub fn gauge(name: &str) -> Metric<'_> {
    Metric::new(name, Instrument::Gauge)
}

/// A distribution: what is recorded is one observation.
pub fn histogram(name: &str) -> Metric<'_> {
    Metric::new(name, Instrument::Histogram)
}

/// A metric with its unit and labels: [record](Metric::record) one sample, or [bind](Metric::bind) a meter for many.
///
/// ```
/// use glasshouse_sdk::{counter, histogram};
///
/// counter("pages.served").label("status", "ok").record(1);
/// let sizes = histogram("pages.size").unit("By").bind();
/// sizes.record(1234_u64);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a metric is recorded or bound"]
pub struct Metric<'a> {
    name: &'a str,
    instrument: Instrument,
    unit: &'a str,
    labels: Labels<'a>,
}

/// Labels that a metric has room for by itself. Real ones have one to three.
const FEW: usize = 4;

/// Labels, of which a few take no allocation: whoever counts while metrics are off is to pay next to nothing, and what is off when a metric
/// is made may be on when it is recorded, so that they have to be kept.
#[derive(Clone, Debug)]
struct Labels<'a> {
    few: [Field<'a>; FEW],
    count: usize,
    /// All of them, once there are more than a few.
    many: Vec<Field<'a>>,
}

impl<'a> Labels<'a> {
    const NONE: Self =
        Self { few: [Field { name: "", value: Value::Boolean(false) }; FEW], count: 0, many: Vec::new() };

    #[inline]
    fn push(&mut self, label: Field<'a>) {
        match self.few.get_mut(self.count) {
            Some(free) => *free = label,
            None => self.push_one_of_many(label),
        }
        self.count += 1;
    }

    #[cold]
    fn push_one_of_many(&mut self, label: Field<'a>) {
        if self.many.is_empty() {
            self.many.extend(self.few);
        }
        self.many.push(label);
    }

    #[inline]
    fn as_slice(&self) -> &[Field<'a>] {
        self.few.get(..self.count).unwrap_or(&self.many)
    }
}

impl<'a> Metric<'a> {
    #[inline]
    fn new(name: &'a str, instrument: Instrument) -> Self {
        Self { name, instrument, unit: "", labels: Labels::NONE }
    }

    /// Gives the unit, a UCUM code: `s`, `By`, `ms`, `1`.
    pub fn unit(mut self, unit: &'a str) -> Self {
        self.unit = unit;
        self
    }

    /// Adds a label. Each set of label values is a series of its own: choose values of which there are few.
    #[inline]
    pub fn label(mut self, name: &'a str, value: &'a str) -> Self {
        self.labels.push(Field { name, value: Value::Text(value) });
        self
    }

    /// Records one sample.
    #[inline]
    pub fn record(&self, value: impl Number) {
        if is_stored(Kind::Metrics) {
            self.send(value.to_f64());
        }
    }

    #[inline(never)]
    fn send(&self, value: f64) {
        let metric = wire::Metric { instrument: self.instrument, name: self.name, unit: self.unit, value };
        log::send(wire::KIND_METRIC, |body| wire::write_metric(body, &metric, self.labels.as_slice()));
    }

    /// Binds a meter.
    pub fn bind(&self) -> Meter {
        Meter {
            bound: backend::Meter::new(self.name, self.instrument, self.unit, self.labels.as_slice()),
            gathered: Gathered::new(self),
        }
    }
}

/// A bound instrument: recording passes a number only. Keep it in the extension's state.
///
/// With [`batch::start_samples`] the samples of counters and histograms are gathered.
#[derive(Debug)]
pub struct Meter {
    bound: backend::Meter,
    /// `None` for a gauge, of which the last sample counts.
    gathered: Option<Gathered>,
}

impl Meter {
    /// Records one sample.
    #[inline]
    pub fn record(&self, value: impl Number) {
        if !is_stored(Kind::Metrics) {
            return;
        }
        let value = value.to_f64();
        if let (Some(batch), Some(gathered)) = (batch::of_samples(), &self.gathered)
            && gathered.take(batch, value)
        {
            return;
        }
        self.bound.record(value);
    }

    /// Records a one.
    #[inline]
    pub fn increment(&self) {
        self.record(1.0);
    }
}

/// How a meter's samples are gathered: a counter's are added up in one record of a batch, a histogram's stand one after the other.
#[derive(Debug)]
struct Gathered {
    instrument: Instrument,
    /// The record as it begins in a batch, but for its value.
    record: Box<[u8]>,
    /// Nobody waits for it: a sample that finds it taken crosses by itself.
    latest: Mutex<Latest>,
}

/// The meter's latest record.
#[derive(Debug)]
struct Latest {
    /// The number of the batch that it is in.
    batch: u64,
    /// Where its body is there.
    at: usize,
    /// What is in it.
    sum: f64,
    samples: u16,
}

impl Gathered {
    fn new(metric: &Metric<'_>) -> Option<Self> {
        let Metric { name, instrument, unit, .. } = *metric;
        let labels = metric.labels.as_slice();
        let sample = wire::Metric { instrument, name, unit, value: 0.0 };
        let mut record = Vec::new();
        match instrument {
            Instrument::Counter => {
                wire::record(&mut record, wire::KIND_METRIC, |body| wire::write_metric(body, &sample, labels));
            }
            Instrument::Histogram => wire::record(&mut record, wire::KIND_SAMPLES, |body| {
                wire::write_samples(body, &sample, labels, wire::SAMPLES - 1);
            }),
            Instrument::Gauge => return None,
        }
        let latest = Mutex::new(Latest { batch: 0, at: 0, sum: 0.0, samples: 0 });
        Some(Self { instrument, record: record.into(), latest })
    }

    /// Gathers a sample. `false`: it is to cross by itself, since the host has to say that it is none, or it has no room.
    fn take(&self, batch: &batch::Batch, value: f64) -> bool {
        let counts = self.instrument == Instrument::Counter;
        if !value.is_finite() || (counts && value < 0.0) {
            return false;
        }
        let Ok(mut latest) = self.latest.try_lock() else { return false };
        let is_open = latest.batch == batch.number();
        if counts {
            let sum = latest.sum + value;
            if is_open && sum.is_finite() {
                let put = batch.put(latest.at + wire::METRIC_VALUE_AT.start, sum.to_le_bytes());
                if put {
                    latest.sum = sum;
                }
                return put;
            }
        } else if is_open && latest.samples < wire::SAMPLES {
            let left = usize::from(wire::SAMPLES - latest.samples) * size_of::<f64>();
            let end = latest.at + self.record.len() - wire::RECORD_HEADER_BYTES;
            let samples = latest.samples + 1;
            let put = batch.put(end - left, value.to_le_bytes())
                && batch.put(latest.at + wire::SAMPLES_COUNT_AT.start, samples.to_le_bytes());
            if put {
                latest.samples = samples;
            }
            return put;
        }
        self.begin(batch, value, &mut latest)
    }

    /// Begins a record with its first sample.
    fn begin(&self, batch: &batch::Batch, value: f64, latest: &mut Latest) -> bool {
        let value_at = match self.instrument {
            Instrument::Histogram => wire::SAMPLES_FIRST_AT,
            _ => wire::METRIC_VALUE_AT,
        };
        let length = self.record.len();
        let gathered = batch.gather(|room| {
            let record = room.get_mut(..length)?;
            record.copy_from_slice(&self.record);
            record[wire::RECORD_HEADER_BYTES..].get_mut(value_at.clone())?.copy_from_slice(&value.to_le_bytes());
            Some(length)
        });
        if gathered {
            let at = batch.end() - length + wire::RECORD_HEADER_BYTES;
            *latest = Latest { batch: batch.number(), at, sum: value, samples: 1 };
        }
        gathered
    }
}

/// What can be recorded: any number, and a [`Duration`], in seconds. Integers past 2^53 are rounded.
pub trait Number {
    /// The number as it is recorded.
    fn to_f64(self) -> f64;
}

macro_rules! exact {
    ($($type:ty),+) => {
        $(impl Number for $type {
            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
        })+
    };
}
exact!(i8, i16, i32, u8, u16, u32, f32, f64);

macro_rules! rounded {
    ($($type:ty),+) => {
        $(impl Number for $type {
            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }
        })+
    };
}
rounded!(i64, u64, isize, usize);

impl Number for Duration {
    #[inline]
    fn to_f64(self) -> f64 {
        self.as_secs_f64()
    }
}
