//! What an extension uses of its budgets of telemetry, for whoever asks: counted where it costs nothing, measured from beside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use glasshouse_model::limits;

use crate::store::{Recorder, Store};

/// The least time over which rates are measured.
const WINDOW_NANOS: u64 = 1_000_000_000;

/// What an extension uses of its budgets of telemetry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TelemetryUse {
    /// Records that it stored in the last second or so, what the reserve for the urgent took included.
    pub records_per_second: u64,
    /// The most of them in any second that was looked at.
    pub records_per_second_peak: u64,
    /// Bytes of these.
    pub bytes_per_second: u64,
    /// The most of them.
    pub bytes_per_second_peak: u64,
    /// The most fields, or labels, that a log, a sample or an error had, those included that were cut off.
    pub fields_peak: u64,
    /// Bytes of the longest text that a record, a span or a line of standard output had, whether it was cut or not. Of records that are
    /// too short to be cut only those are looked at that are longer than all before, so that among texts of up to
    /// [`limits::UNCUT_BYTES`] it may not be the longest.
    pub text_peak_bytes: u64,
    /// Names of metrics that are known.
    pub metrics: u64,
    /// Sets of labels of the metric that has the most.
    pub series_per_metric: u64,
    /// The most spans that were open at once.
    pub open_spans_peak: u64,
    /// How deeply spans lay in each other at most.
    pub span_depth_peak: u64,
}

/// What was most, and rates as they were last measured.
#[derive(Default)]
pub(crate) struct Peaks {
    fields: AtomicU64,
    /// Bytes of texts, and of short records that were looked at for them.
    texts: AtomicU64,
    looked_at: AtomicU64,
    open_spans: AtomicU64,
    span_depth: AtomicU64,
    /// Records and bytes a second: the last and the most.
    rates: [[AtomicU64; 2]; 2],
}

/// Keeps the greater number. What two writers at once do to each other is no more than a lost note.
#[inline]
fn note(peak: &AtomicU64, number: u64) {
    if number > peak.load(Relaxed) {
        peak.store(number, Relaxed);
    }
}

impl Recorder {
    /// Notes how many fields a record has.
    #[inline]
    pub fn note_fields(&self, fields: usize) {
        note(&self.gates().peaks.fields, fields as u64);
    }

    /// Notes how long a text is.
    #[inline]
    pub fn note_text(&self, bytes: usize) {
        note(&self.gates().peaks.texts, bytes as u64);
    }

    /// Whether the texts of a record of so many bytes are worth a look: one of them may be longer than all before. Short records are looked at
    /// only if they are longer than those that were.
    #[inline]
    pub fn may_have_longest_text(&self, record_bytes: usize) -> bool {
        let (peaks, bytes) = (&self.gates().peaks, record_bytes as u64);
        if record_bytes > limits::UNCUT_BYTES {
            return bytes > peaks.texts.load(Relaxed);
        }
        let is_news = bytes > peaks.looked_at.load(Relaxed);
        if is_news {
            peaks.looked_at.store(bytes, Relaxed);
        }
        is_news
    }

    /// Notes how many spans are open, and how deeply they lie in each other.
    #[inline]
    pub fn note_spans(&self, open: usize, depth: usize) {
        let peaks = &self.gates().peaks;
        note(&peaks.open_spans, open as u64);
        note(&peaks.span_depth, depth as u64);
    }
}

impl Store {
    /// What is used of the budgets of telemetry.
    pub fn telemetry_use(&self) -> TelemetryUse {
        let gates = self.gates();
        let peaks = &gates.peaks;
        let [[records_per_second, records_per_second_peak], [bytes_per_second, bytes_per_second_peak]] =
            peaks.rates.each_ref().map(|pair| pair.each_ref().map(|number| number.load(Relaxed)));
        let (metrics, series_per_metric) = gates.series.known();
        TelemetryUse {
            records_per_second,
            records_per_second_peak,
            bytes_per_second,
            bytes_per_second_peak,
            fields_peak: peaks.fields.load(Relaxed),
            text_peak_bytes: peaks.texts.load(Relaxed),
            metrics,
            series_per_metric,
            open_spans_peak: peaks.open_spans.load(Relaxed),
            span_depth_peak: peaks.span_depth.load(Relaxed),
        }
    }
}

/// Measures the rates of one extension, from time to time.
#[derive(Default)]
pub(crate) struct RateMeter {
    /// When it last measured, and what had been taken by then.
    last: Option<(u64, [u64; 2])>,
}

impl RateMeter {
    /// Measures, if it is long enough since the last time; `now` in `Clock::monotonic_nanos`.
    pub(crate) fn measure(&mut self, store: &Arc<Store>, now: u64) {
        let gates = store.gates();
        let (at, before) = *self.last.get_or_insert_with(|| (now, gates.rates.taken()));
        let elapsed = now.saturating_sub(at);
        if elapsed < WINDOW_NANOS {
            return;
        }
        let taken = gates.rates.taken();
        for ((rate, taken), before) in gates.peaks.rates.iter().zip(taken).zip(before) {
            let [last, peak] = rate;
            let per_second = u128::from(taken.saturating_sub(before)) * u128::from(WINDOW_NANOS) / u128::from(elapsed);
            let per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
            last.store(per_second, Relaxed);
            note(peak, per_second);
        }
        self.last = Some((now, taken));
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_model::settings::Settings;
    use glasshouse_model::{Origin, UnixNanos};

    use super::*;
    use crate::{Head, StoreSettings, Worth};

    #[test]
    fn rates_are_measured_over_a_second_or_more_whatever_the_bucket_holds() {
        let mut settings = Settings::default();
        settings.budget.telemetry.records_per_second = 10;
        let store = Store::new(&StoreSettings::new(&settings), Arc::default());
        let mut meter = RateMeter::default();
        let mut now = 5 * WINDOW_NANOS;
        let mut store_some = |records: usize, nanos: u64| {
            for _ in 0..records {
                let time = UnixNanos(now as i64);
                let head = Head { time, origin: Origin::Guest, cut: false, batched: false, context: &[] };
                store.recorder().affords(Worth::Usual, &head, 100);
            }
            now += nanos;
            meter.measure(&store, now);
            let used = store.telemetry_use();
            (used.records_per_second, used.records_per_second_peak, used.bytes_per_second)
        };
        assert_eq!(store_some(0, 0), (0, 0, 0));
        assert_eq!(store_some(4, WINDOW_NANOS), (4, 4, 400));
        assert_eq!(store_some(3, WINDOW_NANOS / 2), (4, 4, 400), "it is too soon");
        assert_eq!(store_some(3, WINDOW_NANOS * 5 / 2), (2, 4, 200));
        // What a bucket gives at most, and is not stored beyond that.
        assert_eq!(store_some(100, WINDOW_NANOS).0, 10);
        assert_eq!(store_some(0, WINDOW_NANOS), (0, 10, 0));
    }

    #[test]
    fn short_records_are_looked_at_for_texts_if_they_are_longer_than_all_before_and_long_ones_if_it_may_help() {
        let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
        let recorder = store.recorder();
        for (record, text, expect) in [
            (100, 60, true),
            (100, 90, false),
            (99, 90, false),
            (256, 10, true),
            (256, 200, false),
            (257, 200, true),
            (300, 290, true),
            (290, 280, false),
            (291, 100, true),
        ] {
            let looks = recorder.may_have_longest_text(record);
            assert_eq!(looks, expect, "{record}");
            if looks {
                recorder.note_text(text);
            }
        }
        assert_eq!(store.telemetry_use().text_peak_bytes, 290);
    }

    #[test]
    fn the_most_fields_and_spans_are_noted() {
        let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
        let recorder = store.recorder();
        for (fields, open, depth) in [(3, 1, 1), (70, 2, 2), (5, 3, 1)] {
            recorder.note_fields(fields);
            recorder.note_spans(open, depth);
        }
        let used = store.telemetry_use();
        assert_eq!((used.fields_peak, used.open_spans_peak, used.span_depth_peak), (70, 3, 2));
    }
}
