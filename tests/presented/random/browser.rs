//! A browser: a jar, and what it has sent so far, from which follows which pairs have to be accepted.

use std::collections::HashMap;
use std::time::Duration;

use evertoken::BrowserPair;
use evertoken::clock::Timestamp;

use crate::ledger::{Ledger, Place};
use crate::world::GRACE;

/// What tabs of one browser share.
pub(super) struct Browser {
    pub(super) number: usize,
    pub(super) jar: BrowserPair,
    /// How many of ten answers do not arrive.
    pub(super) lost_of_ten: u64,
    /// When the pair of this rotation was sent first.
    sent: HashMap<u64, Timestamp>,
}

impl Browser {
    pub(super) fn new(number: usize, jar: BrowserPair) -> Self {
        Self {
            number,
            jar,
            lost_of_ten: 0,
            sent: HashMap::new(),
        }
    }

    /// A request with the cookie of the jar is sent.
    pub(super) fn send(&mut self, ledger: &Ledger, now: Timestamp) -> (BrowserPair, u64) {
        let Place { owner, rotation } = ledger.of(self.jar.pair());
        assert_eq!(
            owner, self.number,
            "the jar has the pair of another browser"
        );
        self.sent.entry(rotation).or_insert(now);
        (self.jar.clone(), rotation)
    }

    /// Whether the pair of this rotation had to be accepted, of a request that is answered at `now`: the browser has sent no newer
    /// one, or only the current one, within the grace.
    pub(super) fn has_to_be_accepted(
        &self,
        rotation: u64,
        ledger: &Ledger,
        now: Timestamp,
    ) -> bool {
        let newest = ledger.rotations(self.number);
        let mut newer = self.sent.iter().filter(|(sent, _)| **sent > rotation);
        newer.all(|(sent, at)| *sent == newest && now.since(*at) < GRACE - Duration::from_millis(1))
    }
}
