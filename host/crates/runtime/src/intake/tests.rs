//! What is taken of batches, and when it says that it was made.

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
