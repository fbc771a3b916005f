//! What is taken of batches, and when it says that it was made.

use glasshouse_model::Instrument;
use glasshouse_model::settings::Settings;
use glasshouse_model::wire::Value;
use glasshouse_telemetry::{Body, Store, StoreSettings};

use super::*;
use crate::clock::SetClock;

/// A log of one field, or of more fields than are kept, with a time.
fn log(time: i64, fields: usize) -> Vec<u8> {
    let log = Log { level: Level::Info, target: "", message: "", source: None, time: Some(time) };
    let fields = vec![Field { name: "field", value: Value::Boolean(true) }; fields];
    let mut bytes = Vec::new();
    wire::record(&mut bytes, wire::KIND_LOG, |body| wire::write_log(body, &log, format_args!("m"), &fields));
    bytes
}

#[test]
fn the_time_of_a_gathered_log_is_between_the_batch_before_and_receipt() {
    let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
    let clock = Arc::new(SetClock::default());
    let intake = Intake::new(store.recorder(), Arc::clone(&clock) as Arc<dyn Clock>);
    // Sends logs of some times at a time; gives what is stored of them: the time of receipt, theirs, and the marks.
    let check = |at: u64, head: &[u8], times: &[i64], expect: &[i64]| {
        for fields in [1, limits::FIELDS + 1] {
            clock.set(at);
            let before = store.reader(Signal::Log).stored();
            let records: Vec<_> = times.iter().flat_map(|time| log(*time, fields)).collect();
            intake.emit(&[head, &records].concat());
            let entries = store.reader(Signal::Log).page(before + 1, 100).entries;
            let found: Vec<_> = entries
                .iter()
                .map(|entry| {
                    let envelope = entry.envelope();
                    assert_eq!(envelope.time, UnixNanos(at as i64));
                    assert_eq!((envelope.batched, envelope.cut), (head.len() > 1, fields > 1));
                    let Ok(Body::Record(Record::Log(log, stored))) = entry.body() else { panic!("no log") };
                    assert_eq!(stored.len(), fields.min(limits::FIELDS));
                    log.time.expect("it has a time")
                })
                .collect();
            assert_eq!(found, expect);
            // The second round is to see what the first one saw.
            intake.flushed_at.set(None);
        }
    };
    let batched = |serial| wire::batched_head(serial);
    intake.settle(&TelemetryBudget::default());
    intake.begin_invocation(100);
    check(200, &batched(1), &[i64::MIN, 99, 150, 201, i64::MAX], &[100, 100, 150, 200, 200]);
    check(200, &[wire::VERSION], &[i64::MIN, 99, i64::MAX], &[i64::MIN, 99, i64::MAX]);
    intake.flushed_at.set(Some(UnixNanos(180)));
    clock.set(250);
    intake.emit(&[&batched(2)[..], &log(170, 1), &log(190, 1), &log(300, 1)].concat());
    clock.set(260);
    intake.emit(&[&batched(3)[..], &log(190, 1)].concat());
    let times: Vec<_> = store
        .reader(Signal::Log)
        .latest(4)
        .iter()
        .map(|entry| match entry.body() {
            Ok(Body::Record(Record::Log(log, _))) => log.time,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times, [Some(180), Some(190), Some(250), Some(250)]);
    intake.begin_invocation(400);
    clock.set(500);
    check(500, &batched(4), &[300], &[400]);
}

#[test]
fn a_batch_is_recovered_once() {
    let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
    let intake = Intake::new(store.recorder(), Arc::new(SetClock::default()));
    let batch = |serial| [&wire::batched_head(serial)[..], &log(0, 1)].concat();
    let check = |act: &dyn Fn(), stored: u64| {
        act();
        assert_eq!(store.reader(Signal::Log).stored(), stored);
    };
    check(&|| intake.recover(Ok(None)), 0);
    check(&|| intake.emit(&batch(0)), 1);
    check(&|| intake.recover(Ok(Some(&batch(0)))), 1);
    check(&|| intake.recover(Ok(Some(&batch(1)))), 2);
    check(&|| intake.recover(Ok(Some(&batch(1)))), 2);
}

/// A batch of gathered samples of one series.
fn samples(instrument: Instrument, count: u16, values: &[f64]) -> Vec<u8> {
    let metric = Metric { instrument, name: "metric", unit: "s", value: values[0] };
    let labels = [Field { name: "label", value: Value::Text("one") }];
    let mut batch = wire::batched_head(1).to_vec();
    wire::record(&mut batch, wire::KIND_SAMPLES, |body| {
        wire::write_samples(body, &metric, &labels, 0);
        values[1..].iter().for_each(|value| body.extend_from_slice(&value.to_le_bytes()));
    });
    let at = wire::BATCHED_HEAD_BYTES + wire::RECORD_HEADER_BYTES;
    batch[at..at + 2].copy_from_slice(&count.to_le_bytes());
    batch
}

#[test]
fn samples_of_one_record_are_stored_one_by_one_at_the_time_of_receipt_and_what_is_none_is_counted() {
    let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
    let clock = Arc::new(SetClock::default());
    let intake = Intake::new(store.recorder(), Arc::clone(&clock) as Arc<dyn Clock>);
    intake.settle(&TelemetryBudget::default());
    clock.set(70);
    let check = |batch: &[u8], expect: &[f64], refused: u64, malformed: u64| {
        let before = store.reader(Signal::Metric).stored();
        let drops = || [Drop::InvalidSample, Drop::Malformed].map(|cause| store.drops()[cause as usize].1);
        let dropped = drops();
        intake.emit(batch);
        let entries = store.reader(Signal::Metric).page(before + 1, 100).entries;
        let found: Vec<_> = entries
            .iter()
            .map(|entry| {
                let envelope = entry.envelope();
                assert_eq!((envelope.time, envelope.batched, envelope.cut), (UnixNanos(70), true, false));
                let Ok(Body::Record(Record::Metric(metric, labels))) = entry.body() else { panic!("no sample") };
                assert_eq!((metric.name, metric.unit, labels.len()), ("metric", "s", 1));
                metric.value
            })
            .collect();
        assert_eq!(found, expect);
        assert_eq!(drops(), [dropped[0] + refused, dropped[1] + malformed]);
    };
    let values = [1.0, -2.0, f64::NAN, 4.0, f64::INFINITY];
    check(&samples(Instrument::Histogram, 5, &values), &[1.0, -2.0, 4.0], 2, 0);
    check(&samples(Instrument::Counter, 5, &values), &[1.0, 4.0], 3, 0);
    check(&samples(Instrument::Histogram, 2, &values), &[1.0, -2.0], 0, 0);
    check(&samples(Instrument::Histogram, 0, &values), &[], 0, 1);
    check(&samples(Instrument::Histogram, 6, &values), &[], 0, 1);
    check(&samples(Instrument::Histogram, u16::MAX, &values), &[], 0, 1);
}
