//! What metrics become. That Prometheus' own reader takes it is tested from the command line.

use glasshouse_model::wire::Metric;
use glasshouse_model::{HOST, Instrument, Origin};

use crate::testing::{Shelf, export, text};
use crate::{Format, What};

fn lines(shelves: &[&Shelf], format: Format) -> Vec<String> {
    text(shelves, What::Metrics, format, "").lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|known| known == line), "{line} is not among {lines:#?}");
}

#[test]
fn values_are_in_base_units_under_names_that_say_whose_they_are() {
    let (markdown, host) = (Shelf::new("markdown"), Shelf::new(HOST));
    for value in [1.0, 3.0, 100.0] {
        markdown.sample(Instrument::Histogram, "took", "ms", value);
        markdown.sample(Instrument::Counter, "requests.served", "", value);
    }
    let of_host = |name, unit, value| Metric { instrument: Instrument::Gauge, name, unit, value };
    markdown.metric(Origin::Host, &of_host("cpu_percent", "%", 50.0), &[]);
    host.metric(Origin::Host, &of_host("cpu_percent", "%", 25.0), &[]);
    host.metric(Origin::Host, &of_host("process_resident_memory_bytes", "By", 4096.0), &[]);
    let shown = lines(&[&markdown, &host], Format::Prometheus);
    for line in [
        "# TYPE glasshouse_guest_requests_served_total counter",
        "glasshouse_guest_requests_served_total{extension=\"markdown\"} 104.0",
        "glasshouse_extension_cpu_ratio{extension=\"markdown\"} 0.5",
        "glasshouse_host_cpu_ratio{extension=\"host\"} 0.25",
        "process_resident_memory_bytes{extension=\"host\"} 4096.0",
        "# TYPE glasshouse_guest_took_seconds histogram",
        "glasshouse_guest_took_seconds_bucket{extension=\"markdown\",le=\"0.001\"} 1",
        "glasshouse_guest_took_seconds_bucket{extension=\"markdown\",le=\"0.004\"} 2",
        "glasshouse_guest_took_seconds_bucket{extension=\"markdown\",le=\"0.128\"} 3",
        "glasshouse_guest_took_seconds_bucket{extension=\"markdown\",le=\"+Inf\"} 3",
        "glasshouse_guest_took_seconds_sum{extension=\"markdown\"} 0.104",
        "glasshouse_guest_took_seconds_count{extension=\"markdown\"} 3",
        "glasshouse_extension_records_stored_total{extension=\"markdown\",signal=\"metrics\"} 7.0",
    ] {
        has(&shown, line);
    }
    let open = lines(&[&markdown, &host], Format::OpenMetrics);
    has(&open, "# TYPE glasshouse_guest_requests_served counter");
    has(&open, "# UNIT glasshouse_guest_took_seconds seconds");
    let exemplar = format!("# {{trace_id=\"{:032x}\",span_id=\"{:016x}\"}} 100.0 1800000000.005000000", 7, 8);
    has(&open, &format!("glasshouse_guest_requests_served_total{{extension=\"markdown\"}} 104.0 {exemplar}"));
    assert_eq!(open.last().map(String::as_str), Some("# EOF"));
    assert!(shown.iter().all(|line| !line.contains("trace_id")), "the older format has no place for exemplars");
}

#[test]
fn a_histogram_of_what_is_below_zero_has_no_sum_in_openmetrics_which_has_it_grow() {
    let shelf = Shelf::new("markdown");
    for value in [-3.0, 1.0] {
        shelf.sample(Instrument::Histogram, "drift", "s", value);
        shelf.sample(Instrument::Histogram, "took", "s", value.abs());
    }
    let name = |series: &str| format!("glasshouse_guest_{series}{{extension=\"markdown\"}}");
    let shown = lines(&[&shelf], Format::Prometheus);
    has(&shown, &format!("{} -2.0", name("drift_seconds_sum")));
    let open = lines(&[&shelf], Format::OpenMetrics);
    has(&open, &format!("{} 4.0", name("took_seconds_sum")));
    has(&open, "glasshouse_guest_drift_seconds_bucket{extension=\"markdown\",le=\"0.0\"} 1");
    for end in ["sum", "count"] {
        assert!(!open.iter().any(|line| line.starts_with(&name(&format!("drift_seconds_{end}")))), "{open:#?}");
    }
}

#[test]
fn a_unit_is_told_where_the_name_ends_with_it_and_nowhere_else() {
    let shelf = Shelf::new("markdown");
    for instrument in [Instrument::Gauge, Instrument::Histogram, Instrument::Counter] {
        shelf.sample(instrument, "took", "ms", 1.0);
    }
    let open = lines(&[&shelf], Format::OpenMetrics);
    let units: Vec<_> = open.iter().filter_map(|line| line.strip_prefix("# UNIT ")?.split_once(' ')).collect();
    assert!(!units.is_empty() && units.iter().all(|(name, unit)| name.ends_with(&format!("_{unit}"))), "{units:?}");
    let families: Vec<_> = open.iter().filter(|line| line.starts_with("# TYPE glasshouse_guest_took")).collect();
    assert_eq!(families.len(), 3, "{families:?}");
}

#[test]
fn an_exemplar_is_within_what_openmetrics_has_as_its_most() {
    let shelf = Shelf::new("markdown");
    shelf.sample(Instrument::Counter, "calls", "", 1.0);
    let open = lines(&[&shelf], Format::OpenMetrics);
    let exemplars: Vec<_> = open.iter().filter_map(|line| line.split_once(" # {")?.1.split_once('}')).collect();
    assert!(!exemplars.is_empty());
    for (labels, _) in exemplars {
        // Characters of the names and values of its labels, without what stands between them.
        let characters: usize = labels.split(['=', ',']).map(|part| part.trim_matches('"').chars().count()).sum();
        assert!(characters <= 128, "{characters}: {labels}");
    }
}

#[test]
fn names_that_would_take_each_others_place_do_not() {
    let shelf = Shelf::new("markdown");
    shelf.sample(Instrument::Gauge, "a.b", "", 1.0);
    shelf.sample(Instrument::Gauge, "a_b", "", 2.0);
    shelf.sample(Instrument::Counter, "a.b", "", 3.0);
    shelf.sample(Instrument::Histogram, "size", "", 4.0);
    shelf.sample(Instrument::Counter, "size", "", 5.0);
    shelf.sample(Instrument::Gauge, "glasshouse_extension_series_left_out", "", 6.0);
    let (bytes, exported) = export(&[&shelf], What::Metrics, Format::OpenMetrics, "");
    let shown: Vec<_> = String::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect();
    assert_eq!((exported.written, exported.left_out), (5, 1), "{shown:#?}");
    has(&shown, "glasshouse_extension_series_left_out{extension=\"markdown\"} 1.0");
    let types: Vec<_> = shown.iter().filter(|line| line.starts_with("# TYPE")).collect();
    let unique: std::collections::BTreeSet<_> = types.iter().map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(types.len(), unique.len(), "{types:#?}");
}

#[test]
fn an_extension_brings_in_no_more_series_and_labels_than_there_is_room_for() {
    let shelf = Shelf::new("markdown");
    for number in 0..1500 {
        shelf.sample(Instrument::Counter, &format!("metric{number}"), "", 1.0);
    }
    let names: Vec<_> = (0..60).map(|number| format!("l{number}")).collect();
    let long = "x".repeat(5000);
    let labels: Vec<_> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
    let metric = Metric { instrument: Instrument::Gauge, name: "a", unit: "", value: 1.0 };
    shelf.metric(Origin::Guest, &metric, &labels);
    let (bytes, exported) = export(&[&shelf], What::Metrics, Format::Prometheus, "");
    assert_eq!((exported.written, exported.left_out), (1000, 501));
    let shown = String::from_utf8(bytes).expect("text");
    let line = shown.lines().find(|line| line.starts_with("glasshouse_guest_a{")).expect("it is the first by name");
    assert_eq!(line.matches("=\"").count(), 25);
    assert!(line.len() < 25 * 220, "{}", line.len());
}
