//! A server of HTTP/1.1 on the loopback device: it notes what comes, and answers by the path, well or badly.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request that came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body_bytes: usize,
}

impl Seen {
    /// All headers of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }
}

struct State {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// Requests to `/hold` that came and have no answer yet, and whether they get one.
    held: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

/// Serves until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    open: watch::Sender<usize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection that is open.
struct Open(watch::Sender<usize>);

impl Open {
    fn new(open: &watch::Sender<usize>, state: &State) -> Self {
        open.send_modify(|open| *open += 1);
        state.connections.fetch_add(1, Ordering::SeqCst);
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Server {
    pub(crate) async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it has an address");
        let state = State {
            seen: Mutex::default(),
            connections: AtomicUsize::default(),
            held: watch::channel(0).0,
            released: watch::channel(false).0,
        };
        let (state, open) = (Arc::new(state), watch::channel(0).0);
        let (own, counted) = (Arc::clone(&state), open.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (state, tls, open) = (Arc::clone(&own), tls.clone(), Open::new(&counted, &own));
                connections.spawn(async move {
                    let _open = open;
                    // What fails here, the guest is told of.
                    let _ = match tls {
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &state).await,
                            Err(error) => Err(error),
                        },
                        None => serve(stream, &state).await,
                    };
                });
            }
        });
        Self { address, state, open, task }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The only request that came.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        let [only] = &seen[..] else { panic!("{seen:?}") };
        only.clone()
    }

    /// Connections that were ever made.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests to `/hold` have come that have no answer.
    pub(crate) async fn holds(&self, requests: usize) {
        let mut held = self.state.held.subscribe();
        let come = held.wait_for(|held| *held >= requests);
        tokio::time::timeout(crate::harness::LONG, come).await.expect("they come").expect("it serves");
    }

    /// Those that have none now.
    pub(crate) fn held(&self) -> usize {
        *self.state.held.borrow()
    }

    /// Lets all of them be answered from now on.
    pub(crate) fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// Waits until no connection is open.
    pub(crate) async fn left_alone(&self) {
        let mut open = self.open.subscribe();
        let closed = open.wait_for(|open| *open == 0);
        tokio::time::timeout(crate::harness::LONG, closed).await.expect("all are closed").expect("it serves");
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) -> io::Result<()> {
    let mut read = Vec::new();
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..head_end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let mut seen = Seen {
        method: first.next().unwrap_or_default(),
        path: first.next().unwrap_or_default(),
        headers: lines.map_while(header).collect(),
        body_bytes: read.len() - head_end,
    };
    let length = seen.all("content-length").first().and_then(|length| length.parse().ok()).unwrap_or(0);
    while seen.body_bytes < length {
        let bytes = stream.read(&mut [0; 1024]).await?;
        if bytes == 0 {
            break;
        }
        seen.body_bytes += bytes;
    }
    let path = seen.path.clone();
    state.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
    if path == "/hold" {
        state.held.send_modify(|held| *held += 1);
        // The sender lives as long as this does.
        let _ = state.released.subscribe().wait_for(|released| *released).await;
        state.held.send_modify(|held| *held -= 1);
    }
    answer(&mut stream, path.split('?').next().unwrap_or_default()).await?;
    // Whoever asked closes.
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> io::Result<()> {
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\n{more}\r\n").into_bytes();
    let whole = match path.split('/').nth(1).unwrap_or_default() {
        // Never answered.
        "slow" => return Ok(()),
        "close" => return stream.shutdown().await,
        "status" => {
            let status = path.rsplit('/').next().unwrap_or_default();
            head(&format!("{status} So"), "content-length: 0\r\n")
        }
        "redirect" => head("302 Found", "location: http://127.0.0.1:9/ok\r\ncontent-length: 0\r\n"),
        "headers" => head("200 OK", &format!("x-long: {}\r\n", "x".repeat(256 * 1024))),
        "many-headers" => head("200 OK", &"x-one: 1\r\n".repeat(1000)),
        "garbage" => b"\x16\x03\x01 this is no HTTP\r\n\r\n".to_vec(),
        "short" => [head("200 OK", "content-length: 100\r\n"), b"ten bytes!".to_vec()].concat(),
        "stall" => {
            stream.write_all(&[head("200 OK", "content-length: 100\r\n"), b"ten bytes!".to_vec()].concat()).await?;
            return Ok(());
        }
        "big" => {
            let bytes: usize = path.rsplit('/').next().unwrap_or_default().parse().unwrap_or(0);
            stream.write_all(&head("200 OK", &format!("content-length: {bytes}\r\n"))).await?;
            return stream.write_all(&vec![b'x'; bytes]).await;
        }
        "drip" => {
            stream.write_all(&head("200 OK", "transfer-encoding: chunked\r\n")).await?;
            let chunk = [b"400\r\n".to_vec(), vec![b'x'; 1024], b"\r\n".to_vec()].concat();
            loop {
                stream.write_all(&chunk).await?;
            }
        }
        _ => [head("200 OK", "content-length: 5\r\nset-cookie: a=1\r\n"), b"hello".to_vec()].concat(),
    };
    stream.write_all(&whole).await?;
    if path == "/short" { stream.shutdown().await } else { Ok(()) }
}
