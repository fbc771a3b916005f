//! The usual metrics, and collectors.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use glasshouse_sdk::testing::{Host, Instance, Recorded};
use glasshouse_sdk::{Instrument, Kind, extension, gauge, metrics};

thread_local! {
    static LENGTH: Cell<u32> = const { Cell::new(0) };
}

struct Queue;

#[extension]
impl Queue {
    fn init() -> Self {
        metrics::register_collector("queue", || gauge("queue.length").record(LENGTH.get()));
        Self
    }

    #[event]
    fn push(&mut self) {
        LENGTH.set(LENGTH.get() + 1);
    }

    fn collect(&mut self) {
        gauge("own").record(1);
    }
}

fn samples(recorded: &Recorded) -> Vec<(&str, f64)> {
    recorded.samples.iter().map(|sample| (sample.name.as_str(), sample.value)).collect()
}

/// What a round of collectors records in an instance that has no others.
fn collected(work: impl FnOnce(&mut Instance<Queue>)) -> Recorded {
    let (queue, _) = Host::new().run(|| Instance::<Queue>::start("{}"));
    let mut queue = queue.expect("it starts");
    Host::new().run(|| work(&mut queue)).1
}

#[test]
fn a_collector_is_registered_once_and_runs_at_every_interval_before_the_extensions_own() {
    let recorded = collected(|queue| {
        queue.collect();
        LENGTH.set(7);
        queue.collect();
    });
    assert_eq!(samples(&recorded), [("queue.length", 0.0), ("own", 1.0), ("queue.length", 7.0), ("own", 1.0)]);
}

#[test]
fn a_collector_replaces_one_of_its_name_and_can_register_and_remove_others() {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let note = |what: &'static str| {
        let calls = Rc::clone(&calls);
        move || calls.borrow_mut().push(what)
    };
    collected(|queue| {
        metrics::register_collector("queue", note("first"));
        metrics::register_collector("queue", note("second"));
        let late = note("late");
        let mut late = Some(late);
        metrics::register_collector("maker", move || {
            if let Some(late) = late.take() {
                metrics::register_collector("late", late);
                metrics::unregister_collector("queue");
            }
        });
        queue.collect();
        assert_eq!(*calls.borrow(), ["second"]);
        queue.collect();
        assert_eq!(*calls.borrow(), ["second", "late"]);
        metrics::unregister_collector("late");
        metrics::unregister_collector("never registered");
        queue.collect();
        assert_eq!(calls.borrow().len(), 2);
    });
}

#[test]
fn requests_and_errors_have_their_usual_names_units_and_labels() {
    let (answer, recorded) = Host::new().run(|| {
        metrics::record_request_time("search", Duration::from_micros(1500));
        metrics::record_error("timeout");
        metrics::time_request("index", || 42)
    });
    assert_eq!(answer, 42);
    let [search, timeout, index] = &recorded.samples[..] else { panic!("three samples: {recorded:?}") };
    assert_eq!((search.name.as_str(), search.unit.as_str(), search.value), (metrics::RESPONSE_TIME, "ms", 1.5));
    assert_eq!((search.instrument, search.labels["operation"].as_str()), (Instrument::Histogram, "search"));
    assert_eq!((timeout.name.as_str(), timeout.value), (metrics::ERRORS, 1.0));
    assert_eq!((timeout.instrument, timeout.labels["kind"].as_str()), (Instrument::Counter, "timeout"));
    assert_eq!((index.name.as_str(), index.labels["operation"].as_str()), (metrics::RESPONSE_TIME, "index"));
    assert!(index.value >= 0.0);
}

#[test]
fn with_metrics_off_nothing_is_collected_and_work_is_done_all_the_same() {
    let (queue, _) = Host::new().run(|| Instance::<Queue>::start("{}"));
    let mut queue = queue.expect("it starts");
    let polled = Rc::new(Cell::new(0));
    let polls = Rc::clone(&polled);
    let (answer, recorded) = Host::new().without(Kind::Metrics).run(|| {
        metrics::register_collector("polls", move || polls.set(polls.get() + 1));
        queue.collect();
        metrics::record_error("timeout");
        metrics::record_request_time("search", Duration::from_secs(1));
        metrics::time_request("index", || 42)
    });
    assert_eq!((answer, polled.get()), (42, 0));
    assert_eq!(samples(&recorded), []);
    Host::new().run(|| queue.collect());
    assert_eq!(polled.get(), 1, "it is registered all the same");
}
