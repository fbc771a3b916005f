//! Collectors that mean ill, or are broken: what they answer takes no more memory and time than an answer may.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::tests::client;
use super::*;

/// What is written again and again once a request has come.
#[derive(Clone)]
struct Ill {
    first: Vec<u8>,
    again: Vec<u8>,
}

/// A server that answers whatever comes so, and says how many connections there were.
async fn server(ill: Ill) -> (std::net::SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("an address is free");
    let address = listener.local_addr().expect("it has one");
    let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let ill = ill.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let mut is_open = stream.write_all(&ill.first).await.is_ok();
                while is_open && !ill.again.is_empty() {
                    is_open = stream.write_all(&ill.again).await.is_ok();
                    // Who reads has a turn as well.
                    tokio::task::yield_now().await;
                }
                // It is held until the client has enough.
                while is_open && stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
            });
        }
    });
    (address, connections)
}

/// Sends a request to a server that answers so, and checks what is made of that.
async fn check(first: impl Into<Vec<u8>>, again: &str, timeout: &str, expect: &str) {
    let first = first.into();
    let (address, connections) = server(Ill { first, again: again.as_bytes().to_vec() }).await;
    let mut client = client(address, "http", &[timeout]);
    let found = match client.send(Bytes::from_static(b"message")).await {
        Verdict::Accepted { rejected, is_odd, .. } => format!("accepted {rejected} {is_odd}"),
        Verdict::Later { why, .. } => format!("later: {why}"),
        Verdict::TooLarge { why } => format!("too large: {why}"),
        Verdict::Refused { why } => format!("refused: {why}"),
    };
    assert!(found.starts_with(expect), "{found:?} is not {expect:?}");
    assert!(found.len() < 4000, "{} characters are told", found.len());
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

const PATIENT: &str = "otlp.timeout=60s";
const SHORT: &str = "otlp.timeout=200ms";

#[tokio::test]
async fn an_answer_without_end_is_read_as_far_as_an_answer_may_be_long() {
    // The status says what became of the request; the rest of the answer is not waited for.
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\naaaa\r\n", PATIENT, "accepted 0 true").await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "aaaa", PATIENT, "accepted 0 true").await;
    check("HTTP/1.1 503 No\r\nContent-Length: 99999999999\r\n\r\n", "aaaa", PATIENT, "later: it answered 503").await;
    check(
        "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        "4\r\naaaa\r\n",
        PATIENT,
        "refused: it answered 400",
    )
    .await;
    // And where it comes to a halt, no longer than a request may take.
    check("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\naaa", "", SHORT, "accepted 0 true").await;
}

#[tokio::test]
async fn a_head_without_end_is_an_answer_of_nobody() {
    check("HTTP/1.1 200 OK\r\n", "X-More: aaaaaaaaaaaaaaaa\r\n", PATIENT, "later: it gave no answer").await;
    check("HTTP/1.1 200 OK\r\nX-Long: ", "aaaaaaaa", PATIENT, "later: it gave no answer").await;
    // It promises an answer for ever, or says the start of one and no more.
    check("", "HTTP/1.1 100 Continue\r\n\r\n", SHORT, "later: it gave no answer within 200 ms").await;
    check("HTTP/1.1 200 O", "", SHORT, "later: it gave no answer within 200 ms").await;
    check("", "", SHORT, "later: it gave no answer within 200 ms").await;
}

#[tokio::test]
async fn what_is_compressed_in_an_answer_stays_so() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![b' '; 32 << 20]).expect("it is compressed");
    let bomb = encoder.finish().expect("it is compressed");
    assert!(bomb.len() < ANSWER_BYTES, "{}", bomb.len());
    let answered = |status: &str| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
        [head.as_bytes(), &bomb].concat()
    };
    check(answered("200 OK"), "", PATIENT, "accepted 0 true").await;
    check(answered("400 No"), "", PATIENT, "refused: it answered 400").await;
}

#[tokio::test]
async fn whoever_points_elsewhere_is_not_followed() {
    let (elsewhere, visits) =
        server(Ill { first: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), again: Vec::new() }).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!("HTTP/1.1 {status} There\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
        check(answer, "", PATIENT, &format!("refused: it answered {status}")).await;
    }
    assert_eq!(visits.load(std::sync::atomic::Ordering::SeqCst), 0);
}
