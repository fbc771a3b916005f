//! What is exported of metrics, as Prometheus' own tool and its client's reader read it.

use std::fs;

use serde_json::json;

use super::{HOSTILE, export, lines, served};
use crate::harness::{Place, wait_for};
use crate::peers;

#[test]
fn prometheus_own_tool_finds_no_fault_in_what_the_host_names() {
    let place = Place::with_plugins(&["neighbour"]);
    let mut host = place.host(&[]).0;
    host.tell(&json!({"extension": "neighbour", "event": "echo", "payload": 1}));
    wait_for("a sample", || (!lines(&place, "metrics", &["--query", "name=echoes"]).is_empty()).then_some(()));
    let ended = peers::promtool(&export(&place, "metrics", "prometheus", &[]));
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""));
    let shown = fs::read_to_string(place.path("metrics.prometheus")).expect("it was exported");
    for line in
        ["glasshouse_guest_echoes_total{extension=\"neighbour\"} 1.0", "# TYPE process_cpu_seconds_total counter"]
    {
        assert!(shown.lines().any(|known| known == line), "{shown}");
    }
}

#[test]
fn whatever_extensions_call_things_prometheus_and_openmetrics_readers_take_it() {
    let place = served();
    let ended = peers::promtool(&export(&place, "metrics", "prometheus", &[]));
    // What an extension calls its metrics may be against good taste (3), never against the format (1).
    assert!(matches!(ended.code, Some(0 | 3)) && !ended.stderr.contains("error while linting"), "{ended:?}");
    let families = peers::read("openmetrics", &[], &export(&place, "metrics", "openmetrics", &[]));
    let families = families.as_array().expect("families");
    let of =
        |name: &str| families.iter().find(|family| family["name"] == name).unwrap_or_else(|| panic!("{families:?}"));
    let samples = |name: &str| of(name)["samples"].as_array().cloned().unwrap_or_default();
    let echoes = &samples("glasshouse_guest_echoes")[0];
    assert_eq!((&echoes["value"], &echoes["labels"]["extension"]), (&json!(5.0), &json!("neighbour")));
    assert_eq!(echoes["exemplar"]["trace_id"].as_str().map(str::len), Some(32), "{echoes}");
    let sizes = samples("glasshouse_guest_size");
    for text in HOSTILE {
        let shown = text.contains(['\u{1b}', '\r', '\n', '\u{0}']);
        let is_there = sizes.iter().any(|sample| sample["labels"]["of"] == text);
        assert!(is_there || shown, "{text:?} is not among {sizes:?}");
    }
    assert!(families.iter().all(|family| family["name"] != "up"), "no extension makes up metrics of others");
    assert_eq!(of("process_cpu_seconds")["unit"], "seconds");
}
