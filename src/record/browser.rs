//! What a record knows of the browser that holds a copy of its pair.
//!
//! A browser loses answers as a matter of course: an aborted request, a navigation that another one overtakes, a closed tab. It
//! then presents a pair that was replaced, and must not be signed out for it. So the record keeps which pair a browser has
//! presented last, by its version: that pair and each later one may be the browser's. Once a browser presents the
//! current pair, the answer with that pair has arrived, and the pairs before it count for a while longer only (`retired_for`),
//! because requests that the browser sent before may still be on their way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::clock::StoreTime;
use crate::token::Digest;

/// How many pinned tokens are kept. The permission that ends first makes room.
const PINS_LIMIT: usize = 8;

/// The part of a record that is kept for a session whose pair a browser holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Browser {
    /// When the user signed in.
    pub(crate) began: StoreTime,
    /// When a browser presented the session last. It is written now and then, not for each request.
    pub(crate) seen_at: StoreTime,
    #[serde(flatten)]
    pub(crate) shown: Shown,
    /// The tokens with a permission to be presented on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pins: Vec<Pin>,
}

/// The newest pair that a browser has presented, by its version: instances that have a store each count the leases of a session
/// apart, and its rotations alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown<T = StoreTime> {
    /// The version of the pair.
    pub(crate) version: u64,
    /// The version of the newest pair that was presented before it; 0 if that is not known.
    pub(crate) before: u64,
    /// The version of the pair that was current then.
    pub(crate) current: u64,
    /// When the pair was presented for the first time.
    pub(crate) at: T,
}

impl<T> Shown<T> {
    /// The same at a moment of another clock.
    pub(crate) fn map<U>(self, clock: impl FnOnce(T) -> U) -> Shown<U> {
        Shown {
            version: self.version,
            before: self.before,
            current: self.current,
            at: clock(self.at),
        }
    }

    /// Whether a browser may still hold the pair of this version, where the current pair has the version `current`, and the newest
    /// one that was presented was so for the first time `age` ago.
    pub(crate) fn accepts(
        &self,
        version: u64,
        current: u64,
        age: Duration,
        retired_for: Duration,
    ) -> bool {
        // After the next rotation, the pairs before the one that was presented are refused. The versions of an instance may be
        // ahead of the record's, where a pair was published before it was stored.
        let is_late = || current <= self.current && age < retired_for && version >= self.before;
        !retired_for.is_zero() && (version >= self.version || is_late())
    }

    /// Takes a later presentation in. Returns whether it shows a newer pair.
    pub(crate) fn advance(&mut self, later: Self) -> bool {
        let is_newer = later.version > self.version;
        if is_newer {
            let before = self.version.max(later.before);
            *self = Self { before, ..later };
        }
        is_newer
    }
}

/// A permission to present a token, also after it was replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) digest: Digest,
    pub(crate) until: StoreTime,
}

/// What an instance knows of the browser, which the record may not know yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// When a browser presented the session last.
    pub(crate) at: StoreTime,
    pub(crate) shown: Option<Shown>,
}

impl Browser {
    /// A browser that gets the session's pair of this version at its sign-in.
    pub(crate) fn new(version: u64, began: StoreTime, now: StoreTime) -> Self {
        Self {
            began,
            seen_at: now,
            shown: Shown {
                version,
                before: version,
                current: version,
                at: began,
            },
            pins: Vec::new(),
        }
    }

    /// Takes in what an instance knows.
    pub(crate) fn learn(&mut self, seen: Seen) {
        self.seen_at = self.seen_at.max(seen.at);
        if let Some(shown) = seen.shown {
            self.shown.advance(shown);
        }
    }

    /// Permits to present this token until then at least.
    pub(crate) fn pin(&mut self, digest: Digest, mut until: StoreTime, now: StoreTime) {
        let same = self.pins.iter().find(|pin| pin.digest == digest);
        until = same.map_or(until, |pin| until.max(pin.until));
        self.pins
            .retain(|pin| now < pin.until && pin.digest != digest);
        if self.pins.len() >= PINS_LIMIT
            && let Some(first) = (0..self.pins.len()).min_by_key(|index| self.pins[*index].until)
        {
            self.pins.remove(first);
        }
        self.pins.push(Pin { digest, until });
    }
}

impl Record {
    /// Whether the token of this digest may be presented by a permission.
    pub(crate) fn has_pinned(&self, digest: &Digest, now: StoreTime) -> bool {
        let is_pinned = |pin: &Pin| pin.digest == *digest && now < pin.until;
        let browser = self.browser.as_ref();
        browser.is_some_and(|browser| browser.pins.iter().any(is_pinned))
    }

    /// Whether the browser may still hold the pair of this version, which another one has replaced. `retired_for` is how long such
    /// a pair is accepted after a browser has presented the current one; zero accepts none at all.
    pub(crate) fn accepts_replaced(
        &self,
        version: u64,
        retired_for: Duration,
        now: StoreTime,
    ) -> bool {
        self.browser.as_ref().is_some_and(|browser| {
            let shown = browser.shown;
            let age = now.since(shown.at);
            shown.accepts(version, self.version, age, retired_for)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testkit::{NOW, active, pair};

    const GRACE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    fn name(token: &str) -> Digest {
        Digest::of(token)
    }

    /// The session of a browser that signed in with pair 1.
    fn record() -> Record {
        let mut record = active();
        record.version = 1;
        record.browser = Some(Box::new(Browser::new(1, NOW, NOW)));
        record
    }

    fn rotate(record: &mut Record) {
        record.version += 1;
    }

    fn present(record: &mut Record, version: u64, now: StoreTime) {
        let shown = Some(Shown {
            version,
            before: 0,
            current: record.version,
            at: now,
        });
        record
            .browser
            .as_mut()
            .unwrap()
            .learn(Seen { at: now, shown });
    }

    #[test]
    fn n13_a_replaced_pair_is_accepted_until_the_current_one_was_presented_and_a_while_longer() {
        let mut record = record();
        present(&mut record, 1, NOW);
        rotate(&mut record);
        let later = NOW.after(Duration::from_secs(86_400));
        assert!(record.accepts_replaced(1, GRACE, later));
        present(&mut record, 2, later);
        let last = later.after(GRACE).before(SECOND);
        assert!(record.accepts_replaced(1, GRACE, last));
        assert!(!record.accepts_replaced(1, GRACE, later.after(GRACE)));
        assert!(record.accepts_replaced(2, GRACE, later.after(GRACE)));
    }

    #[test]
    fn a_grace_of_zero_accepts_no_replaced_pair() {
        let mut record = record();
        rotate(&mut record);
        assert!(!record.accepts_replaced(1, Duration::ZERO, NOW));
    }

    #[test]
    fn n13_a_pair_that_is_two_back_is_refused_at_once_where_the_browser_had_the_one_between() {
        let mut record = record();
        rotate(&mut record);
        present(&mut record, 2, NOW);
        rotate(&mut record);
        assert!(!record.accepts_replaced(1, GRACE, NOW));
        assert!(record.accepts_replaced(2, GRACE, NOW));
        present(&mut record, 3, NOW);
        assert!(!record.accepts_replaced(1, GRACE, NOW));
        assert!(record.accepts_replaced(2, GRACE, NOW));
    }

    /// A browser that lost the answers of several rotations in a row still holds the pair before them.
    #[test]
    fn the_pair_that_a_browser_presented_last_is_accepted_after_any_number_of_lost_answers() {
        let mut record = record();
        for _ in 2..1_000 {
            rotate(&mut record);
            present(&mut record, 1, NOW);
            assert!(record.accepts_replaced(1, GRACE, NOW));
        }
        assert!(record.accepts_replaced(500, GRACE, NOW));
        present(&mut record, 500, NOW);
        assert!(record.accepts_replaced(1, GRACE, NOW));
        assert!(!record.accepts_replaced(1, GRACE, NOW.after(GRACE)));
        assert!(record.accepts_replaced(501, GRACE, NOW));
    }

    #[test]
    fn an_instance_that_knows_less_changes_nothing() {
        let mut record = record();
        rotate(&mut record);
        present(&mut record, 2, NOW);
        let before = record.clone();
        present(&mut record, 1, NOW);
        present(&mut record, 2, NOW.before(GRACE));
        assert_eq!(record, before);
    }

    #[test]
    fn g7_a_pinned_token_is_accepted_until_its_permission_ends() {
        let mut record = record();
        let until = NOW.after(Duration::from_secs(3_600));
        let browser = record.browser.as_mut().unwrap();
        browser.pin(name("r1"), until, NOW);
        browser.pin(name("r1"), NOW.after(SECOND), NOW);
        assert!(record.has_pinned(&name("r1"), until.before(SECOND)));
        assert!(!record.has_pinned(&name("r2"), NOW));
        assert!(!record.has_pinned(&name("r1"), until));
    }

    #[test]
    fn the_permission_that_ends_first_makes_room_for_another() {
        let mut browser = Browser::new(1, NOW, NOW);
        for number in 0..10_u64 {
            let until = NOW.after(Duration::from_secs(100 - number));
            browser.pin(name(&number.to_string()), until, NOW);
        }
        assert_eq!(browser.pins.len(), PINS_LIMIT);
        let is_there = |number: u64| {
            let digest = name(&number.to_string());
            browser.pins.iter().any(|pin| pin.digest == digest)
        };
        let there: Vec<_> = (0..10).filter(|number| is_there(*number)).collect();
        assert_eq!(there, [0, 1, 2, 3, 4, 5, 6, 9]);
    }

    #[test]
    fn a_record_of_a_browser_is_read_as_it_was_written() {
        let mut record = record();
        rotate(&mut record);
        present(&mut record, 2, NOW);
        let browser = record.browser.as_mut().unwrap();
        browser.pin(name("r1"), NOW.after(GRACE), NOW);
        record.pair = Some(pair("r2"));
        let form = serde_json::to_value(&record).unwrap();
        assert_eq!(serde_json::from_value::<Record>(form).unwrap(), record);
        let plain = serde_json::to_value(active()).unwrap();
        assert!(plain.get("browser").is_none());
    }
}
