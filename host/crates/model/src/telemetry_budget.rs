//! What an extension's telemetry may take.

use crate::limits;

/// What an extension may record, in all its instances together. What one record may be at most is in [`limits`], whatever
/// stands here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryBudget {
    /// Records a second. Errors, alerts, failed spans and logs at error and above have a quarter of it for themselves besides.
    pub records_per_second: u64,
    /// Bytes of them a second, as they are stored.
    pub bytes_per_second: u64,
    /// Fields of a record, labels of a sample.
    pub fields: usize,
    /// Bytes of a text in a record.
    pub string_bytes: u64,
    /// Names of metrics.
    pub metrics: u32,
    /// Sets of labels of a metric; samples of further ones go to its overflow series.
    pub series_per_metric: u32,
    /// Spans that are open at once in an invocation.
    pub open_spans: usize,
    /// Spans that a span lies in, itself included.
    pub span_depth: usize,
}

impl Default for TelemetryBudget {
    fn default() -> Self {
        Self {
            records_per_second: 100_000,
            bytes_per_second: 64 << 20,
            fields: limits::FIELDS,
            string_bytes: limits::MESSAGE_BYTES as u64,
            metrics: 1_000,
            series_per_metric: 2_000,
            open_spans: limits::NESTING,
            span_depth: limits::NESTING,
        }
    }
}
