//! What others make of the API: a program that tries whatever its description allows, and a Prometheus that reads its metrics.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::served::{Served, ping};
use crate::harness::{Place, wait_for};
use crate::peers;

/// Requests that are made up for each path, beside those that try what its description allows and forbids.
const EXAMPLES: &str = "15";
/// Those that were made at least: some twenty for each of the paths that are tried.
const TRIED: u64 = 500;
/// How long one answer of a peer may take.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn schemathesis_finds_no_answer_that_the_description_does_not_have() {
    let place = Place::with_plugins(&["neighbour"]);
    let mut served = Served::start(&place);
    for number in 0..5 {
        served.call(&ping(number));
    }
    // An id that there is; those of groups, alerts, sessions and tokens are made up, so that no request ends the token that it comes with.
    place.write("schemathesis.toml", "[parameters]\n\"path.id\" = \"neighbour\"\n");
    let tried = peers::schemathesis(
        &place.path("."),
        &[
            &format!("http://{}/api/openapi.json", served.address),
            "--header",
            &format!("Authorization: Bearer {}", served.token),
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            EXAMPLES,
            // What streams say has no end to wait for; they have tests of their own.
            "--exclude-path-regex",
            "/stream$",
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
    served.get("managers").expect(200);
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

#[test]
fn a_prometheus_that_scrapes_the_host_answers_what_the_api_does() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut served = Served::start(&place);
    for number in 0..37 {
        served.call(&ping(number));
    }
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
    let _prometheus = peers::prometheus(&place.path("prometheus.yml"), &place.path("prometheus"), &address);
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
