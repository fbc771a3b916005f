//! Server-sent events: nothing is lost or doubled, and what is missing is told.

use serde_json::json;

use super::served::{Served, ping};
use crate::damage;
use crate::harness::{Place, wait_for};

#[test]
fn a_stream_goes_on_where_it_broke_off_with_nothing_lost_or_doubled() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut served = Served::start(&place);
    let mut events = served.stream("dashboard/neighbour/invocations/stream?query=name:echo", "");
    let mut seen = Vec::new();
    let mut last = String::new();
    for round in 0..4 {
        for number in 0..10 {
            served.call(&ping(number));
        }
        // It is broken off in the middle, and the rest comes over the next one.
        for _ in 0..if round == 3 { 40 - seen.len() } else { 7 } {
            let (id, name, data) = events.next();
            assert_eq!((name.as_str(), data["cursor"].as_str()), ("record", id.as_deref()));
            seen.push(data["sequence"].as_u64().expect("a number"));
            last = id.expect("it has an id");
        }
        if round < 3 {
            events = served.stream(
                "dashboard/neighbour/invocations/stream?query=name:echo",
                &format!("Last-Event-ID: {last}\r\n"),
            );
        }
    }
    let stored =
        served.get("dashboard/neighbour/invocations?limit=1000&query=name:echo%20oldest%20first").expect(200).json();
    let stored: Vec<_> = stored["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(|one| one["sequence"].as_u64().expect("a number"))
        .collect();
    assert_eq!((seen.len(), seen), (40, stored));
}

#[test]
fn a_stream_tells_what_was_evicted_before_it_was_taken() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let settings = ["--set", "defaults.retention.logs_bytes=256KiB", "--set", "defaults.budget.deadline=10m"];
    let mut served = Served::start_with(&place, &settings);
    let mut flood = |logs: u32| served.call(&json!({"extension": "log-flood", "event": "flood", "payload": logs}));
    flood(1);
    flood(20_000);
    let first = served.get("dashboard/log-flood/logs?limit=1&query=newest%20first").expect(200).json();
    let newest = first["records"][0]["cursor"].as_str().expect("a cursor").to_owned();
    let (incarnation, rest) = newest.split_once('.').expect("a cursor's parts");
    let of = rest.split_once('.').expect("a cursor's parts").1;
    let first = format!("{incarnation}.1.{of}");
    let mut events = served.stream(&format!("dashboard/log-flood/logs/stream?after={first}"), "");
    let (_, name, gap) = events.next();
    assert_eq!((name.as_str(), gap["cause"].as_str()), ("gap", Some("evicted")), "{gap}");
    let (_, _, record) = events.next();
    assert_eq!(record["sequence"].as_u64(), gap["missed"].as_u64().map(|missed| missed + 2), "{gap} {record}");
    let page = served.get(&format!("dashboard/log-flood/logs?after={first}")).expect(200).json();
    // What is sealed meanwhile may drive more of it out.
    assert_eq!(page["gaps"][0]["cause"], "evicted", "{page}");
    assert!(page["gaps"][0]["missed"].as_u64() >= gap["missed"].as_u64(), "{gap} {page}");
}

#[test]
fn a_reader_that_stops_reading_for_a_while_is_told_what_was_evicted_meanwhile() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let settings = ["--set", "defaults.retention.logs_bytes=256KiB", "--set", "defaults.budget.deadline=10m"];
    let mut served = Served::start_with(&place, &settings);
    let mut events = served.stream("dashboard/log-flood/logs/stream", "");
    let begun = events.next_id();
    let flood = |logs: u32| json!({"extension": "log-flood", "event": "flood", "payload": logs});
    served.call(&flood(1));
    let (_, name, first) = events.next();
    assert_eq!(name, "record", "{begun}: {first}");
    // Many times what the system keeps for who does not read, and what is kept of logs.
    served.call_often(&flood(30_000), 6);
    let newest = served.get("dashboard/log-flood/logs?limit=1").expect(200).json();
    let newest = newest["records"][0]["sequence"].as_u64().expect("a number");
    let mut next = first["sequence"].as_u64().expect("a number") + 1;
    let (mut records, mut evicted) = (0, 0);
    while next <= newest {
        let (_, name, data) = events.next();
        if name == "gap" {
            assert_eq!(data["cause"], "evicted", "{data}");
            evicted += data["missed"].as_u64().expect("a number");
            next += data["missed"].as_u64().expect("a number");
        } else {
            assert_eq!(data["sequence"].as_u64(), Some(next), "after {records} records and {evicted} evicted ones");
            records += 1;
            next += 1;
        }
    }
    assert!(records > 0 && evicted > 0, "{records} records, {evicted} evicted");
}

#[test]
fn streams_of_every_signal_go_on_where_they_broke_off_with_their_query() {
    let place = Place::with_plugins(&["neighbour", "alarmist"]).lenient();
    let mut served = Served::start(&place);
    let raise =
        |name: &str| json!({"extension": "alarmist", "event": "raise", "payload": {"name": name, "metric": null}});
    let refuse = json!({"extension": "neighbour", "event": "refuse", "payload": null});
    // What is asked for, what brings about a record of it, and what brings about one that is not asked for.
    for (path, wanted, other, field, value) in [
        ("dashboard/neighbour/metrics/stream?query=name=echoes", ping(1), refuse.clone(), "name", "echoes"),
        ("dashboard/alarmist/alerts/stream?query=type=full", raise("full"), raise("other"), "type", "full"),
        ("dashboard/neighbour/logs/stream?query=message:echoed", ping(4), refuse, "message", "echoed"),
    ] {
        let mut events = served.stream(path, "");
        let mut last = events.next_id();
        let mut seen = Vec::new();
        for round in 0..3 {
            served.call_often(&wanted, 4);
            served.call(&other);
            // It is broken off before all of them came, and the others come over the next one.
            while seen.len() < if round == 2 { 12 } else { 4 * round + 3 } {
                let (id, name, data) = events.next();
                assert_eq!((name.as_str(), data[field].as_str()), ("record", Some(value)), "{path}: {data}");
                seen.push(data["sequence"].as_u64().expect("a number"));
                last = id.expect("it has an id");
            }
            events = served.stream(path, &format!("Last-Event-ID: {last}\r\n"));
        }
        let (signal, query) = path.split_once("/stream?").expect("a query");
        let wanted = json!({"query": format!("{} oldest first", query.trim_start_matches("query=")), "limit": 100});
        let stored = served.post(&format!("{signal}/search"), &wanted).expect(200).json();
        let stored: Vec<_> =
            stored["records"].as_array().expect("records").iter().filter_map(|one| one["sequence"].as_u64()).collect();
        assert_eq!((seen.len(), &seen[..]), (12, &stored[stored.len() - 12..]), "{path}: each once, and none else");
    }
}

#[test]
fn the_life_of_extensions_is_a_stream() {
    let place = Place::with_plugins(&["neighbour", "traps"]);
    let mut served = Served::start_with(&place, &["--set", "defaults.budget.failures_in_a_row=1"]);
    let mut events = served.stream("managers/stream", "");
    let first: Vec<_> = (0..2).map(|_| events.next().2["extension"].clone()).collect();
    assert_eq!(first, [json!("neighbour"), json!("traps")]);
    served.call(&json!({"extension": "traps", "event": "out-of-bounds", "payload": null}));
    let (_, name, data) = events.next();
    assert_eq!(
        (name.as_str(), data["extension"].as_str(), data["status"].as_str()),
        ("manager", Some("traps"), Some("quarantined"))
    );
    let health = served.get("health").expect(200).json();
    assert_eq!(health["status"], "unhealthy", "{health}");
    let remedy =
        health["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["name"] == "extension traps"));
    assert!(
        remedy.is_some_and(|check| check["remedy"].as_str().is_some_and(|text| text.contains("budgets release traps"))),
        "{health}"
    );
    place.on_data(&["health"]).expect_code(4);
    place.on_data(&["health", "--extension-id", "neighbour", "--check"]).expect_code(0);
}

#[test]
fn a_stream_that_broke_off_before_it_told_anything_loses_nothing() {
    let place = Place::with_plugins(&["neighbour"]);
    let mut served = Served::start(&place);
    let path = "dashboard/neighbour/invocations/stream?query=name:echo";
    let begun = served.stream(path, "").next_id();
    served.call(&ping(1));
    let (_, name, record) = served.stream(path, &format!("Last-Event-ID: {begun}\r\n")).next();
    assert_eq!((name.as_str(), record["name"].as_str()), ("record", Some("handle:echo")), "{record}");
}

#[test]
fn a_stream_ends_with_the_token_that_it_came_with() {
    let place = Place::with_plugins(&["neighbour"]);
    let mut served = Served::start(&place);
    let made = served.post("tokens", &json!({"name": "a reader"})).expect(200).json();
    let admin = std::mem::replace(&mut served.token, made["secret"].as_str().expect("a secret").to_owned());
    let mut events = served.stream("dashboard/neighbour/invocations/stream", "");
    events.next_id();
    served.token = admin;
    let id = made["id"].as_str().expect("an id");
    served.ask(&format!("DELETE {}/tokens/{id}", super::served::ROOT), Some(&served.token), "", "").expect(200);
    events.expect_end();
}

#[test]
fn pages_tell_what_is_damaged_between_their_records() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let mut served = Served::start_with(&place, &["--set", "defaults.budget.deadline=10m"]);
    served.call(&json!({"extension": "log-flood", "event": "flood", "payload": damage::BURST}));
    wait_for("three sealed files", || (damage::sealed(&place).len() >= 3).then_some(()));
    let path = |query: &str| format!("dashboard/log-flood/logs?limit=1000&query={query}");
    let whole = served.get(&path("")).expect(200).json();
    assert!(whole["gaps"].is_null() && whole["records"].is_array(), "{whole}");
    let victim = damage::sealed(&place)[1].clone();
    let lost = damage::named(&victim);
    damage::overwrite(&victim);
    for (query, cursor, way) in [("newest%20first", "older", "before"), ("oldest%20first", "newer", "after")] {
        let (mut told, mut there, mut at) = (0, 0, String::new());
        loop {
            let page = served.get(&format!("{}{at}", path(query))).expect(200).json();
            let records = page["records"].as_array().expect("records").len() as u64;
            for gap in page["gaps"].as_array().into_iter().flatten() {
                assert_eq!(gap["cause"], "damaged", "{gap}");
                told += gap["missed"].as_u64().expect("a number");
            }
            there += records;
            match page[cursor].as_str() {
                Some(cursor) if records == 1000 => at = format!("&{way}={cursor}"),
                _ => break,
            }
        }
        // Each of the damaged records is told once, and all others are there.
        assert_eq!(told, lost, "{query}");
        assert!(there + told > damage::BURST, "{query}: {there}");
    }
}

#[test]
fn each_of_many_readers_of_the_same_is_told_each_record_once_wherever_it_began() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut served = Served::start(&place);
    let path = "dashboard/neighbour/invocations/stream?query=name:echo";
    let begin = |served: &Served| -> Vec<_> {
        let mut readers: Vec<_> = (0..20).map(|_| served.stream(path, "")).collect();
        for reader in &mut readers {
            reader.next_id();
        }
        readers
    };
    let mut early = begin(&served);
    served.call_often(&ping(1), 100);
    let mut late = begin(&served);
    served.call_often(&ping(2), 100);
    let take = |reader: &mut super::served::Events, records: usize| -> Vec<u64> {
        (0..records).map(|_| reader.next().2["sequence"].as_u64().expect("a number")).collect()
    };
    let all = take(&mut early[0], 200);
    assert!(all.is_sorted_by(|one, other| one < other));
    assert!(early[1..].iter_mut().all(|reader| take(reader, 200) == all));
    assert!(late.iter_mut().all(|reader| take(reader, 100) == all[100..]));
}
