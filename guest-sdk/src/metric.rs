//! Metrics: single samples, and meters whose strings cross once.

use std::time::Duration;

use glasshouse_wire::{self as wire, Field, Instrument, Value};

use crate::{Kind, backend, is_stored, log};

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
    labels: Vec<Field<'a>>,
}

impl<'a> Metric<'a> {
    fn new(name: &'a str, instrument: Instrument) -> Self {
        Self { name, instrument, unit: "", labels: Vec::new() }
    }

    /// Gives the unit, a UCUM code: `s`, `By`, `ms`, `1`.
    pub fn unit(mut self, unit: &'a str) -> Self {
        self.unit = unit;
        self
    }

    /// Adds a label. Each set of label values is a series of its own: choose values of which there are few.
    pub fn label(mut self, name: &'a str, value: &'a str) -> Self {
        self.labels.push(Field { name, value: Value::Text(value) });
        self
    }

    /// Records one sample.
    pub fn record(&self, value: impl Number) {
        if !is_stored(Kind::Metrics) {
            return;
        }
        let metric =
            wire::Metric { instrument: self.instrument, name: self.name, unit: self.unit, value: value.to_f64() };
        log::send(wire::KIND_METRIC, |body| wire::write_metric(body, &metric, &self.labels));
    }

    /// Binds a meter.
    pub fn bind(&self) -> Meter {
        Meter(backend::Meter::new(self.name, self.instrument, self.unit, &self.labels))
    }
}

/// A bound instrument: recording passes a number only. Keep it in the extension's state.
#[derive(Debug)]
pub struct Meter(backend::Meter);

impl Meter {
    /// Records one sample.
    #[inline]
    pub fn record(&self, value: impl Number) {
        if is_stored(Kind::Metrics) {
            self.0.record(value.to_f64());
        }
    }

    /// Records a one.
    #[inline]
    pub fn increment(&self) {
        self.record(1.0);
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
