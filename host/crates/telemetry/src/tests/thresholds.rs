//! Thresholds of metrics: they raise the host's alerts, end them when all is calm again, and are looked at each metrics interval.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{self, Field, Metric, Value};
use glasshouse_model::{Instrument, Origin, Signal, UnixNanos};

use super::support::{Hand, depot, hand};
use crate::thresholds::THRESHOLDS;
use crate::{Alert, AlertCause, AlertState, DataDir, Depot, Head, Store, StoreSettings};

const EVERY: Duration = Duration::from_secs(30);
const SECOND: i64 = 1_000_000_000;

fn settings(thresholds: &[&str]) -> StoreSettings {
    let mut settings = Settings::default();
    settings.debugging.metrics_interval = EVERY;
    settings.debugging.thresholds = thresholds.iter().map(|text| (*text).to_owned()).collect();
    let mut settings = StoreSettings::new(&settings);
    settings.bounds.iter_mut().for_each(|bounds| bounds.age = Duration::MAX);
    settings
}

/// A host with an extension, and a clock that goes on from one look to the next.
struct House {
    clock: Arc<Hand>,
    depot: Depot,
    store: Arc<Store>,
}

impl House {
    fn new(folder: &Path, clock: Arc<Hand>, thresholds: &[&str]) -> Self {
        let depot = depot(folder, Arc::clone(&clock));
        let store = depot.store_of("shop", &settings(thresholds), Arc::default()).expect("a store");
        // The first look is at once.
        depot.settle();
        Self { clock, depot, store }
    }

    fn now(&self) -> UnixNanos {
        UnixNanos(self.clock.0.load(Ordering::Relaxed))
    }

    /// Records samples as of shortly before the next look, and looks.
    fn look(&self, samples: &[(Origin, &str, f64)]) {
        let at = self.now().0 + EVERY.as_nanos() as i64;
        for (origin, room, value) in samples {
            let metric = Metric { instrument: Instrument::Gauge, name: "load", unit: "%", value: *value };
            let mut body = Vec::new();
            wire::write_metric(&mut body, &metric, &[Field { name: "room", value: Value::Text(room) }]);
            let time = UnixNanos(at - SECOND);
            let head = Head { time, origin: *origin, cut: false, batched: false, context: &[] };
            self.store.recorder().append(Signal::Metric, head, wire::KIND_METRIC, &body);
        }
        self.clock.0.store(at, Ordering::Relaxed);
        self.depot.settle();
    }

    fn own(&self, value: f64) {
        self.look(&[(Origin::Guest, "hall", value)]);
    }

    fn alerts(&self) -> Vec<Alert> {
        self.store.alerts(self.now())
    }

    /// Whether the only alert fires, how often it did, and how often it was raised.
    fn only(&self) -> (bool, u64, u64) {
        let alerts = self.alerts();
        let [alert] = &*alerts else { panic!("{alerts:?}") };
        assert_eq!((alert.origin, alert.name.as_str()), (Origin::Host, "metric.threshold"));
        (alert.state() == AlertState::Firing, alert.fired, alert.raised)
    }
}

#[test]
fn a_threshold_that_is_passed_is_one_alert_until_it_was_calm_for_three_looks() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::new(folder.path(), hand(), &["last(load) > 10 over 25s"]);
    house.own(10.0);
    assert_eq!(house.alerts(), []);
    house.own(20.0);
    let alerts = house.alerts();
    let [alert] = &*alerts else { panic!("{alerts:?}") };
    assert_eq!((alert.value, alert.threshold), (Some(20.0), Some(10.0)));
    let labels = alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
    assert_eq!(labels, [("metric", "load"), ("threshold", "last(load) > 10 over 25s")]);
    assert!(alert.message.starts_with("last of load is 20 % over the last 25"), "{}", alert.message);
    let records = house.store.reader(Signal::Alert).all();
    let Ok(crate::Body::Record(wire::Record::Alert(record))) = records[0].body() else { panic!("an alert") };
    assert_eq!((record.metric, record.value, record.threshold), (Some("load"), Some(20.0), Some(10.0)));

    for to_and_fro in [5.0, 20.0, 5.0, 5.0, 20.0, 5.0, 5.0] {
        house.own(to_and_fro);
        assert!(house.only().0);
    }
    assert_eq!(house.only(), (true, 1, 3));
    house.own(5.0);
    assert_eq!(house.only(), (false, 1, 3));
    let alert = &house.alerts()[0];
    let last = alert.history.back().expect("it has a history");
    assert_eq!((last.cause, last.note.as_str()), (AlertCause::Recovered, "5 % now, and within the limit for 3 looks"));
    house.own(11.0);
    for _ in 0..3 {
        assert_eq!(house.only(), (true, 2, 4));
        house.look(&[]);
    }
    assert_eq!(house.only(), (false, 2, 4));
    assert_eq!(house.alerts()[0].history.back().map(|last| last.note.clone()), Some("no samples in the window".into()));
}

#[test]
fn all_series_count_together_and_an_extension_hides_nothing_that_the_host_measures() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::new(folder.path(), hand(), &["sum(load) > 10 over 25s", "mean(load) < 1 over 25s"]);
    house.look(&[(Origin::Guest, "hall", 6.0), (Origin::Guest, "attic", 3.0), (Origin::Host, "hall", 9.0)]);
    assert_eq!(house.alerts(), []);
    house.look(&[(Origin::Guest, "hall", 6.0), (Origin::Guest, "attic", 6.0)]);
    assert_eq!(house.alerts().iter().map(|alert| alert.value).collect::<Vec<_>>(), [Some(12.0)]);
    house.look(&[(Origin::Guest, "hall", 2.0), (Origin::Host, "hall", 11.0)]);
    assert_eq!(house.only(), (true, 1, 2));
    house.look(&[(Origin::Guest, "hall", 2.0), (Origin::Host, "hall", 0.5)]);
    assert_eq!(house.alerts().iter().filter(|alert| alert.state() == AlertState::Firing).count(), 2);
}

#[test]
fn alerts_of_thresholds_outlive_their_host_and_end_with_their_declaration() {
    let folder = tempfile::tempdir().expect("a folder");
    let (load, other) = ("last(load) > 10 over 25s", "max(load) > 15 over 25s");
    let clock = hand();
    let house = House::new(folder.path(), Arc::clone(&clock), &[load, other]);
    house.own(20.0);
    assert_eq!(house.alerts().len(), 2);
    house.store.apply(&settings(&[load]));
    house.look(&[(Origin::Guest, "hall", 20.0)]);
    let firing = |alerts: &[Alert]| {
        let firing = alerts.iter().filter(|alert| alert.state() == AlertState::Firing);
        firing.map(|alert| alert.labels[1].1.clone()).collect::<Vec<_>>()
    };
    assert_eq!(firing(&house.alerts()), [load]);
    let now = house.now();
    drop(house);
    let stored = DataDir::open(folder.path()).expect("a data directory").alerts("shop", now);
    assert_eq!(firing(&stored), [load]);

    let house = House::new(folder.path(), Arc::clone(&clock), &[load]);
    assert_eq!(firing(&house.alerts()), [load], "it is raised on");
    drop(house);
    let house = House::new(folder.path(), clock, &[]);
    assert_eq!(firing(&house.alerts()), Vec::<String>::new());
}

#[test]
fn thresholds_are_few() {
    let many: Vec<_> = (0..3 * THRESHOLDS).map(|number| format!("last(load) > {number} over 25s")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::new(folder.path(), hand(), &many.iter().map(String::as_str).collect::<Vec<_>>());
    house.own(1e6);
    assert_eq!(house.alerts().len(), THRESHOLDS);
    assert!(house.alerts().iter().all(|alert| alert.name == "metric.threshold"));
}
