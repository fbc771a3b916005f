//! HTTP requests of extensions: where they may go, what they carry, what they cost, and that none outlives its call.

pub(crate) mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::wire::Value as FieldValue;
use glasshouse_model::{
    FailureKind, HostFunction, Level, Origin, Signal, SpanCost, SpanId, SpanKind, SpanStatus, TraceParent,
};
use glasshouse_runtime::{Extension, ExtensionSpec, SystemClock, Trigger};
use glasshouse_telemetry::Body;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::harness::{House, ask, beside, each, event, fail, logs_with, samples};
use server::Server;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A house whose clock goes.
fn living_house(certificate: Option<&Path>) -> House {
    House::with(|settings| {
        settings.clock = Arc::new(SystemClock::new());
        settings.cache_folder = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
        settings.http_certificate = certificate.map(Into::into);
    })
}

fn granted(spec: &mut ExtensionSpec, origins: &[String]) {
    spec.settings.permissions.http = origins.iter().map(|origin| origin.parse().expect("an origin")).collect();
}

/// A fetcher that may ask a server.
async fn fetcher(house: &House, server: &Server) -> Extension {
    house.ready_with("fetcher", |spec| granted(spec, &[server.origin()])).await
}

async fn fetch(extension: &Extension, what: Value) -> Value {
    serde_json::from_str(&ask(extension, "fetch", what.to_string()).await).expect("JSON")
}

/// Asks for a path of a server; the reply says why nothing came.
async fn failure(extension: &Extension, server: &Server, path: &str) -> String {
    let reply = fetch(extension, json!({"url": format!("{}{path}", server.origin()), "limit": 100_000})).await;
    reply["failed"].as_str().unwrap_or_else(|| panic!("{path}: {reply}")).to_owned()
}

/// A span of a request.
#[derive(Debug)]
struct RequestSpan {
    trace: String,
    id: SpanId,
    parent: SpanId,
    status: SpanStatus,
    name: String,
    failure: String,
    cost: SpanCost,
    fields: Vec<(String, String)>,
}

impl RequestSpan {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

fn request_spans(extension: &Extension) -> Vec<RequestSpan> {
    each(extension, Signal::Span, |envelope, body| match body {
        Body::Span(span) if span.kind == SpanKind::Client => {
            assert_eq!(envelope.origin, Origin::Host);
            let context = envelope.context.expect("a span belongs to an invocation");
            let shown = |value: FieldValue<'_>| match value {
                FieldValue::Text(text) => text.to_owned(),
                FieldValue::Integer(number) => number.to_string(),
                other => panic!("{other:?}"),
            };
            Some(RequestSpan {
                trace: context.trace_id.to_string(),
                id: context.span_id,
                parent: span.parent,
                status: span.status,
                name: span.name.to_owned(),
                failure: span.failure.to_owned(),
                cost: span.total,
                fields: span.fields.iter().map(|field| (field.name.to_owned(), shown(field.value))).collect(),
            })
        }
        _ => None,
    })
}

/// The targets of denied requests, each of which is a warning of the host's.
fn denied(extension: &Extension) -> Vec<String> {
    let told = logs_with(extension, "denied").into_iter().filter(|log| log.field("permission") == Some("http"));
    told.map(|log| {
        assert_eq!((log.level, log.envelope.origin), (Level::Warning, Origin::Host), "{log:?}");
        assert_eq!(
            (log.field("event"), log.field("operation")),
            (Some("permission.denied"), Some("handle")),
            "{log:?}"
        );
        log.field("target").unwrap_or_default().to_owned()
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_server_answers_and_what_it_does_is_part_of_the_trace_of_the_call() {
    let (house, server) = (living_house(None), Server::start(None).await);
    let extension = fetcher(&house, &server).await;
    let parent: TraceParent = format!("00-{TRACE}-00f067aa0ba902b7-01").parse().expect("a traceparent");
    let trigger = Trigger::from(parent).tracestate("rojo=1").baggage("shop=7");
    let own = json!({"traceparent": format!("00-{}-00f067aa0ba902b7-00", "1".repeat(32)), "tracestate": "x=1", "baggage": "evil=1", "x-own": "yes"});
    let url = format!("{}/ok?token=hunter2hunter2&page=3", server.origin());
    let reply = extension.call(event("in-span", json!({"url": url, "headers": own}).to_string()), trigger).await;
    let reply: Value = serde_json::from_slice(&reply.expect("it replies").payload).expect("JSON");
    assert_eq!((&reply["came"]["status"], &reply["came"]["text"]), (&json!(200), &json!("hello")), "{reply}");
    assert_eq!(reply["came"]["headers"]["set-cookie"], "a=1");

    let seen = server.only();
    assert_eq!((&*seen.method, &*seen.path), ("GET", "/ok?token=hunter2hunter2&page=3"));
    assert_eq!(seen.all("host"), [server.address.to_string()]);
    assert_eq!(seen.all("x-own"), ["yes"]);
    let spans = request_spans(&extension);
    let [span] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(seen.all("traceparent"), [format!("00-{TRACE}-{}-01", span.id)], "the host's own, once");
    let [state] = seen.all("tracestate")[..] else { panic!("{seen:?}") };
    assert!(state.split(',').any(|member| member == "rojo=1"), "{state}");
    assert!(state.split(',').all(|member| member != "x=1"), "{state}");
    assert_eq!(seen.all("baggage"), ["shop=7"]);

    assert_eq!((&*span.trace, &*span.name, span.status, &*span.failure), (TRACE, "GET", SpanStatus::Ok, ""));
    let port = server.address.port().to_string();
    for (name, expect) in [
        ("http.request.method", "GET"),
        ("server.address", "127.0.0.1"),
        ("server.port", &*port),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(span.field(name), Some(expect), "{span:?}");
    }
    let told = span.field("url.full").expect("the URL");
    assert!(told.starts_with(&server.origin()) && told.contains("page=3") && !told.contains("hunter2"), "{told}");
    assert_eq!(span.field("error.type"), None);
    assert!(span.cost.elapsed_nanos > 0 && span.cost.idle_nanos == span.cost.elapsed_nanos, "{span:?}");
    let work = each(&extension, Signal::Span, |envelope, body| match body {
        Body::Span(work) if work.name == "work" => envelope.context.map(|context| context.span_id),
        _ => None,
    });
    assert_eq!(work, [span.parent], "it lies in the span in which it was sent");
    server.left_alone().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_granted_is_denied_and_told_and_no_byte_of_it_leaves() {
    let (house, server) = (House::new(), Server::start(None).await);
    let nothing = house.start("none", &crate::harness::guest("fetcher"), |_| {});
    nothing.loaded().await;
    let url = format!("{}/ok", server.origin());
    assert_eq!(fetch(&nothing, json!({"url": url})).await, json!({"failed": "Denied"}));
    assert_eq!(denied(&nothing), [format!("GET {url}")]);

    let extension = fetcher(&house, &server).await;
    let (port, other) = (server.address.port(), server.address.port().wrapping_add(1).max(1));
    let tried = [
        format!("http://127.0.0.1:{other}/ok"),
        format!("https://127.0.0.1:{port}/ok"),
        format!("http://localhost:{port}/ok"),
        format!("http://127.0.0.2:{port}/ok"),
        format!("http://[::ffff:127.0.0.1]:{port}/ok"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://glasshouse.invalid/".to_owned(),
    ];
    for url in &tried {
        assert_eq!(fetch(&extension, json!({"url": url})).await, json!({"failed": "Denied"}), "{url}");
    }
    assert_eq!(denied(&extension), tried.clone().map(|url| format!("GET {url}")));
    for odd in [
        format!("http://ada:secret@127.0.0.1:{port}/"),
        format!("http://127.1:{port}/"),
        "http://127.0.0.1:0/".to_owned(),
    ] {
        assert_eq!(fetch(&extension, json!({"url": odd})).await, json!({"failed": "InvalidUrl"}), "{odd}");
    }
    let connect = ask(&extension, "connect", json!(server.address.to_string()).to_string()).await;
    assert_eq!(connect, "\"ErrorCode::HttpRequestMethodInvalid\"");
    for header in ["host", "connection", "transfer-encoding", "upgrade", "proxy-authorization"] {
        let reply = fetch(&extension, json!({"url": url, "headers": {header: "x"}})).await;
        assert!(reply["failed"].as_str().is_some_and(|why| why.contains("InvalidHeader")), "{header}: {reply}");
    }
    assert!(server.seen().is_empty() && server.connections() == 0, "{:?}", server.seen());
    assert!(request_spans(&extension).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_the_guests_to_follow_and_is_checked_like_any_request() {
    let (house, server) = (House::new(), Server::start(None).await);
    let extension = fetcher(&house, &server).await;
    let reply = fetch(&extension, json!({"url": format!("{}/redirect", server.origin())})).await;
    let location = reply["came"]["headers"]["location"].as_str().expect("a location").to_owned();
    assert_eq!((&reply["came"]["status"], &*location), (&json!(302), "http://127.0.0.1:9/ok"));
    assert_eq!(server.seen().len(), 1);
    assert_eq!(fetch(&extension, json!({"url": location})).await, json!({"failed": "Denied"}));
    // A URL without a path asks for the root.
    for (path, expect) in [("", "/"), ("?page=2", "/?page=2"), ("/?page=3#part", "/?page=3")] {
        let reply = fetch(&extension, json!({"url": format!("{}{path}", server.origin())})).await;
        assert_eq!(reply["came"]["status"], 200, "{path}: {reply}");
        assert_eq!(server.seen().last().map(|seen| seen.path.clone()).as_deref(), Some(expect));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_misbehave_are_errors_for_the_guest_and_failed_spans() {
    let (house, server) = (House::new(), Server::start(None).await);
    let extension = fetcher(&house, &server).await;
    for (path, expect, status) in [
        ("/close", "HttpResponseIncomplete", Some("HTTP-response-incomplete")),
        ("/headers", "HttpResponseHeaderSectionSize(None)", Some("HTTP-response-header-section-size")),
        ("/many-headers", "HttpResponseHeaderSectionSize(None)", Some("HTTP-response-header-section-size")),
        ("/garbage", "HttpProtocolError", Some("HTTP-protocol-error")),
        ("/drip", "TooLong", None),
        ("/big/5000000", "TooLong", None),
    ] {
        let why = failure(&extension, &server, path).await;
        assert!(why.contains(expect), "{path}: {why}");
        let span = request_spans(&extension).pop().expect("a span");
        assert_eq!(span.field("error.type"), status, "{path}: {span:?}");
        assert_eq!(span.status == SpanStatus::Failed, status.is_some(), "{path}: {span:?}");
    }
    assert_eq!(failure(&extension, &server, "/short").await, "Failed(\"HttpResponseIncomplete\")");
    server.left_alone().await;
    let timed = json!({"url": format!("{}/stall", server.origin()), "timeout_ms": 50});
    assert_eq!(fetch(&extension, timed).await, json!({"failed": "Failed(\"ConnectionReadTimeout\")"}));
    let slow = json!({"url": format!("{}/slow", server.origin()), "timeout_ms": 50});
    assert_eq!(fetch(&extension, slow).await, json!({"failed": "Failed(\"ConnectionReadTimeout\")"}));
    server.left_alone().await;
    let gone = server.origin();
    let seen = server.seen().len();
    drop(server);
    let refused = fetch(&extension, json!({"url": format!("{gone}/ok")})).await;
    assert_eq!(refused, json!({"failed": "Failed(\"ConnectionRefused\")"}));
    let spans = request_spans(&extension);
    assert_eq!(spans.len(), seen + 1);
    let last = spans.last().expect("a span");
    assert_eq!((last.field("error.type"), last.field("http.response.status_code")), (Some("connection-refused"), None));
    assert!(!last.failure.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_fails_is_kept_where_others_are_not() {
    let (house, server) = (living_house(None), Server::start(None).await);
    let extension = house
        .ready_with("fetcher", |spec| {
            granted(spec, &[server.origin()]);
            spec.settings.debugging.tracing_enabled = false;
        })
        .await;
    for status in [200, 204, 404, 503] {
        let reply =
            fetch(&extension, json!({"url": format!("{}/status/{status}", server.origin()), "method": "PURGE"})).await;
        assert_eq!(reply["came"]["status"], status);
    }
    let spans = request_spans(&extension);
    let failed: Vec<_> = spans.iter().map(|span| (span.field("error.type"), span.status)).collect();
    assert_eq!(failed, [(Some("404"), SpanStatus::Failed), (Some("503"), SpanStatus::Failed)]);
    assert!(spans.iter().all(|span| span.name == "HTTP" && span.field("http.request.method") == Some("_OTHER")));
    assert!(spans.iter().all(|span| span.field("http.request.method_original") == Some("PURGE")), "{spans:?}");
    assert_eq!(spans[1].failure, "the server answered 503");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_sends_and_receives_stands_in_its_cost_and_so_does_its_wait() {
    let (house, server) = (living_house(None), Server::start(None).await);
    let extension = fetcher(&house, &server).await;
    let what = json!({"url": format!("{}/big/3000000", server.origin()), "method": "POST", "send": 1_000_000});
    let reply = fetch(&extension, what).await;
    assert_eq!(reply["came"]["bytes"], 3_000_000, "{reply}");
    assert_eq!(server.only().body_bytes, 1_000_000);
    let calls = each(&extension, Signal::Invocation, |_, body| match body {
        Body::Invocation(call) if call.name == "handle:fetch" => {
            Some((call.cost, call.host.iter().collect::<Vec<_>>()))
        }
        _ => None,
    });
    let [(cost, uses)] = &calls[..] else { panic!("{calls:?}") };
    assert!((1_000_000..1_010_000).contains(&cost.transfer.sent_bytes), "{cost:?}");
    assert!((3_000_000..3_010_000).contains(&cost.transfer.received_bytes), "{cost:?}");
    let calls_of = |function| uses.iter().find(|one| one.function == function).map_or(0, |one| one.calls);
    assert_eq!(calls_of(HostFunction::HttpSend), 1);
    assert!(calls_of(HostFunction::Http) > 5 && calls_of(HostFunction::StreamRead) > 5, "{uses:?}");
    assert!(uses.iter().any(|one| one.waited_nanos > 0), "{uses:?}");
    let [span] = &request_spans(&extension)[..] else { panic!("one span") };
    assert_eq!(span.cost.transfer, cost.transfer);
    let usage = extension.usage();
    assert_eq!(usage.transfer.sent_bytes, cost.transfer.sent_bytes, "the ledger is the calls' sum");
    assert!(samples(&extension).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_share_sixteen_connections_and_all_are_answered() {
    let (house, server) = (House::new(), Server::start(None).await);
    let extension = fetcher(&house, &server).await;
    let other = house.start("other", &crate::harness::guest("fetcher"), |spec| granted(spec, &[server.origin()]));
    other.loaded().await;
    let many = json!([format!("{}/hold", server.origin()), 60]).to_string();
    let watch = async {
        server.holds(16).await;
        // Others have their own, and by the time that some of theirs were answered, more would have come.
        for _ in 0..20 {
            let reply = fetch(&other, json!({"url": format!("{}/ok", server.origin())})).await;
            assert_eq!(reply["came"]["status"], 200);
        }
        assert_eq!(server.held(), 16);
        server.release();
    };
    let (reply, ()) = tokio::join!(ask(&extension, "many", many), watch);
    assert_eq!(reply, json!({"came": vec![200; 60]}).to_string());
    assert_eq!((server.seen().len(), request_spans(&extension).len()), (80, 60));
    server.left_alone().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_given_up_leave_nothing_behind() {
    let (house, server) = (House::new(), Server::start(None).await);
    let (extension, neighbour) = (fetcher(&house, &server).await, house.ready("neighbour").await);
    let flood = json!([format!("{}/slow", server.origin()), 3_000]).to_string();
    assert_eq!(beside(&neighbour, ask(&extension, "give-up", flood)).await, "3000");
    server.left_alone().await;
    let kept = request_spans(&extension);
    assert!(kept.len() <= 256 && kept.iter().all(|span| span.status == SpanStatus::Unfinished), "{}", kept.len());
    assert_eq!(fetch(&extension, json!({"url": format!("{}/ok", server.origin())})).await["came"]["status"], 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_ends_with_the_call_that_sent_it() {
    let (house, server) = (House::new(), Server::start(None).await);
    let extension = fetcher(&house, &server).await;
    let url = format!("{}/slow", server.origin());
    assert_eq!(ask(&extension, "keep", json!(url).to_string()).await, "true");
    server.left_alone().await;
    assert_eq!(ask(&extension, "kept", "").await, json!({"failed": "Failed(\"ConnectionTerminated\")"}).to_string());
    let [span] = &request_spans(&extension)[..] else { panic!("one span") };
    assert_eq!(span.status, SpanStatus::Unfinished);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_takes_no_more_than_the_calls_deadline() {
    let (house, server) = (living_house(None), Server::start(None).await);
    let extension = house
        .ready_with("fetcher", |spec| {
            granted(spec, &[server.origin()]);
            spec.settings.budget.deadline = Duration::from_millis(400);
        })
        .await;
    let what = json!({"url": format!("{}/slow", server.origin())}).to_string();
    fail(&extension, "fetch", &what, FailureKind::DeadlineBreach).await;
    server.left_alone().await;
    let [span] = &request_spans(&extension)[..] else { panic!("one span") };
    assert_eq!(span.status, SpanStatus::Unfinished);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_piles_up_for_requests_is_bounded() {
    let (house, server) = (House::new(), Server::start(None).await);
    let extension = fetcher(&house, &server).await;
    assert_eq!(ask(&extension, "too-long", "").await, "[true,true,true,true]");
    assert_eq!(ask(&extension, "headers", "8000").await, "true");
    fail(&extension, "headers", "20000", FailureKind::InvalidInterfaceUse).await;
    let extension = house.start("hoarder", &crate::harness::guest("fetcher"), |spec| {
        spec.settings.budget.resources = 300;
    });
    extension.loaded().await;
    fail(&extension, "hoard", "100000", FailureKind::ResourceBreach).await;
    fail(&extension, "headers", "15000000", FailureKind::InvalidInterfaceUse).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_https_a_server_has_to_be_vouched_for() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    let server = Server::start(Some(TlsAcceptor::from(Arc::new(config)))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, made.cert.pem()).expect("writing a file");
    let origin = format!("https://localhost:{}", server.address.port());
    let what = json!({"url": format!("{origin}/ok")});
    let ask_as = async |certificate: Option<&Path>| {
        let house = living_house(certificate);
        let extension = house.ready_with("fetcher", |spec| granted(spec, std::slice::from_ref(&origin))).await;
        (fetch(&extension, what.clone()).await, request_spans(&extension).pop().expect("a span"))
    };
    let (reply, span) = ask_as(Some(&authority)).await;
    assert_eq!(reply["came"]["text"], "hello", "{reply}");
    assert!(span.field("url.full").is_some_and(|url| url.starts_with("https://localhost:")), "{span:?}");
    assert_eq!(span.field("server.address"), Some("localhost"));
    let (reply, span) = ask_as(None).await;
    assert_eq!(reply, json!({"failed": "Failed(\"TlsCertificateError\")"}));
    assert_eq!(span.field("error.type"), Some("TLS-certificate-error"));
    std::fs::write(&authority, "no certificate").expect("writing a file");
    let (reply, _) = ask_as(Some(&authority)).await;
    assert_eq!(reply, json!({"failed": "Failed(\"ConfigurationError\")"}));
    assert_eq!(server.seen().len(), 1);
}
