//! Records samples that are no numbers, and counters that shrink.

use glasshouse_sdk::{counter, extension, gauge, histogram};

/// The extension.
#[derive(Default)]
pub struct InvalidMetrics;

#[extension]
impl InvalidMetrics {
    /// Records eight invalid samples, by themselves and through meters, and two valid ones.
    #[event]
    fn record(&mut self) {
        for invalid in [f64::NAN, f64::INFINITY] {
            counter("calls").record(invalid);
            gauge("depth").record(invalid);
            histogram("size").bind().record(invalid);
        }
        counter("calls").record(-1);
        counter("calls").bind().record(-1);

        gauge("depth").unit("m").label("sea", "black").record(-2212);
        counter("calls").bind().increment();
    }
}
