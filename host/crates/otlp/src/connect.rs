//! Connecting to a name that may have several addresses, of which some may say nothing.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

/// Addresses of a name that are tried: it has two or three, and each of more would have too small a share of the time.
const ADDRESSES: usize = 8;

/// Connects to an address of a name.
pub(crate) async fn to(host: &str, port: u16, until: Instant) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host((host, port)).await?.take(ADDRESSES).collect();
    first(&addresses, until, TcpStream::connect).await
}

/// Tries addresses one after the other, each for its share of the time that is left, so that one that says nothing leaves some to the others.
/// The error is the last one's.
async fn first<T, F: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    until: Instant,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut last = Err(io::Error::other("its name has no address"));
    for (index, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        last = timeout_at(Instant::now() + share, connect(*address))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("{address} says nothing"))));
        if last.is_ok() {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Addresses by their port: one that takes connections, one that refuses them, and any other that says nothing.
    async fn connect(address: SocketAddr) -> io::Result<u16> {
        match address.port() {
            1 => Ok(1),
            2 => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
            _ => std::future::pending().await,
        }
    }

    async fn check(ports: &[u16], expect: Result<u16, &str>) {
        let addresses: Vec<_> = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
        let until = Instant::now() + Duration::from_millis(200);
        let found = first(&addresses, until, connect).await.map_err(|error| error.to_string());
        match (&found, expect) {
            (Ok(found), Ok(expect)) => assert_eq!(*found, expect, "{ports:?}"),
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{ports:?}: {found}"),
            _ => panic!("{ports:?}: {found:?}"),
        }
    }

    #[tokio::test]
    async fn an_address_that_says_nothing_leaves_time_for_the_others() {
        check(&[1], Ok(1)).await;
        check(&[9, 1], Ok(1)).await;
        check(&[9, 2, 9, 1], Ok(1)).await;
        check(&[1, 9], Ok(1)).await;
        check(&[9, 2], Err("refused")).await;
        check(&[2, 9], Err("127.0.0.1:9 says nothing")).await;
        check(&[], Err("no address")).await;
    }

    #[tokio::test]
    async fn a_name_is_connected_to_at_an_address_of_it_where_somebody_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("an address is free");
        let port = listener.local_addr().expect("it has one").port();
        // Of both kinds of addresses that it may have, one is listened to.
        let stream = to("localhost", port, Instant::now() + Duration::from_secs(10)).await.expect("it is there");
        assert_eq!(stream.peer_addr().expect("it has one").port(), port);
    }
}
