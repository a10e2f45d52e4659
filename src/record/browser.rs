//! What a record knows of the browser that holds a copy of its pair.
//!
//! A browser loses answers as a matter of course: an aborted request, a navigation that another one overtakes, a closed tab. It
//! then presents a pair that was replaced, and must not be signed out for it. So the record keeps which of the past tokens the
//! browser may still hold: those that were replaced since a browser presented the pair that was current at that time. As soon
//! as a browser presents the current pair, the answer with that pair has arrived, and the others count for a while longer only
//! (`retired_for`), because requests that the browser sent before may still be on their way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Record;
use super::past::Names;
use crate::clock::StoreTime;
use crate::token::Digest;

/// How many replaced tokens are kept. Of more, the first one stays, which the browser presented last, and those that were
/// replaced last.
const REPLACED_LIMIT: usize = 8;

/// How many pinned tokens are kept. The permission that ends first makes room.
const PINS_LIMIT: usize = 8;

/// The part of a record that is kept for a session whose pair a browser holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Browser {
    /// When the user signed in.
    pub(crate) began: StoreTime,
    /// When a browser presented the session last. It is written now and then, not for each request.
    pub(crate) seen_at: StoreTime,
    /// When a browser presented the current pair for the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current_at: Option<StoreTime>,
    /// The tokens that a browser may hold in place of the current one: first the one that it presented last, then the others in
    /// the order in which they were replaced.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub(crate) replaced: Names,
    /// The tokens with a permission to be presented on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pins: Vec<Pin>,
}

/// A permission to present a token, also after it was replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) digest: Digest,
    pub(crate) until: StoreTime,
}

/// What a token is to the record of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The current token.
    Current,
    /// A past token that a browser may still hold, or may present by a permission.
    Replaced,
    /// A past token that is not accepted any more.
    Retired,
    /// The record does not know the token.
    Unknown,
}

impl Browser {
    /// A browser that got the session's pair at its sign-in.
    pub(crate) fn new(began: StoreTime, now: StoreTime) -> Self {
        Self {
            began,
            seen_at: now,
            current_at: None,
            replaced: Names::default(),
            pins: Vec::new(),
        }
    }

    /// The current token was replaced.
    pub(super) fn retired(&mut self, digest: Digest) {
        // The browser had the token that is replaced now, so it holds none of the earlier ones.
        if self.current_at.take().is_some() {
            self.replaced.0.clear();
        }
        if !self.replaced.0.contains(&digest) {
            self.replaced.0.push(digest);
        }
        if self.replaced.0.len() > REPLACED_LIMIT {
            self.replaced.0.remove(1);
        }
    }

    /// A browser presented the session at `now`, and the current pair if `is_current`.
    pub(crate) fn seen(&mut self, is_current: bool, now: StoreTime) {
        self.seen_at = self.seen_at.max(now);
        if is_current {
            self.current_at.get_or_insert(now);
        }
    }

    /// The browser presented this replaced token, and so holds it.
    pub(crate) fn holds(&mut self, digest: &Digest) {
        if let Some(at) = self.position(digest) {
            self.replaced.0[..=at].rotate_right(1);
        }
    }

    /// Whether the record knows that the browser holds this token, if it is a replaced one.
    pub(crate) fn is_known_to_hold(&self, digest: &Digest) -> bool {
        self.position(digest).is_none_or(|at| at == 0)
    }

    fn position(&self, digest: &Digest) -> Option<usize> {
        let replaced = &self.replaced.0;
        replaced.iter().position(|known| known == digest)
    }

    /// Permits to present this token until then.
    pub(crate) fn pin(&mut self, digest: Digest, until: StoreTime, now: StoreTime) {
        self.pins
            .retain(|pin| now < pin.until && pin.digest != digest);
        if self.pins.len() >= PINS_LIMIT
            && let Some(first) = (0..self.pins.len()).min_by_key(|index| self.pins[*index].until)
        {
            self.pins.remove(first);
        }
        self.pins.push(Pin { digest, until });
    }

    fn accepts(&self, digest: &Digest, retired_for: Duration, now: StoreTime) -> bool {
        let is_pinned = |pin: &Pin| pin.digest == *digest && now < pin.until;
        let is_late = self
            .current_at
            .is_some_and(|at| now.since(at) >= retired_for);
        self.pins.iter().any(is_pinned)
            || !retired_for.is_zero() && !is_late && self.replaced.0.contains(digest)
    }
}

impl Record {
    /// What the token of this digest is to the session. `retired_for` is how long a replaced token is accepted after a browser
    /// has presented the current one; zero accepts none at all.
    pub(crate) fn place(&self, digest: &Digest, retired_for: Duration, now: StoreTime) -> Place {
        if self.pair.is_some() && self.digest() == *digest {
            return Place::Current;
        }
        let browser = self.browser.as_ref();
        if browser.is_some_and(|browser| browser.accepts(digest, retired_for, now)) {
            return Place::Replaced;
        }
        let was_replaced = browser.is_some_and(|browser| browser.replaced.0.contains(digest));
        match was_replaced || self.knows(digest) {
            true => Place::Retired,
            false => Place::Unknown,
        }
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

    /// The session of a browser that presents its pair at the given moments and rotates.
    fn record() -> Record {
        let mut record = active();
        record.browser = Some(Box::new(Browser::new(NOW, NOW)));
        record
    }

    fn rotate(record: &mut Record, to: &str) {
        record.retire_current();
        record.pair = Some(pair(to));
    }

    fn present(record: &mut Record, now: StoreTime) {
        record.browser.as_mut().unwrap().seen(true, now);
    }

    #[test]
    fn n13_a_replaced_token_is_accepted_until_the_current_one_was_presented_and_a_while_longer() {
        let mut record = record();
        present(&mut record, NOW);
        rotate(&mut record, "r2");
        let later = NOW.after(Duration::from_secs(86_400));
        assert_eq!(record.place(&name("r2"), GRACE, later), Place::Current);
        assert_eq!(record.place(&name("r1"), GRACE, later), Place::Replaced);
        present(&mut record, later);
        let last = later.after(GRACE).before(SECOND);
        assert_eq!(record.place(&name("r1"), GRACE, last), Place::Replaced);
        let over = later.after(GRACE);
        assert_eq!(record.place(&name("r1"), GRACE, over), Place::Retired);
        assert_eq!(record.place(&name("r3"), GRACE, over), Place::Unknown);
    }

    #[test]
    fn a_grace_of_zero_accepts_no_replaced_token() {
        let mut record = record();
        rotate(&mut record, "r2");
        let place = record.place(&name("r1"), Duration::ZERO, NOW);
        assert_eq!(place, Place::Retired);
    }

    #[test]
    fn n13_a_token_that_is_two_back_is_refused_at_once_where_the_browser_had_the_one_between() {
        let mut record = record();
        present(&mut record, NOW);
        rotate(&mut record, "r2");
        present(&mut record, NOW);
        rotate(&mut record, "r3");
        assert_eq!(record.place(&name("r1"), GRACE, NOW), Place::Retired);
        assert_eq!(record.place(&name("r2"), GRACE, NOW), Place::Replaced);
    }

    /// A browser that lost the answers of several rotations in a row still holds the token before them.
    #[test]
    fn the_token_that_a_browser_presented_last_is_accepted_after_any_number_of_lost_answers() {
        let mut record = record();
        present(&mut record, NOW);
        for number in 2..40 {
            rotate(&mut record, &format!("r{number}"));
            assert_eq!(record.place(&name("r1"), GRACE, NOW), Place::Replaced);
        }
        assert_eq!(record.browser.as_ref().unwrap().replaced.0.len(), 8);
        assert_eq!(record.place(&name("r38"), GRACE, NOW), Place::Replaced);
        present(&mut record, NOW);
        rotate(&mut record, "r40");
        assert_ne!(record.place(&name("r1"), GRACE, NOW), Place::Replaced);
        assert_eq!(record.place(&name("r39"), GRACE, NOW), Place::Replaced);
    }

    /// The browser got its token after that was replaced, and loses all answers from then on.
    #[test]
    fn a_replaced_token_that_a_browser_presented_last_is_accepted_after_any_number_of_lost_answers()
    {
        let mut record = record();
        for number in 2..5 {
            rotate(&mut record, &format!("r{number}"));
        }
        for number in 5..40 {
            let browser = record.browser.as_mut().unwrap();
            browser.holds(&name("r2"));
            assert!(browser.is_known_to_hold(&name("r2")));
            assert!(!browser.is_known_to_hold(&name("r3")) || number > 11);
            rotate(&mut record, &format!("r{number}"));
            assert_eq!(record.place(&name("r2"), GRACE, NOW), Place::Replaced);
        }
        assert_eq!(record.browser.as_ref().unwrap().replaced.0.len(), 8);
        assert_eq!(record.place(&name("r38"), GRACE, NOW), Place::Replaced);
    }

    #[test]
    fn g7_a_pinned_token_is_accepted_until_its_permission_ends() {
        let mut record = record();
        let until = NOW.after(Duration::from_secs(3_600));
        let browser = record.browser.as_mut().unwrap();
        browser.pin(name("r1"), until, NOW);
        for number in 2..12 {
            present(&mut record, NOW);
            rotate(&mut record, &format!("r{number}"));
        }
        let last = until.before(SECOND);
        let zero = Duration::ZERO;
        assert_eq!(record.place(&name("r1"), zero, last), Place::Replaced);
        assert_ne!(record.place(&name("r2"), zero, last), Place::Replaced);
        assert_ne!(record.place(&name("r1"), zero, until), Place::Replaced);
    }

    #[test]
    fn the_permission_that_ends_first_makes_room_for_another() {
        let mut browser = Browser::new(NOW, NOW);
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
        present(&mut record, NOW);
        rotate(&mut record, "r2");
        record
            .browser
            .as_mut()
            .unwrap()
            .pin(name("r1"), NOW.after(GRACE), NOW);
        let form = serde_json::to_value(&record).unwrap();
        assert_eq!(serde_json::from_value::<Record>(form).unwrap(), record);
        let plain = serde_json::to_value(active()).unwrap();
        assert!(plain.get("browser").is_none());
    }
}
