//! What metrics come to, asked of a host's data directory: over windows, over restarts, across extensions.

use serde_json::Value;

use crate::harness::{Ended, Place};

const ECHO: &str = "{\"extension\": \"neighbour\", \"event\": \"echo\"}\n";

fn run(place: &Place, events: usize) {
    place.write("feed.jsonl", &ECHO.repeat(events));
    let run = ["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done", "--data-dir", "data"];
    place.glasshouse(&run).expect_code(0);
}

fn metrics(place: &Place, arguments: &[&str]) -> Ended {
    place.glasshouse(&[&["metrics"], arguments, &["--data-dir", "data"]].concat())
}

/// The series that are told, as JSON.
fn series(place: &Place, arguments: &[&str]) -> Vec<Value> {
    metrics(place, &[arguments, &["--format", "json"]].concat()).expect_code(0).json_lines()
}

#[test]
fn a_counter_goes_on_when_its_instance_and_its_host_start_again() {
    let place = Place::with_plugins(&["neighbour"]);
    for round in 1..=3 {
        run(&place, 5);
        let echoes = series(&place, &["summary", "name=echoes"]);
        assert_eq!(echoes.len(), 1, "{echoes:?}");
        let of = |name: &str| echoes[0][name].as_f64();
        assert_eq!((of("count"), of("sum")), (Some(5.0 * f64::from(round)), Some(5.0 * f64::from(round))));
        assert_eq!((of("min"), of("max"), of("p99")), (Some(1.0), Some(1.0), None));
        assert_eq!(echoes[0]["missed"], 0, "{echoes:?}");
        let samples = place.glasshouse(&["metrics", "show", "name=echoes", "--data-dir", "data", "--format", "json"]);
        assert_eq!(samples.json_lines().len(), 5 * round as usize);
    }
    let together = series(&place, &["summary", "--together", "--hours", "1", "instrument=counter"]);
    assert!(together.iter().all(|series| series["extension"].is_null()), "{together:?}");
    assert!(together.iter().any(|series| series["name"] == "echoes" && series["sum"] == 15.0), "{together:?}");
    assert!(series(&place, &["summary", "name=echoes until 1h"]).is_empty());
}

#[test]
fn figures_are_told_with_their_units_and_with_what_they_are_made_of() {
    let place = Place::with_plugins(&["neighbour"]);
    run(&place, 5);
    let told = metrics(&place, &["summary", "--extension-id", "host"]).expect_code(0);
    let line =
        |name: &str| told.stdout.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{told:?}"));
    let columns = ["metric", "count", "sum", "rate", "mean", "p50", "p95", "p99", "last"];
    assert!(line("metric").split_whitespace().eq(columns), "{told:?}");
    assert!(line("process_resident_memory_bytes").ends_with("iB"), "{told:?}");
    assert!(line("memory_mb").ends_with(" MB") && line("memory_percent").ends_with(" %"), "{told:?}");
    assert!(line("process_cpu_seconds_total").contains("s/s"), "{told:?}");
    assert!(told.stderr.contains(": from "), "{told:?}");

    let chosen = metrics(&place, &["summary", "--extension-id", "host", "--stat", "count,p99.9", "name=memory_mb"]);
    let chosen = chosen.expect_code(0).stdout;
    let head = chosen.lines().next().unwrap_or_default();
    assert!(head.split_whitespace().eq(["metric", "count", "p99.9"]), "{chosen}");
    let both = metrics(&place, &["summary", "--extension-id", "neighbour", "--stat", "count"]).expect_code(0).stdout;
    let rows: Vec<Vec<_>> = both.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows[0] == ["origin", "metric", "count"] && rows.contains(&vec!["guest", "echoes", "5"]), "{both}");
    assert!(rows.contains(&vec!["host", "memory_mb", "1"]), "what the host measured is told from it: {both}");
    let wrong = metrics(&place, &["summary", "--stat", "p42"]).expect_code(2);
    assert!(wrong.stderr.contains("p99.9"), "{wrong:?}");
    metrics(&place, &["summary", "--since", "yesterday"]).expect_code(2);
}

#[test]
fn what_is_current_has_the_latest_value_and_the_last_minute() {
    let place = Place::with_plugins(&["neighbour"]);
    run(&place, 5);
    let echoes = series(&place, &["current", "name=echoes"]);
    assert_eq!((echoes.len(), echoes[0]["sum"].as_f64()), (1, Some(5.0)), "{echoes:?}");
    let minute = &echoes[0]["last_minute"];
    // On a machine that is very busy the minute may be over.
    assert!(minute.is_null() || minute["count"] == 5, "{minute}");
    let told = metrics(&place, &["current", "name=memory_mb", "--extension-id", "host"]).expect_code(0).stdout;
    assert!(told.contains("memory_mb") && told.contains(" MB"), "{told}");
    let wrong = metrics(&place, &["current", "since 2h"]).expect_code(2);
    assert!(wrong.stderr.contains("metrics summary"), "{wrong:?}");
}
