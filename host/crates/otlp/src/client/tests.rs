//! Requests over real connections: gRPC as another implementation of HTTP/2 hears it, TLS, and what ends a connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use glasshouse_model::config::{Layers, OperatorConfig};
use http_body_util::combinators::BoxBody;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;

type Seen = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;

fn settings(flags: &[String]) -> Arc<OtlpSettings> {
    let flags = OperatorConfig::from_flags(flags).expect("they are legal");
    Arc::new(Layers { flags, ..Layers::default() }.host().settings.otlp)
}

pub(super) fn client(address: SocketAddr, scheme: &str, more: &[&str]) -> Client {
    let endpoint = format!("otlp.endpoint={scheme}://localhost:{}", address.port());
    let flags: Vec<_> = more.iter().map(|flag| (*flag).to_owned()).chain([endpoint]).collect();
    let settings = settings(&flags);
    let endpoint = settings.endpoint(OtlpService::Traces).expect("it has one");
    Client::new(&settings, OtlpService::Traces, endpoint)
}

/// What a server answers: a body, and what comes after it.
type Told = (&'static [u8], Vec<(&'static str, &'static str)>);

/// A server of HTTP/2 that gives these answers, one after the other, and notes what it is asked.
async fn server(answers: Vec<Told>, tls: Option<TlsAcceptor>) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address is free");
    let address = listener.local_addr().expect("it has one");
    let (seen, answers) = (Seen::default(), Arc::new(Mutex::new(answers.into_iter())));
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("somebody comes");
            let (noted, answers, tls) = (Arc::clone(&noted), Arc::clone(&answers), tls.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (noted, answers) = (Arc::clone(&noted), Arc::clone(&answers));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.expect("it is whole").to_bytes();
                        noted.lock().expect("nobody panics").push((head.uri.path().to_owned(), head.headers, body));
                        let told = answers.lock().expect("nobody panics").next().expect("there is an answer");
                        Ok::<_, Infallible>(answer(told))
                    }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // A client that does not trust the server is gone.
                let _ = match tls {
                    None => builder.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
                        Err(_) => return,
                    },
                };
            });
        }
    });
    (address, seen)
}

fn answer((body, trailers): Told) -> Response<BoxBody<Bytes, Infallible>> {
    let trailers: HeaderMap = trailers
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let answer = Response::builder().status(StatusCode::OK).header(CONTENT_TYPE, "application/grpc");
    let body = Full::new(Bytes::from_static(body)).with_trailers(async move { Some(Ok(trailers)) });
    answer.body(body.boxed()).expect("an answer")
}

fn taken() -> Told {
    (b"\0\0\0\0\0", vec![("grpc-status", "0")])
}

fn is_taken(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Accepted { rejected: 0, is_odd: false, .. })
}

#[tokio::test]
async fn a_call_of_grpc_is_heard_as_one_and_its_outcome_is_read_from_the_trailers() {
    let partial = (b"\0\0\0\0\x09\x0a\x07\x08\x02\x12\x03old".as_slice(), vec![("grpc-status", "0")]);
    let busy = (b"".as_slice(), vec![("grpc-status", "14"), ("grpc-message", "no%20room")]);
    let (address, seen) = server(vec![taken(), partial, busy, taken()], None).await;
    let mut client = client(address, "http", &["otlp.protocol=grpc", "otlp.headers=[\"X-Key=abcdef\"]"]);
    let body = Bytes::from(grpc::framed(b"message", true));
    assert!(is_taken(&client.send(body.clone()).await));
    let verdict = client.send(body.clone()).await;
    assert_eq!(verdict, Verdict::Accepted { rejected: 2, message: "old".to_owned(), is_odd: false });
    let Verdict::Later { after: None, why } = client.send(body.clone()).await else { panic!("it was not taken") };
    assert!(why.contains("UNAVAILABLE (14): no room"), "{why}");
    assert!(is_taken(&client.send(body.clone()).await));
    for (path, headers, heard) in seen.lock().expect("nobody panics").iter() {
        assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        for (name, value) in
            [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-encoding", "gzip"), ("x-key", "abcdef")]
        {
            assert_eq!(headers.get(name).and_then(|value| value.to_str().ok()), Some(value), "{name}");
        }
        assert_eq!((heard, &heard[..5]), (&body, &b"\x01\0\0\0\x07"[..]));
    }
}

#[tokio::test]
async fn a_request_that_was_taken_is_so_however_long_the_answer_is_within_reason() {
    let long = |length| (&*vec![0_u8; length].leak(), vec![("grpc-status", "0")]);
    let (address, _) = server(vec![long(100 << 10), taken(), long(READ_BYTES + 1)], None).await;
    let mut client = client(address, "http", &["otlp.protocol=grpc"]);
    let body = Bytes::from(grpc::framed(b"message", false));
    let verdict = client.send(body.clone()).await;
    assert_eq!(verdict, Verdict::Accepted { rejected: 0, message: String::new(), is_odd: true });
    assert!(client.channel.is_some(), "it was read to its end");
    assert!(is_taken(&client.send(body.clone()).await));
    let verdict = client.send(body).await;
    assert!(matches!(verdict, Verdict::Later { after: None, .. }), "{verdict:?}");
    assert!(client.channel.is_none(), "it was not read to its end");
}

#[tokio::test]
async fn a_secret_is_not_told_where_a_message_is_cut_within_it() {
    let message = &*format!("{}hunter2hunter2", "n".repeat(295)).leak();
    let refused = (b"".as_slice(), vec![("grpc-status", "3"), ("grpc-message", message)]);
    let (address, _) = server(vec![refused], None).await;
    let mut client = client(address, "http", &["otlp.protocol=grpc", "otlp.headers=[\"x-key=hunter2hunter2\"]"]);
    let body = Bytes::from(grpc::framed(b"message", false));
    let Verdict::Refused { why } = client.send(body).await else { panic!("it was refused") };
    assert!(why.ends_with("n***"), "{why}");
}

/// A server's TLS, by a certificate that it signs itself and writes to a file.
fn acceptor(file: &Path) -> TlsAcceptor {
    acceptor_for(file, None)
}

/// The same, which takes clients only that these vouch for, if there are any.
fn acceptor_for(file: &Path, clients: Option<RootCertStore>) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(file, made.cert.pem()).expect("writing it");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(default_provider());
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(clients) => WebPkiClientVerifier::builder_with_provider(Arc::new(clients), Arc::clone(&provider))
            .build()
            .expect("a verifier"),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_collector_is_spoken_to_by_tls_if_its_certificate_is_trusted_and_sent_nothing_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let (right, wrong) = (folder.path().join("right.pem"), folder.path().join("wrong.pem"));
    let tls = acceptor(&right);
    acceptor(&wrong);
    let (address, seen) = server(vec![taken()], Some(tls)).await;
    let trusting = |file: &Path| {
        let file = format!("otlp.certificate={}", file.display());
        client(address, "https", &["otlp.protocol=grpc", &file])
    };
    let body = Bytes::from(grpc::framed(b"message", false));
    for (file, expect) in [(&wrong, "by TLS"), (&folder.path().join("none.pem"), "none.pem cannot be used")] {
        let Verdict::Later { why, .. } = trusting(file).send(body.clone()).await else { panic!("it is not trusted") };
        assert!(why.contains(expect), "{why}");
    }
    assert!(seen.lock().expect("nobody panics").is_empty());
    // By its address it is another.
    let mut by_address = trusting(&right);
    by_address.endpoint.host = "127.0.0.1".to_owned();
    assert!(matches!(by_address.send(body.clone()).await, Verdict::Later { .. }));
    assert!(is_taken(&trusting(&right).send(body).await));
}

#[tokio::test]
async fn a_collector_that_asks_who_sends_is_shown_the_hosts_certificate_and_refuses_who_has_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let own = rcgen::generate_simple_self_signed(["host".to_owned()]).expect("a certificate");
    std::fs::write(path("own.pem"), own.cert.pem()).expect("writing it");
    std::fs::write(path("key.pem"), own.signing_key.serialize_pem()).expect("writing it");
    let mut clients = RootCertStore::empty();
    clients.add(own.cert.der().clone()).expect("it vouches for itself");
    let tls = acceptor_for(&path("collector.pem"), Some(clients));
    let (address, seen) = server(vec![taken()], Some(tls)).await;
    let trusted = format!("otlp.certificate={}", path("collector.pem").display());
    let certificate = format!("otlp.client_certificate={}", path("own.pem").display());
    let key = |name: &str| format!("otlp.client_key={}", path(name).display());
    let with = |more: &[&str]| client(address, "https", &[&["otlp.protocol=grpc", &trusted], more].concat());
    let body = Bytes::from(grpc::framed(b"message", false));
    for (more, expect) in [
        (&[][..], ""),
        (&[certificate.as_str()], "go together"),
        (&[certificate.as_str(), &key("none.pem")], "none.pem cannot be used"),
    ] {
        let Verdict::Later { why, .. } = with(more).send(body.clone()).await else { panic!("it is refused") };
        assert!(why.contains(expect), "{why}");
    }
    assert!(seen.lock().expect("nobody panics").is_empty());
    assert!(is_taken(&with(&[&certificate, &key("key.pem")]).send(body).await));
}

#[tokio::test]
async fn a_connection_that_ended_in_peace_is_made_anew_for_the_next_request() {
    let (first, _) = server(vec![taken()], None).await;
    let mut client = client(first, "http", &["otlp.protocol=grpc", "otlp.compression=none"]);
    let body = Bytes::from(grpc::framed(b"message", false));
    assert!(is_taken(&client.send(body.clone()).await));
    let channel = client.channel.as_ref().expect("it is kept");
    channel.task.abort();
    while !channel.task.is_finished() {
        tokio::task::yield_now().await;
    }
    let (second, seen) = server(vec![taken()], None).await;
    client.endpoint.port = second.port();
    assert!(is_taken(&client.send(body).await));
    assert_eq!(seen.lock().expect("nobody panics").len(), 1);
}

#[tokio::test]
async fn whoever_speaks_something_else_takes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address is free");
    let address = listener.local_addr().expect("it has one");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            use tokio::io::AsyncWriteExt as _;
            // An answer without end.
            while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
        }
    });
    for protocol in ["otlp.protocol=grpc", "otlp.protocol=http/protobuf"] {
        let mut client = client(address, "http", &[protocol, "otlp.timeout=60s"]);
        let verdict = client.send(Bytes::from_static(b"\0\0\0\0\0")).await;
        assert!(matches!(verdict, Verdict::Later { after: None, .. }), "{verdict:?}");
        assert!(client.channel.is_none(), "such a connection is of no use");
    }
}
