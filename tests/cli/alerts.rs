//! Alerts by the command: listed, looked into and resolved, under a host that runs, was killed, and runs again.

use serde_json::{Value, json};

use crate::harness::{Lines, Place, Running, wait_for};

fn call(host: &mut Running, replies: &Lines, event: &str, payload: &Value) {
    host.call(replies, &json!({"extension": "alarmist", "event": event, "payload": payload}));
}

fn alerts(place: &Place) -> Vec<Value> {
    place.on_data(&["alerts", "list", "--format", "json"]).expect_code(0).json_lines()
}

/// An alert by who raises it and its name.
fn find(alerts: &[Value], origin: &str, name: &str) -> Value {
    let found = alerts.iter().find(|alert| alert["origin"] == origin && alert["name"] == name);
    found.unwrap_or_else(|| panic!("{origin} {name}: {alerts:?}")).clone()
}

fn id(alert: &Value) -> &str {
    alert["alert"].as_str().expect("it has an id")
}

fn place() -> Place {
    let place = Place::with_plugins(&["alarmist"]);
    place.write("glasshouse.toml", "[defaults.budget]\nfailures_in_a_row = 2\n");
    place
}

#[test]
fn alerts_are_listed_resolved_and_there_after_a_kill_and_fire_anew() {
    let place = place();
    let (mut running, replies) = place.host(&["--config", "glasshouse.toml"]);
    assert!(place.on_data(&["alerts", "list"]).expect_code(0).stderr.contains("no alerts were raised"));
    let secret = "password=hunter2hunter2";
    for _ in 0..3 {
        call(&mut running, &replies, "raise", &json!({"name": "trap.loop", "title": "ha \u{1b}[2J", "metric": secret}));
    }
    for _ in 0..2 {
        call(&mut running, &replies, "fail", &Value::Null);
    }
    let found = wait_for("the host's alert", || Some(alerts(&place)).filter(|alerts| alerts.len() == 2));
    let (own, hosts) = (find(&found, "guest", "trap.loop"), find(&found, "host", "trap.loop"));
    assert_eq!((&own["state"], &own["raised"], &own["fired"]), (&json!("firing"), &json!(3), &json!(1)));
    assert_eq!((&hosts["state"], &hosts["severity"]), (&json!("firing"), &json!("critical")));
    assert!(own["resolves_at"].is_string() && hosts["resolves_at"].is_null(), "{found:?}");
    let table = place.on_data(&["alerts", "list", "--firing", "--severity", "high"]).expect_code(0).stdout;
    let line = |origin: &str| table.lines().find(|line| line.contains(&format!(" {origin} "))).expect("a line");
    assert!(line("host").contains("trap.loop budget=budget.failures_in_a_row"), "{table}");
    assert!(line("guest").contains("trap.loop metric=") && !table.contains('\u{1b}'), "{table}");
    assert_eq!(place.on_data(&["alerts", "list", "--severity", "critical"]).expect_code(0).stdout.lines().count(), 2);
    let records = place.on_data(&["alerts", "show", "--format", "json"]).expect_code(0).json_lines();
    assert_eq!(records.iter().filter(|record| record["origin"] == "host").count(), 1, "{records:?}");
    let shown = place.on_data(&["alerts", "show"]).expect_code(0).stdout;
    assert!(shown.lines().any(|line| line.contains(" host  trap.loop it fails call after call")), "{shown}");

    for (given, expect) in [("ffffffffffff", "`glasshouse alerts list` lists them"), ("", "there is no alert")] {
        let unknown = place.on_data(&["alerts", "resolve", given]).expect_code(2);
        assert!(unknown.stderr.contains(expect), "{unknown:?}");
    }
    let resolve = ["alerts", "resolve", &id(&own)[..8], "--note", &format!("calm \u{1b}[2J {secret}")];
    let told = place.on_data(&resolve).expect_code(0).stdout;
    assert!(told.contains("is resolved; it fires when it is raised again"), "{told}");
    let again = place.on_data(&resolve).expect_code(2);
    assert!(again.stderr.contains("it was over already"), "{again:?}");
    running.kill();

    // What was acknowledged is there, without the host and with another one.
    let stored = alerts(&place);
    let (own, hosts) = (find(&stored, "guest", "trap.loop"), find(&stored, "host", "trap.loop"));
    assert_eq!((&own["state"], &own["raised"], &hosts["state"]), (&json!("resolved"), &json!(3), &json!("firing")));
    let step = own["history"][1].clone();
    assert_eq!((&step["state"], &step["cause"]), (&json!("resolved"), &json!("by hand")));
    assert!(step["by"].as_str().is_some_and(|by| by.starts_with("uid ")), "{step}");
    let history = place.on_data(&["alerts", "history", id(&own)]).expect_code(0).stdout;
    for part in ["raised by the guest", "calm", "by hand, uid ", "3 times"] {
        assert!(history.contains(part), "{part}: {history}");
    }
    assert!(!history.contains('\u{1b}'), "{history}");
    let all = place.on_data(&["alerts", "history", "--format", "json"]).expect_code(0).stdout;
    let everything = format!("{all}{history}{table}{stored:?}{records:?}");
    assert!(everything.contains("[redacted]") && !everything.contains("hunter2"), "{everything}");
    let refused = place.on_data(&["alerts", "resolve", id(&hosts)]).expect_code(3);
    assert!(refused.stderr.contains("no host runs on the data directory"), "{refused:?}");

    let (mut running, replies) = place.host(&["--config", "glasshouse.toml"]);
    let kept = alerts(&place);
    let hosts = find(&kept, "host", "trap.loop");
    assert_eq!((&hosts["state"], &hosts["history"][1]["cause"]), (&json!("resolved"), &json!("recovered")));
    assert_eq!(find(&kept, "guest", "trap.loop")["state"], "resolved");
    call(&mut running, &replies, "raise", &json!({"name": "trap.loop", "metric": secret}));
    let fires = find(&alerts(&place), "guest", "trap.loop");
    assert_eq!((&fires["alert"], &fires["state"], &fires["fired"]), (&own["alert"], &json!("firing"), &json!(2)));
    let statistics = place.on_data(&["alerts", "stats", "--format", "json"]).expect_code(0).json_lines();
    let of_own = find(&statistics, "guest", "trap.loop");
    assert_eq!((&of_own["fired"], &of_own["raised"]), (&json!(2), &json!(4)));
    assert!(of_own["longest_ns"].as_u64() <= of_own["firing_ns"].as_u64(), "{of_own}");
    let told = place.on_data(&["alerts", "stats"]).expect_code(0).stdout;
    assert!(told.contains("1 of 2 alerts fire now, 0 of them critical; together they fired 3 times"), "{told}");
    let by = place.on_data(&["logs", "show", "--format", "json", "field.event=\"alerts.resolved\""]).expect_code(0);
    assert_eq!(by.json_lines()[0]["fields"]["alert"], own["alert"]);
}

#[test]
fn a_threshold_that_a_manifest_or_the_operator_declares_is_an_alert_of_the_host() {
    let place = Place::with_plugins(&[]);
    place.extension("shop", "neighbour", "[debugging]\nthresholds = [\"sum(echoes) > 2 over 1h\"]\n");
    place.write(
        "glasshouse.toml",
        "[extensions.shop.debugging]\nmetrics_interval = \"1s\"\nthresholds = [\"rate(echoes) > 1000 over 1h\"]\n",
    );
    let (mut running, replies) = place.host(&["--config", "glasshouse.toml"]);
    for _ in 0..3 {
        running.call(&replies, &json!({"extension": "shop", "event": "echo", "payload": "x"}));
    }
    let fires = |alerts: &Vec<Value>| alerts.iter().any(|alert| alert["name"] == "metric.threshold");
    let found = wait_for("the threshold's alert", || Some(alerts(&place)).filter(fires));
    let alert = find(&found, "host", "metric.threshold");
    assert_eq!(
        (&alert["value"], &alert["threshold"], &alert["severity"]),
        (&json!(3.0), &json!(2.0), &json!("medium"))
    );
    let table = place.on_data(&["alerts", "list"]).expect_code(0).stdout;
    assert!(table.contains("threshold=sum(echoes) > 2 over 1h"), "{table}");
    let history = place.on_data(&["alerts", "history", id(&alert)]).expect_code(0).stdout;
    assert!(history.contains("sum of echoes is 3 over the last"), "{history}");

    let wrong = ["debugging", "set", "shop", "debugging.thresholds=[\"echoes > 2\"]"];
    let refused = place.on_data(&wrong).expect_code(2);
    assert!(refused.stderr.contains("write such as p95(response_time) > 250 over 5m"), "{refused:?}");
    place.on_data(&["debugging", "set", "shop", "debugging.thresholds=[]"]).expect_code(0);
}

#[test]
fn what_was_raised_before_a_host_was_killed_is_counted_once() {
    let place = place();
    let mut raised = 0;
    for _ in 0..3 {
        let (mut running, replies) = place.host(&["--config", "glasshouse.toml"]);
        for _ in 0..20 {
            call(&mut running, &replies, "raise", &json!({"name": "disk"}));
            raised += 1;
        }
        running.kill();
        let own = find(&alerts(&place), "guest", "disk");
        assert_eq!((&own["raised"], &own["fired"]), (&json!(raised), &json!(1)));
    }
}
