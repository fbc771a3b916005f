//! A collector over HTTP that keeps what it is sent, and answers as it is told to.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use crate::peers;

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is taken.
    Take,
    /// A status, more lines of the head, and a body.
    Say(u16, &'static str, Vec<u8>),
    /// A status, and all that the request's head said.
    Echo(u16),
    /// What is no HTTP.
    Garbage,
    /// The connection ends.
    Close,
    /// Nothing is said, and the connection is held.
    Hang,
}

/// A request, and what was done with it.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) path: String,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    pub(super) answer: Answer,
    pub(super) at: Instant,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &&str| line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name));
        self.head.lines().find(of).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    pub(super) fn is_taken(&self) -> bool {
        matches!(self.answer, Answer::Take | Answer::Say(200, ..) | Answer::Echo(200))
    }
}

/// What says how the request with this number, counted from 0, with this path and body, is answered.
type Script = Box<dyn Fn(usize, &str, &[u8]) -> Answer + Send + Sync>;

struct State {
    script: Script,
    received: Mutex<Vec<Received>>,
    streams: Mutex<Vec<TcpStream>>,
    is_over: AtomicBool,
}

/// It goes away when it is dropped, with all of its connections.
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    listener: Option<JoinHandle<()>>,
}

impl Collector {
    /// One that takes everything.
    pub(super) fn start() -> Self {
        Self::with(|_, _, _| Answer::Take)
    }

    /// One that answers by a script.
    pub(super) fn with(script: impl Fn(usize, &str, &[u8]) -> Answer + Send + Sync + 'static) -> Self {
        Self::at(&nowhere(), script)
    }

    pub(super) fn at(
        address: &SocketAddr,
        script: impl Fn(usize, &str, &[u8]) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("nobody else has the address");
        let address = listener.local_addr().expect("it has one");
        let state = Arc::new(State {
            script: Box::new(script),
            received: Mutex::default(),
            streams: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let listener = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let kept = stream.try_clone().expect("a descriptor is free");
                shared.streams.lock().expect("nobody panics with it").push(kept);
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state, listener: Some(listener) }
    }

    /// The settings of a host that pushes to it, and looks often whether there is something to push.
    pub(super) fn settings(&self, more: &[&str]) -> Vec<String> {
        settings(&self.address, more)
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("nobody panics with it").clone()
    }

    /// What was taken, as OpenTelemetry's decoder reads it.
    pub(super) fn taken(&self, place: &Path) -> Vec<Value> {
        decoded(place, &self.received().into_iter().filter(Received::is_taken).collect::<Vec<_>>())
    }
}

/// Requests as OpenTelemetry's decoder reads them.
pub(super) fn decoded(place: &Path, requests: &[Received]) -> Vec<Value> {
    let folder = tempfile::tempdir_in(place).expect("making a folder");
    for (number, request) in requests.iter().enumerate() {
        let service = request.path.rsplit('/').next().expect("a path has an end");
        let kind = request.header("content-type").expect("it says what it is").rsplit('/').next().expect("a type");
        let name = format!("{number:06}.{service}.{}", kind.trim_start_matches("x-"));
        fs::write(folder.path().join(name), &request.body).expect("writing a request");
    }
    peers::read("pushed", &[], folder.path()).as_array().expect("a list").clone()
}

/// The settings of a host that pushes to an address.
pub(super) fn settings(address: &SocketAddr, more: &[&str]) -> Vec<String> {
    let endpoint = format!("otlp.endpoint=http://{address}");
    let all = [endpoint.as_str(), "otlp.interval=100ms"].into_iter().chain(more.iter().copied());
    all.flat_map(|setting| ["--set".to_owned(), setting.to_owned()]).collect()
}

/// An address where nobody listens.
pub(super) fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address is free")
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let mut writer = stream.try_clone().expect("a descriptor is free");
        let mut reader = BufReader::new(stream);
        while let Some((path, head, body)) = read(&mut reader) {
            let answer = {
                let mut received = self.received.lock().expect("nobody panics with it");
                let answer = (self.script)(received.len(), &path, &body);
                let at = Instant::now();
                received.push(Received { path, head: head.clone(), body, answer: answer.clone(), at });
                answer
            };
            let (status, more, body) = match answer {
                Answer::Take => (200, "", Vec::new()),
                Answer::Say(status, more, body) => (status, more, body),
                Answer::Echo(status) => (status, "", head.into_bytes()),
                Answer::Garbage => {
                    let _ = writer.write_all(b"\x00\x01nonsense\r\n\r\n");
                    break;
                }
                Answer::Close => break,
                Answer::Hang => continue,
            };
            let head = format!("HTTP/1.1 {status} As told\r\nContent-Length: {}\r\n{more}\r\n", body.len());
            if writer.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                break;
            }
        }
        let _ = writer.shutdown(Shutdown::Both);
    }
}

/// A request's path, head and body; `None` at the end of the connection.
fn read(reader: &mut BufReader<TcpStream>) -> Option<(String, String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let (first, fields) = head.split_once("\r\n")?;
    let fields: BTreeMap<_, _> = fields
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect();
    let mut body = vec![0; fields.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some((first.split(' ').nth(1)?.to_owned(), head.clone(), body))
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // It looks again when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
        for stream in self.state.streams.lock().expect("nobody panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
