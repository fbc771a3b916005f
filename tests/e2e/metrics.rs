//! What guests record comes to figures, and what they are polled for.

use std::time::Duration;

use glasshouse_model::{FailureKind, Origin, Signal};
use glasshouse_runtime::Extension;
use glasshouse_telemetry::{Query, SeriesSummary, Summary};

use crate::harness::{House, ask, fail, invocations, samples};

fn summary(extension: &Extension) -> Summary {
    extension.reader(Signal::Metric).summary(extension.id().as_str(), &Query::all())
}

fn series<'s>(summary: &'s Summary, name: &str, label: (&str, &str)) -> &'s SeriesSummary {
    let label = (label.0.to_owned(), label.1.to_owned());
    let mut found = summary.series.iter().filter(|series| series.name == name && series.labels == [label.clone()]);
    found.next().unwrap_or_else(|| panic!("{name} {label:?} in {summary:?}"))
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), wait).await.expect("it is polled every second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registered_collector_is_polled_each_interval_while_metrics_are_on() {
    let house = House::new();
    let extension =
        house.ready_with("collectors", |spec| spec.settings.debugging.metrics_interval = Duration::from_secs(1)).await;
    let lengths = || -> Vec<f64> {
        let all = samples(&extension).into_iter().filter(|sample| sample.name == "queue.length");
        all.inspect(|sample| assert_eq!(sample.envelope.origin, Origin::Guest)).map(|sample| sample.value).collect()
    };
    ask(&extension, "push", "").await;
    ask(&extension, "push", "").await;
    until(|| lengths().ends_with(&[2.0, 2.0])).await;
    // A new instance registers its own.
    fail(&extension, "panic", "", FailureKind::Panic).await;
    until(|| lengths().ends_with(&[0.0])).await;

    let mut settings = (*extension.settings()).clone();
    settings.debugging.metrics_enabled = false;
    extension.apply(settings, "a test").expect("it can be changed while it runs");
    let polled = ask(&extension, "polled", "").await;
    let rounds = || invocations(&extension).iter().filter(|(name, _)| name == "collect").count();
    let before = rounds();
    until(|| rounds() >= before + 2).await;
    assert_eq!(ask(&extension, "polled", "").await, polled, "what is off is not measured either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_times_and_errors_come_to_figures_by_operation_and_kind() {
    let house = House::new();
    let extension = house.ready("collectors").await;
    for _ in 0..20 {
        ask(&extension, "serve", "").await;
    }
    house.clock.advance(Duration::from_mins(2));
    let check = |summary: &Summary| {
        let index = series(summary, "response_time", ("operation", "index"));
        assert_eq!((index.aggregate.count, index.aggregate.mean(), index.unit.as_str()), (20, 12.0, "ms"));
        assert_eq!(index.aggregate.quantile(0.99), Some(12.0));
        assert_eq!(series(summary, "response_time", ("operation", "search")).aggregate.count, 20);
        let errors = series(summary, "errors", ("kind", "timeout"));
        assert_eq!((errors.aggregate.sum, errors.aggregate.quantile(0.5)), (20.0, None));
    };
    check(&summary(&extension));
    until(|| summary(&extension).rollups.iter().sum::<u64>() > 0).await;
    check(&summary(&extension));
}
