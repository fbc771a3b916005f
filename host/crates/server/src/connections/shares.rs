//! What each address may take of what the host has for all: its connections, and how much is read and exported for it at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

/// Pages, traces and followers that are read at once for one address, of the 16 that there are for all.
const READS: usize = 8;
/// Exports that are written at once for one address, of the 8 that there are for all.
const EXPORTS: usize = 4;

tokio::task_local! {
    /// Whose request is being answered; of nobody's address, on the socket in a data directory.
    pub(crate) static CLIENT: Arc<Share>;
}

/// An address that is connected.
pub(crate) struct Client {
    /// Places to read.
    pub(crate) reads: Arc<Semaphore>,
    /// Places to export.
    pub(crate) exports: Arc<Semaphore>,
}

/// The addresses that are connected. Networks stand for the addresses in them, as in `access::pace`.
#[derive(Default)]
pub(crate) struct Shares {
    held: Mutex<HashMap<IpAddr, Held>>,
}

/// What an address has taken.
struct Held {
    connections: usize,
    client: Arc<Client>,
}

impl Shares {
    /// A connection's part of what its address may have, of so many places for connections that are free, its own among them. An address that holds
    /// as many as that gets no more: a greedy one takes half of all, a second one half of what is left, and there is always a place
    /// for whoever has none.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, free: usize) -> Option<Share> {
        let mut all = self.all();
        let held = all.entry(address).or_insert_with(|| {
            let client = Client { reads: Arc::new(Semaphore::new(READS)), exports: Arc::new(Semaphore::new(EXPORTS)) };
            Held { connections: 0, client: Arc::new(client) }
        });
        if held.connections >= free {
            return None;
        }
        held.connections += 1;
        Some(Share { shares: Arc::clone(self), address, client: Arc::clone(&held.client) })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<IpAddr, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's part; it is given back when it is dropped, which is when the connection has gone and nothing is read for it any more: whoever
/// connects anew meanwhile finds the lanes as they are.
pub(crate) struct Share {
    shares: Arc<Shares>,
    address: IpAddr,
    /// Whose it is.
    pub(crate) client: Arc<Client>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut all = self.shares.all();
        let Some(held) = all.get_mut(&self.address) else { return };
        held.connections -= 1;
        if held.connections == 0 {
            all.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    /// As many places as an address gets while others hold what they do.
    fn fill(shares: &Arc<Shares>, address: IpAddr, free: &mut usize) -> Vec<Share> {
        let mut taken = Vec::new();
        while *free > 0
            && let Some(share) = shares.take(address, *free)
        {
            *free -= 1;
            taken.push(share);
        }
        taken
    }

    #[test]
    fn greedy_addresses_leave_places_for_whoever_comes_next() {
        let (shares, mut free) = (Arc::<Shares>::default(), 1024);
        let mut all: Vec<_> = (1..=9).map(|number| fill(&shares, address(number), &mut free)).collect();
        let lengths: Vec<_> = all.iter().map(Vec::len).collect();
        assert_eq!(lengths, [512, 256, 128, 64, 32, 16, 8, 4, 2]);
        assert!(shares.take(address(10), free).is_some(), "there is one for who has none");
        // What is given back can be taken by others.
        free += all.remove(0).len();
        assert!(shares.take(address(9), free).is_some());
        drop(all);
        assert_eq!(shares.all().len(), 0, "who has gone is forgotten");
    }

    #[test]
    fn connections_of_one_address_share_its_lanes() {
        let shares = Arc::<Shares>::default();
        let take = |number| shares.take(address(number), 10).expect("there are places");
        let (one, same, other) = (take(1), take(1), take(2));
        assert!(Arc::ptr_eq(&one.client, &same.client) && !Arc::ptr_eq(&one.client, &other.client));
        let _held = one.client.exports.try_acquire_many(4).expect("they are free");
        assert!(same.client.exports.try_acquire().is_err() && other.client.exports.try_acquire().is_ok());
    }
}
