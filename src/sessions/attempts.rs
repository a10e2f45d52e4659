//! How many pairs of unknown origin each peer address may present. Each of them may cost a call of the token endpoint, and a
//! session in memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::error::Error;

/// The time for which attempts are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How many addresses are counted apart. More of them share one count, so that a stranger with many addresses does not fill the
/// memory.
const PEERS_LIMIT: usize = 4_096;

/// The attempts of the last minute.
#[derive(Debug)]
pub(super) struct Attempts {
    limit: u32,
    by_peer: Mutex<HashMap<Option<IpAddr>, Count>>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Timestamp,
    attempts: u32,
}

impl Count {
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.since) >= WINDOW
    }
}

impl Attempts {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            by_peer: Mutex::default(),
        }
    }

    /// Counts an attempt of this peer; `None` if the peer is not known.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyUnknownPairs`].
    pub(super) fn count(&self, peer: Option<IpAddr>, now: Timestamp) -> Result<(), Error> {
        let mut by_peer = self.by_peer.lock();
        let mut peer = peer.map(network);
        if by_peer.len() >= PEERS_LIMIT && !by_peer.contains_key(&peer) {
            by_peer.retain(|_, count| !count.is_over(now));
            if by_peer.len() >= PEERS_LIMIT {
                peer = None;
            }
        }
        let new = Count {
            since: now,
            attempts: 0,
        };
        let count = by_peer.entry(peer).or_insert(new);
        if count.is_over(now) {
            *count = new;
        }
        if count.attempts >= self.limit {
            let retry_after = WINDOW.saturating_sub(now.since(count.since));
            return Err(Error::TooManyUnknownPairs { retry_after });
        }
        count.attempts += 1;
        Ok(())
    }
}

/// The part of an address that one peer has: of IPv6 the network of 64 bits (RFC 6177).
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let host = u128::from(u64::MAX);
            IpAddr::V6((address.to_bits() & !host).into())
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(0);

    fn peer(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn accepted(attempts: &Attempts, peer: Option<IpAddr>, now: Timestamp) -> usize {
        (0..100)
            .filter(|_| attempts.count(peer, now).is_ok())
            .count()
    }

    #[test]
    fn each_address_has_its_own_count_and_a_new_one_each_minute() {
        let attempts = Attempts::new(3);
        assert_eq!(accepted(&attempts, peer("192.0.2.1"), NOW), 3);
        assert_eq!(accepted(&attempts, peer("192.0.2.2"), NOW), 3);
        assert_eq!(accepted(&attempts, None, NOW), 3);
        let later = NOW + Duration::from_secs(59);
        let error = attempts.count(peer("192.0.2.1"), later).unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(accepted(&attempts, peer("192.0.2.1"), NOW + WINDOW), 3);
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer_and_a_mapped_address_is_that_of_ipv4() {
        let attempts = Attempts::new(3);
        assert_eq!(accepted(&attempts, peer("2001:db8::1"), NOW), 3);
        assert_eq!(accepted(&attempts, peer("2001:db8::ffff:2"), NOW), 0);
        assert_eq!(accepted(&attempts, peer("2001:db8:0:1::1"), NOW), 3);
        assert_eq!(accepted(&attempts, peer("192.0.2.1"), NOW), 3);
        assert_eq!(accepted(&attempts, peer("::ffff:192.0.2.1"), NOW), 0);
    }

    #[test]
    fn strangers_with_many_addresses_share_a_count_and_do_not_fill_the_memory() {
        let attempts = Attempts::new(1);
        let peers = (0..100_000_u32).map(|number| Some(IpAddr::V4(number.into())));
        let accepted = peers.filter(|peer| attempts.count(*peer, NOW).is_ok());
        assert_eq!(accepted.count(), PEERS_LIMIT + 1);
        assert!(attempts.by_peer.lock().len() <= PEERS_LIMIT + 1);
        assert!(attempts.count(peer("192.0.2.1"), NOW + WINDOW).is_ok());
        assert_eq!(attempts.by_peer.lock().len(), 1);
    }
}
