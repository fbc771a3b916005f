//! A host that serves the API, and a client of it that says just what it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Lines, Place, Running, wait_for};

/// The path by which a host proves that it is the one that made a token.
pub(super) const PROOF: &str = "/api/proof";
/// What all others start with.
pub(super) const ROOT: &str = "/api/extensions/debugging";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A host that serves the API on an address of its own.
pub(super) struct Served {
    pub(super) host: Running,
    replies: Lines,
    /// Where it listens.
    pub(super) address: String,
    /// The token that allows everything.
    pub(super) token: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// An answer as it came.
    pub(super) fn of(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body =
            if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { dechunk(body) } else { body.into() };
        Self { status, head: head.to_owned(), body }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &&str| line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name));
        self.head.lines().find(of).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A problem of this status and code.
    pub(super) fn expect_problem(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
        let problem = answer.json();
        assert_eq!(
            (problem["code"].as_str(), problem["status"].as_u64()),
            (Some(code), Some(status.into())),
            "{problem}"
        );
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 20), "{problem}");
        problem
    }
}

impl Served {
    pub(super) fn start(place: &Place) -> Self {
        Self::start_with(place, &[])
    }

    pub(super) fn start_with(place: &Place, settings: &[&str]) -> Self {
        Self::start_on(place, "127.0.0.1:0", settings)
    }

    pub(super) fn start_on(place: &Place, address: &str, settings: &[&str]) -> Self {
        let mut host = place
            .start(&[&["run", "plugins", "--data-dir", "data", "--feed", "-", "--listen", address], settings].concat());
        let replies = host.stdout();
        let notes = host.stderr();
        let note = notes.wait_for("the API listens on http");
        let address = note.split("http://").nth(1).and_then(|rest| rest.split(';').next()).expect("it says where");
        let token = place.read("data/admin.token").trim_end().to_owned();
        let served = Self { host, replies, address: address.trim().to_owned(), token };
        wait_for("it to be ready", || (served.ask("GET /readyz", None, "", "").status == 200).then_some(()));
        served
    }

    /// Sends a request, given as method and path.
    pub(super) fn ask(&self, request: &str, token: Option<&str>, headers: &str, body: &str) -> Answer {
        ask(&self.address, request, token, headers, body)
    }

    /// Sends bytes and reads to the end.
    pub(super) fn exchange(&self, request: &str) -> Answer {
        exchange(&self.address, request)
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {ROOT}/{path}"), Some(&self.token), "", "")
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(&format!("POST {ROOT}/{path}"), Some(&self.token), "", &body.to_string())
    }

    pub(super) fn call(&mut self, call: &Value) -> Value {
        self.host.call(&self.replies, call)
    }

    /// Calls so many times, without waiting for one reply before the next call.
    pub(super) fn call_often(&mut self, call: &Value, times: usize) {
        let before = self.replies.count();
        for _ in 0..times {
            self.host.tell(call);
        }
        wait_for("all replies", || (self.replies.count() == before + times).then_some(()));
        let failed = self.replies.so_far().into_iter().skip(before).find(|reply| !reply.contains("\"ok\":true"));
        assert_eq!(failed, None);
    }

    /// Opens a stream of events.
    pub(super) fn stream(&self, path: &str, headers: &str) -> Events {
        Events::open(&self.address, &format!("GET {ROOT}/{path}"), &self.token, headers)
    }
}

/// Sends a request, given as method and path, to an address.
pub(super) fn ask(address: &str, request: &str, token: Option<&str>, headers: &str, body: &str) -> Answer {
    let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let length = body.len();
    exchange(
        address,
        &format!(
            "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{token}{headers}Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// Sends bytes to an address and reads to the end.
fn exchange(address: &str, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("setting a limit");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers with text");
    Answer::of(&answer)
}

/// The body of an answer in chunks.
fn dechunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        whole.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
        if length == 0 {
            break;
        }
    }
    whole
}

/// Events of a stream as they come.
pub(super) struct Events(BufReader<TcpStream>);

impl Events {
    /// Opens a stream of events, given as method and path, at an address.
    pub(super) fn open(address: &str, request: &str, token: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("setting a limit");
        write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{headers}\r\n")
            .expect("it reads");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(reader.read_line(&mut line).expect("it answers") > 0, "it ended");
        }
        Self(reader)
    }

    /// The next event's id, whether it has data or not.
    pub(super) fn next_id(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("it goes on") > 0, "it ended");
            if let Some(id) = line.trim_end().strip_prefix("id: ") {
                return id.to_owned();
            }
        }
    }

    /// All that comes, to the end of the connection.
    pub(super) fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("it ends in time");
        rest
    }

    /// Waits for the end.
    pub(super) fn expect_end(self) {
        self.rest();
    }

    /// The next event: its id, name and data.
    pub(super) fn next(&mut self) -> (Option<String>, String, Value) {
        let (mut id, mut name, mut data) = (None, String::new(), None);
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).expect("it goes on") > 0, "it ended");
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("event: ") {
                text.clone_into(&mut name);
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).expect("data is JSON"));
            } else if line.is_empty()
                && let Some(data) = data.take()
            {
                return (id, name, data);
            }
        }
    }
}

pub(super) fn ping(number: u32) -> Value {
    json!({"extension": "neighbour", "event": "echo", "payload": number})
}
