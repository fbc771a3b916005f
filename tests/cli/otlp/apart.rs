//! What fails for one extension, one service or one record holds up no other.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::collector::{Answer, Collector, decoded, nowhere, settings};
use super::{LOGS, SPANS, amounts, echo, exported, health, in_order, rotel, sequences, stop, texts, wait_for_health};
use crate::harness::{Place, wait_for};

fn is_of(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Has logs of one extension answered in this way for ever, and checks that all of another's are taken, while the health says steadily what is wrong.
fn check_one_against_another(answer: &Answer, told: &str) {
    let answered = answer.clone();
    let collector =
        Collector::with(move |_, _, body| if is_of(body, "another drop") { answered.clone() } else { Answer::Take });
    let place = Place::with_plugins(&["neighbour", "log-flood"]).lenient();
    let more = ["otlp.signals=[\"logs\"]", "otlp.compression=none", "otlp.batch_records=10"];
    let (mut host, replies) = place.host(&texts(&collector.settings(&more)));
    host.call(&replies, &json!({"extension": "log-flood", "event": "flood", "payload": 10_000}));
    wait_for_health(&place, told);
    let last = || sequences(&collector.taken(&place.path("")), "neighbour").into_iter().max();
    for round in 1..=5 {
        echo(&mut host, &replies, 10);
        wait_for("the neighbour's logs", || last().filter(|last| *last >= round * 10));
        let check = health(&place);
        assert!(check["status"] == "degraded" && check["detail"].to_string().contains(told), "{check}");
    }
    stop(host);
    let mut came = sequences(&collector.taken(&place.path("")), "neighbour");
    came.sort_unstable();
    assert!(came.len() >= 50, "{came:?}");
    assert_eq!(came, (1..=came.len() as u64).collect::<Vec<_>>());
    let refused = collector.received().iter().filter(|request| !request.is_taken()).count();
    // Of a thousand requests it was tried with few: each one that is refused makes the pause before the next longer.
    assert!((1..200).contains(&refused), "{refused}");
}

#[test]
fn an_extension_whose_records_are_refused_holds_up_nobody_else_and_is_named_for_as_long() {
    check_one_against_another(&Answer::Say(400, "", Vec::new()), "logs of log-flood are refused since");
}

#[test]
fn an_extension_that_makes_the_collector_fail_holds_up_nobody_else_and_that_is_said_for_as_long() {
    check_one_against_another(&Answer::Say(503, "", Vec::new()), "logs fail since");
}

#[test]
fn a_service_that_says_nothing_holds_up_no_other() {
    let collector = Collector::with(|_, path, _| if path == "/v1/logs" { Answer::Hang } else { Answer::Take });
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let more = ["otlp.timeout=10m", "host.shutdown_limit=1s"];
    let (mut host, replies) = place.host(&texts(&collector.settings(&more)));
    for round in 1..=3 {
        echo(&mut host, &replies, 10);
        wait_for("calls and metrics", || {
            let data = collector.taken(&place.path(""));
            let calls = in_order(&data, SPANS).into_iter().filter(|(service, ..)| service == "neighbour").count();
            let echoes = amounts(&data).get(&("neighbour".to_owned(), "echoes".to_owned())).copied();
            (calls >= round * 10 && echoes >= Some((round * 10) as f64)).then_some(())
        });
    }
    let logs = collector.received().into_iter().filter(|request| request.path == "/v1/logs").count();
    assert_eq!(logs, 1, "one is on its way, and nothing was said of it");
    stop(host);
}

/// The lengths of the messages that an extension's logs came with, by their numbers.
fn lengths(data: &[Value], extension: &str) -> Vec<usize> {
    let of_it = in_order(data, LOGS).into_iter().filter(|(service, ..)| service == extension);
    of_it.map(|(_, _, log)| log["body"]["stringValue"].as_str().unwrap_or_default().len()).collect()
}

#[test]
fn a_request_that_is_too_large_is_sent_in_parts_and_a_record_that_is_too_large_is_passed_over_and_counted() {
    const MOST: usize = 4000;
    for answer in
        [Answer::Say(413, "", Vec::new()), Answer::Say(400, "", b"\x12\x1ahttp: request body too large".to_vec())]
    {
        let collector =
            Collector::with(move |_, _, body| if body.len() > MOST { answer.clone() } else { Answer::Take });
        let place = Place::with_plugins(&["long-log", "neighbour"]).lenient();
        let more = ["otlp.signals=[\"logs\"]", "otlp.compression=none", "otlp.interval=1s"];
        let (mut host, replies) = place.host(&texts(&collector.settings(&more)));
        for bytes in [500, 5000, 700, 900, 6000, 1500] {
            host.call(&replies, &json!({"extension": "long-log", "event": "message", "payload": bytes}));
        }
        echo(&mut host, &replies, 40);
        let check = wait_for_health(&place, " 0 wait");
        let detail = check["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("; 2 were larger than the collector takes"), "{check}");
        stop(host);
        let data = collector.taken(&place.path(""));
        let mut came = lengths(&data, "long-log");
        came.retain(|length| *length >= 500);
        assert_eq!(came, [500, 700, 900, 1500], "all others came, once and in order");
        let mut echoes = sequences(&data, "neighbour");
        echoes.sort_unstable();
        let distinct: BTreeSet<_> = echoes.iter().collect();
        assert!(distinct.len() == echoes.len() && echoes.len() >= 40, "{echoes:?}");
        let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "--limit", "1000"]);
        let lost: Vec<_> = logs.json_lines().into_iter().filter(|log| log["fields"]["event"] == "otlp.lost").collect();
        let sum = |key: &str| lost.iter().filter_map(|log| log["fields"][key].as_u64()).sum::<u64>();
        assert_eq!((sum("oversized"), sum("refused"), lost.len() <= 2), (2, 0, true), "{lost:?}");
    }
}

#[test]
fn a_real_collector_that_takes_less_at_once_than_is_sent_gets_it_in_parts() {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let behind = Collector::start();
    let (grpc, http) = (nowhere(), nowhere());
    let limit = ["--otlp-grpc-max-recv-msg-size-mib", "1"];
    let mut collector = rotel::start_with(&place, &grpc, &http, &behind, &limit);
    let more = [
        "otlp.protocol=grpc",
        "otlp.compression=none",
        "otlp.signals=[\"logs\"]",
        "otlp.batch_records=8192",
        "otlp.batch_bytes=16MiB",
        "otlp.interval=1s",
        "defaults.debugging.max_log_entries=100000",
    ];
    let (mut host, replies) = place.host(&texts(&settings(&grpc, &more)));
    host.call(&replies, &json!({"extension": "log-flood", "event": "flood", "payload": 8000}));
    let check = wait_for_health(&place, " 0 wait");
    assert_eq!(check["status"], "healthy", "{check}");
    stop(host);
    collector.interrupt();
    collector.code_within(super::SOON);
    let stored = sequences(&[exported(&place, "logs", "logs")], "log-flood").len();
    let mut came = sequences(&decoded(&place.path(""), &behind.received()), "log-flood");
    came.sort_unstable();
    assert_eq!(came, (1..=stored as u64).collect::<Vec<_>>());
}
