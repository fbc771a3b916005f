//! What others make of the API: a program that tries whatever its description allows, and a Prometheus that reads its metrics.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::served::{PROOF, ROOT, Served, ping};
use crate::harness::{Place, Running, wait_for};
use crate::peers;

/// Requests that are made up for each path, beside those that try what its description allows and forbids.
const EXAMPLES: &str = "8";
/// Those that were made at least: more than a dozen for each of the paths that are tried.
const TRIED: u64 = 500;
/// How long one answer of a peer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the paths name that there is, so that what is answered is looked at, and not only what is refused.
fn names(served: &Served) -> String {
    let first = |path: &str, of: &str| {
        let told = served.get(path).expect(200).json();
        told.as_array().and_then(|all| all[0][of].as_str()).unwrap_or_else(|| panic!("{path}: {told}")).to_owned()
    };
    let (group, alert) = (first("errors/panic/groups", "group"), first("alerts/alarmist", "alert"));
    let started = served.post("sessions/neighbour/start", &json!({"set": {"log_level": "trace"}})).expect(200).json();
    let session = started["session"].as_str().expect("an id");
    // Not the one that the requests come with.
    let token = served.post("tokens", &json!({"name": "to be ended"})).expect(200).json();
    let token = token["id"].as_str().expect("an id");
    let mut text = "[parameters]\n\"path.id\" = \"neighbour\"\n".to_owned();
    for (path, parameters) in [
        ("errors/{id}/{group}/resolve", [("id", "panic"), ("group", &*group)]),
        ("alerts/{id}/{alert}/resolve", [("id", "alarmist"), ("alert", &*alert)]),
        ("sessions/{id}/{session}/stop", [("id", "neighbour"), ("session", session)]),
        ("trace/{id}", [("id", "order-7"); 2]),
        ("tokens/{id}", [("id", token); 2]),
    ] {
        let known: BTreeMap<_, _> = parameters.into_iter().collect();
        let known: Vec<_> = known.iter().map(|(name, value)| format!("\"path.{name}\" = \"{value}\"\n")).collect();
        let head = format!("[[operations]]\ninclude-path = \"{ROOT}/{path}\"\n[operations.parameters]\n");
        text += &(head + &known.concat());
    }
    text
}

/// Paths of the description that none of these requests was answered well on.
fn never_answered(place: &Place, har: &str) -> Vec<String> {
    let har: Value = serde_json::from_str(&place.read(har)).expect("it is JSON");
    let entries = har["log"]["entries"].as_array().expect("requests");
    let answered: Vec<_> = entries
        .iter()
        .filter(|entry| entry["response"]["status"] == 200)
        .filter_map(|entry| {
            let url = entry["request"]["url"].as_str()?.split('?').next()?;
            let path = &url[url.find(ROOT)? + ROOT.len()..];
            Some((entry["request"]["method"].as_str()?.to_lowercase(), path.split('/').collect::<Vec<_>>()))
        })
        .collect();
    let described = include_str!("../../../docs/openapi.json");
    let described: Value = serde_json::from_str(described).expect("it is JSON");
    let mut never = Vec::new();
    for (path, methods) in described["paths"].as_object().expect("paths") {
        // Its answer to a known token has a test of its own.
        if path == PROOF {
            continue;
        }
        let words: Vec<_> = path[ROOT.len()..].split('/').collect();
        let fits = |asked: &Vec<&str>| {
            asked.len() == words.len()
                && asked.iter().zip(&words).all(|(one, word)| one == word || word.starts_with('{'))
        };
        for method in methods.as_object().expect("methods").keys() {
            if !answered.iter().any(|(asked, path)| asked == method && fits(path)) {
                never.push(format!("{method} {path}").replace(ROOT, "~"));
            }
        }
    }
    never
}

#[test]
fn schemathesis_finds_no_answer_that_the_description_does_not_have() {
    let place = Place::with_plugins(&["neighbour", "panic", "alarmist"]);
    let mut served = Served::start(&place);
    for number in 0..5 {
        let mut call = ping(number);
        call["correlation_id"] = json!("order-7");
        served.call(&call);
    }
    served.call(&json!({"extension": "panic", "event": "panic", "payload": "noon"}));
    served.call(&json!({"extension": "alarmist", "event": "raise", "payload": {"name": "full", "metric": null}}));
    place.write("schemathesis.toml", &names(&served));
    let tried = peers::schemathesis(
        &place.path("."),
        &[
            &format!("http://{}/api/openapi.json", served.address),
            "--header",
            &format!("Authorization: Bearer {}", served.token),
            // That nothing is told without a token has a test of its own: whoever tries often is asked to wait.
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
             negative_data_rejection,unsupported_method",
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            EXAMPLES,
            // What streams say has no end to wait for; they have tests of their own.
            "--exclude-path-regex",
            "/stream$",
            "--report-har-path",
            "tried.har",
            "--continue-on-failure",
            "--request-timeout",
            "20",
            "--seed",
            "1",
            "--no-color",
        ],
    );
    let tried = tried.expect_code(0);
    let passed = tried.stdout.lines().find_map(|line| line.trim().split_once(" generated, "));
    let passed = passed.unwrap_or_else(|| panic!("{tried:?}"));
    let number = |text: &str| text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
    assert!(number(passed.0) == number(passed.1) && number(passed.0) >= Some(TRIED), "{tried:?}");
    assert!(!tried.stdout.contains("Rate limited"), "what is asked to wait shows nothing: {tried:?}");
    let streams = ["get ~/dashboard/{id}/{signal}/stream", "get ~/managers/stream"];
    let never = never_answered(&place, "tried.har");
    assert_eq!(never, streams, "each other path was answered well once");
    served.get("managers").expect(200);
}

#[test]
fn no_operation_tells_or_does_anything_without_a_token() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let described = served.ask("GET /api/openapi.json", Some(&served.token), "", "").expect(200).json();
    let before = served.get("managers").expect(200).body;
    let paths = described["paths"].as_object().expect("paths").iter();
    // By that a host proves itself to who has not shown a token yet.
    for (path, methods) in paths.filter(|(path, _)| *path != PROOF) {
        let path = path.replace("{id}", "neighbour").replace("{signal}", "logs").replace("{what}", "all");
        for method in methods.as_object().expect("methods").keys() {
            for token in [None, Some("glasshouse_00000000_x")] {
                let answer = served.ask(&format!("{} {path}", method.to_uppercase()), token, "", "{}");
                // Whoever tries often is asked to wait, and told as little.
                let code = if answer.status == 401 { "unauthorized" } else { "too-many-requests" };
                answer.expect_problem(if code == "unauthorized" { 401 } else { 429 }, code);
            }
        }
    }
    assert_eq!(served.get("managers").expect(200).body, before);
}

/// What a Prometheus answers to a query: the value of the one series that fits.
fn prom_ql(address: &str, query: &str) -> Option<f64> {
    let query = query.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET /api/v1/query?query={query} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    let series = answer["data"]["result"].as_array().filter(|series| series.len() == 1)?;
    series[0]["value"][1].as_str()?.parse().ok()
}

/// A Prometheus that scrapes a host each second, and where it listens.
fn scraped(place: &Place, served: &Served) -> (String, Running) {
    let reader = served.post("tokens", &json!({"name": "prometheus"})).expect(200).json();
    let secret = reader["secret"].as_str().expect("a secret");
    place.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: glasshouse\n  authorization: {{credentials: {secret}}}\n  \
             static_configs: [{{targets: [\"{}\"]}}]\n",
            served.address
        ),
    );
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let address = free.to_string();
    let prometheus = peers::prometheus(&place.path("prometheus.yml"), &place.path("prometheus"), &address);
    (address, prometheus)
}

#[test]
fn a_prometheus_that_scrapes_the_host_answers_what_the_api_does() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut served = Served::start(&place);
    for number in 0..37 {
        served.call(&ping(number));
    }
    let (address, _prometheus) = scraped(&place, &served);
    wait_for("a scrape of the last sample", || {
        (prom_ql(&address, "glasshouse_guest_echoes_total{extension=\"neighbour\"}") == Some(37.0)).then_some(())
    });
    assert_eq!(prom_ql(&address, "up{job=\"glasshouse\"}"), Some(1.0));

    let of_api = served.get("dashboard/neighbour/metrics?query=name=echoes").expect(200).json();
    assert_eq!(of_api["series"][0]["sum"], 37.0, "{of_api}");
    // Nothing is called meanwhile, so that a later scrape has what the API counts.
    let summary = served.get("dashboard/neighbour/overview").expect(200).json()["summary"].clone();
    for signal in ["logs", "spans", "alerts"] {
        let stored = summary[signal].as_f64().unwrap_or_else(|| panic!("{summary}"));
        let query = format!(
            "sum by (extension) (glasshouse_extension_records_stored_total{{extension=\"neighbour\",signal=\"{signal}\"}})"
        );
        wait_for(signal, || (prom_ql(&address, &query) == Some(stored)).then_some(()));
    }
    // It takes two scrapes to be something that PromQL computes rates of: nothing was added meanwhile.
    wait_for("a rate", || prom_ql(&address, "rate(glasshouse_guest_echoes_total[1m])").filter(|rate| *rate == 0.0));
}

/// The bounds of a histogram's buckets in Prometheus' text.
fn bounds(metrics: &str, histogram: &str, label: &str) -> Vec<f64> {
    let of = |line: &&str| line.starts_with(histogram) && line.contains(label);
    let bound = |line: &str| line.split("le=\"").nth(1)?.split('"').next()?.parse().ok();
    let mut bounds: Vec<f64> = metrics.lines().filter(of).filter_map(bound).collect();
    bounds.sort_by(f64::total_cmp);
    bounds
}

#[test]
fn prom_ql_says_of_histograms_gauges_and_growth_what_the_api_says() {
    let place = Place::with_plugins(&["collectors"]).lenient();
    let mut served = Served::start_with(&place, &["--set", "defaults.debugging.metrics_interval=1s"]);
    let call = |event: &str| json!({"extension": "collectors", "event": event, "payload": null});
    served.call_often(&call("push"), 3);
    served.call_often(&call("serve"), 20);
    let (address, _prometheus) = scraped(&place, &served);
    let ask = |query: &str| prom_ql(&address, query);
    let wait = |what: &str, query: &str, value: f64| {
        wait_for(what, || ask(query).filter(|told| (told - value).abs() < 1e-9 * value.abs().max(1.0)));
    };
    let of_api = |served: &Served, query: &str| {
        let told = served.get(&format!("dashboard/collectors/metrics?query={query}")).expect(200).json();
        let series = told["series"].as_array().filter(|series| series.len() == 1).unwrap_or_else(|| panic!("{told}"));
        series[0].clone()
    };
    let figure = |series: &Value, name: &str| series[name].as_f64().unwrap_or_else(|| panic!("no {name}: {series}"));

    // Milliseconds are seconds there; the other figures are the same.
    let family = "glasshouse_guest_response_time_seconds";
    for operation in ["index", "search"] {
        let series = of_api(&served, &format!("name=response_time%20field.operation={operation}"));
        assert_eq!(series["count"], 20, "{series}");
        let labels = format!("{{extension=\"collectors\",operation=\"{operation}\"}}");
        wait("the count", &format!("{family}_count{labels}"), figure(&series, "count"));
        wait("the sum", &format!("{family}_sum{labels}"), figure(&series, "sum") / 1e3);
        let quantile = ask(&format!("histogram_quantile(0.95, {family}_bucket{labels})")).expect("a quantile");
        let metrics = served.ask("GET /metrics", Some(&served.token), "", "").expect(200).body;
        let bounds = bounds(&metrics, &format!("{family}_bucket"), &format!("operation=\"{operation}\""));
        let bucket = |seconds: f64| bounds.iter().filter(|bound| **bound < seconds).count();
        let (of_prometheus, ours) = (bucket(quantile), bucket(figure(&series, "p95") / 1e3));
        assert!(of_prometheus.abs_diff(ours) <= 1, "{quantile} s in bucket {of_prometheus} of {bounds:?}; {series}");
    }
    let index = of_api(&served, "name=response_time%20field.operation=index");
    assert_eq!((&index["sum"], &index["p95"]), (&json!(240.0), &json!(12.0)), "{index}");

    wait("the gauge", "glasshouse_guest_queue_length{extension=\"collectors\"}", 3.0);
    assert_eq!(of_api(&served, "name=queue.length")["last"], 3.0);

    // What is counted after it was scraped is growth to both.
    let errors = "glasshouse_guest_errors_total{extension=\"collectors\",kind=\"timeout\"}";
    wait("the errors", errors, 20.0);
    let now =
        served.get("dashboard/collectors/overview").expect(200).json()["time"].as_str().expect("a time").to_owned();
    served.call_often(&call("serve"), 13);
    let grown = of_api(&served, &format!("name=errors%20since%20{now}"));
    assert_eq!(grown["sum"], 13.0, "{grown}");
    let grown = figure(&grown, "sum");
    wait("the growth", &format!("max_over_time({errors}[5m]) - min_over_time({errors}[5m])"), grown);
    // It is extended to the edges of its window: by less than two scrapes, where there are several between.
    let increase = ask(&format!("increase({errors}[5m])")).expect("a figure");
    assert!((0.9 * grown..=3.0 * grown).contains(&increase), "{increase} of {grown}");
}
