//! Connections, whatever they come by: how many at once, whose, and for how long.

mod prompt;
mod shares;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{Extensions, Request};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::access::pace::{Pace, network};
pub(crate) use prompt::Prompt;
use shares::Shares;
pub(crate) use shares::{CLIENT, Share};

/// How long a client may take for the head of a request, and between two requests.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a client may take nothing of what it asked for: whoever pauses a stream for longer connects again, and goes on where it was.
pub(crate) const WRITE_TIME: Duration = Duration::from_mins(1);
/// How often it is told that an address has no more connections, at most.
const TOLD: Duration = Duration::from_mins(1);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// How long to wait after a connection could not be taken, as for want of descriptors.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// What connections come from.
pub(crate) trait Listener: Sync {
    /// A connection, with what is known of its other end.
    type Stream: Send;

    /// The address of its other end, which has its share of the places; `None` where all have one.
    fn address(stream: &Self::Stream) -> Option<IpAddr>;

    /// Waits for the next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    fn address(_: &UnixStream) -> Option<IpAddr> {
        None
    }

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for TcpListener {
    type Stream = (TcpStream, SocketAddr);

    fn address((_, address): &(TcpStream, SocketAddr)) -> Option<IpAddr> {
        Some(network(address.ip()))
    }

    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

/// Tells connections that the host takes no more requests.
#[derive(Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// What tells it, and what is told.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (tell, told) = watch::channel(false);
        (tell, Self(told))
    }

    /// Whether it was told.
    pub(crate) fn is_told(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is told; for ever, if whoever could tell it has gone. May be cancelled.
    pub(crate) async fn told(&mut self) {
        if self.0.wait_for(|is_closing| *is_closing).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Takes connections until the host closes and serves so many of them at once; further ones wait in the system's queue. Those of an address that has its
/// share of them are closed at once. Ends when all connections have.
pub(crate) async fn take<L: Listener, F: Future<Output = ()> + Send + 'static>(
    listener: L,
    at_once: usize,
    what: &'static str,
    mut closing: Closing,
    serve: impl Fn(L::Stream) -> F,
) {
    let places = Arc::new(Semaphore::new(at_once));
    let shares = Arc::<Shares>::default();
    let told = Pace::new(1, TOLD);
    // Connections end with whoever takes them.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            // It is never closed.
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((place, listener.next().await?))
        };
        let taken = tokio::select! {
            taken = next => taken,
            () = closing.told() => break,
        };
        match taken {
            Ok((place, stream)) => {
                let share = match L::address(&stream) {
                    None => None,
                    Some(address) => {
                        let share = shares.take(address, places.available_permits() + 1);
                        if share.is_none() {
                            if told.take((), Instant::now()).is_ok() {
                                tracing::warn!(%address, "connections to {what} are closed: the address has its share of them");
                            }
                            continue;
                        }
                        share
                    }
                };
                let serving = serve(stream);
                connections.spawn(async move {
                    match share {
                        None => serving.await,
                        Some(share) => CLIENT.scope(Arc::new(share), serving).await,
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("a connection to {what} cannot be taken: {error}");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Answers requests until the client has no more, or the host closes: then what is under way is answered still. One that takes too long, or speaks no HTTP, is its own concern. Each request gets
/// what is `known` of the connection.
pub(crate) async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    mut known: Extensions,
    mut closing: Closing,
) {
    // Streams end by themselves then, with what there is to tell.
    known.insert(closing.clone());
    let router = TowerToHyperService::new(router);
    // A layer of the router would make all its routes anew for each connection.
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().extend(known.clone());
        router.call(request)
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = closing.told() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::trace!("a connection ended: {error}");
    }
}
