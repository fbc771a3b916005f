//! How often somebody may do something: so many times at once, and then at a rate.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are told apart. Where there are more that are at it at once, the further ones share what one may do.
pub(crate) const CLIENTS: usize = 4096;

/// A leaky bucket for each client, by what tells it from others.
pub(crate) struct Pace<K> {
    /// How long one time takes to be forgotten.
    each: Duration,
    /// How many may come at once, as the time that they take to be forgotten.
    room: Duration,
    /// When all that a client did is forgotten; `None` stands for those that have no room of their own.
    until: Mutex<HashMap<Option<K>, Instant>>,
}

impl<K: Hash + Eq> Pace<K> {
    pub(crate) fn new(at_once: u32, each: Duration) -> Self {
        Self { each, room: each * at_once, until: Mutex::new(HashMap::new()) }
    }

    /// Notes that a client does it once more; if that is too often, how long it has to wait, and nothing is noted.
    pub(crate) fn take(&self, client: K, now: Instant) -> Result<(), Duration> {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = Some(client);
        if until.len() >= CLIENTS && !until.contains_key(&key) {
            until.retain(|_, until| *until > now);
            if until.len() >= CLIENTS {
                key = None;
            }
        }
        let forgotten = until.get(&key).copied().unwrap_or(now).max(now) + self.each;
        let wait = forgotten.duration_since(now).saturating_sub(self.room);
        if !wait.is_zero() {
            return Err(wait);
        }
        until.insert(key, forgotten);
        Ok(())
    }
}

/// The address as it is told apart: of IPv6 addresses the network, since one client has all addresses of it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_secs(1);

    #[test]
    fn an_address_may_come_so_often_at_once_and_then_at_the_rate() {
        let (pace, start) = (Pace::new(3, EACH), Instant::now());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!((0..3).all(|_| pace.take(one, start).is_ok()));
        assert_eq!(pace.take(one, start), Err(EACH));
        assert_eq!(pace.take(other, start), Ok(()), "others are not held up");
        assert_eq!(pace.take(one, start + EACH), Ok(()));
        assert_eq!(pace.take(one, start + EACH), Err(EACH), "what was refused is not counted");
        assert!((0..3).all(|_| pace.take(one, start + 100 * EACH).is_ok()));
    }

    #[test]
    fn a_client_is_its_network_and_a_thousand_networks_take_no_more_room() {
        let (pace, start) = (Pace::new(1, EACH), Instant::now());
        let address = |network: u64, host: u64| {
            IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | (u128::from(network) << 64) | u128::from(host)))
        };
        assert_eq!(pace.take(network(address(7, 1)), start), Ok(()));
        assert!(pace.take(network(address(7, 2)), start).is_err());
        for number in 0..2 * CLIENTS as u64 {
            let _ = pace.take(network(address(1000 + number, 0)), start);
        }
        assert!(pace.until.lock().expect("nobody panics").len() <= CLIENTS + 1);
        assert_eq!(
            pace.take(network(address(9, 1)), start + 10 * EACH),
            Ok(()),
            "what is forgotten gives its room back"
        );
    }
}
