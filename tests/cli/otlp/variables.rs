//! OpenTelemetry's own variables: they say where to push to where nobody else does.

use super::collector::Collector;
use super::{echo, sequences, stop, wait_for_health};
use crate::harness::{Place, Running, end};

#[test]
fn a_host_pushes_to_where_opentelemetrys_variables_say_unless_it_is_told_itself() {
    let (collector, own) = (Collector::start(), Collector::start());
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let variables = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address));
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter2%20hunter2");
        command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "never");
        command
    };
    let shown = end(&mut variables(&["config", "show", "plugins"])).expect_code(0);
    assert!(shown.stdout.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && shown.stdout.contains("[x-key=***]"), "{shown:?}");
    assert!(shown.stderr.contains("OTEL_EXPORTER_OTLP_TIMEOUT"), "it is said that it is passed over: {shown:?}");
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "-", "--set", "otlp.interval=100ms"];
    let push = |more: &[&str]| {
        let mut host = Running::start(&mut variables(&[&run[..], more].concat()));
        let replies = host.stdout();
        echo(&mut host, &replies, 5);
        wait_for_health(&place, " 0 wait");
        stop(host);
    };
    push(&[]);
    assert!(sequences(&collector.taken(&place.path("")), "neighbour").len() >= 5);
    let before = collector.received();
    assert!(before.iter().all(|request| request.header("x-key") == Some("hunter2 hunter2")));
    push(&["--set", &format!("otlp.endpoint=http://{}", own.address)]);
    assert_eq!(collector.received().len(), before.len(), "another place was named");
    let received = own.received();
    assert!(!received.is_empty() && received.iter().all(|request| request.header("x-key").is_none()));
}
