//! A real collector, `rotel`, between the host and the tests' own: what it passes on is what it has understood.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use super::collector::{Answer, Collector, decoded, nowhere, settings};
use super::{SOON, check_measured, check_traced, stop, texts};
use crate::export::{busy_with, place};
use crate::harness::{Place, Running, wait_for};
use crate::peers;

/// A collector that takes gRPC and HTTP, and passes on what it gets.
pub(super) fn start(place: &Place, grpc: &SocketAddr, http: &SocketAddr, to: &Collector) -> Running {
    start_with(place, grpc, http, to, &[])
}

/// The same, with more options.
pub(super) fn start_with(
    place: &Place,
    grpc: &SocketAddr,
    http: &SocketAddr,
    to: &Collector,
    more: &[&str],
) -> Running {
    let mut command = Command::new(peers::rotel());
    let (of_grpc, of_http) = (grpc.to_string(), http.to_string());
    command.args([
        "start",
        "--otlp-grpc-endpoint",
        &of_grpc,
        "--otlp-http-endpoint",
        &of_http,
        "--batch-timeout",
        "50ms",
    ]);
    command.args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"]);
    command.args(more);
    command.arg("--otlp-exporter-endpoint").arg(format!("http://{}", to.address));
    command.arg("--pid-file").arg(place.path("rotel.pid")).arg("--log-file").arg(place.path("rotel.log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.spawn().expect("it starts"));
    for address in [grpc, http] {
        wait_for("rotel to listen", || TcpStream::connect(address).ok());
    }
    running
}

#[test]
fn a_real_collector_understands_what_it_is_sent_by_grpc_and_by_http() {
    for (protocol, compression) in
        [("grpc", "gzip"), ("grpc", "none"), ("http/protobuf", "gzip"), ("http/json", "gzip")]
    {
        let place = place();
        let behind = Collector::with(|_, _, _| Answer::Take);
        let (grpc, http) = (nowhere(), nowhere());
        let mut collector = start(&place, &grpc, &http, &behind);
        let address = if protocol == "grpc" { grpc } else { http };
        let (protocol, compression) =
            (&format!("otlp.protocol={protocol}"), &format!("otlp.compression={compression}"));
        let more = [protocol.as_str(), compression, "otlp.batch_records=50", "host.shutdown_limit=60s"];
        stop(busy_with(&place, &texts(&settings(&address, &more))));
        let ended = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "--limit", "1000"]);
        assert!(!ended.stdout.contains("otlp."), "nothing went wrong: {ended:?}");
        // It gathers what it passes on, and at its end passes on all.
        collector.interrupt();
        collector.code_within(SOON);
        let data = decoded(&place.path(""), &behind.received());
        check_traced(&place, &data);
        // Its reader of JSON takes an exemplar's time as a number only, which the specification has as text, and drops what has such ones.
        if protocol != "otlp.protocol=http/json" {
            check_measured(&place, &data);
        }
    }
}
