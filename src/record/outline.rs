//! What a store may know of a record without its tokens. Stores that keep columns, or that let records expire, need
//! it.

use std::time::Duration;

use super::{EndReason, Record};
use crate::clock::StoreTime;
use crate::token::{AccessToken, jwt};

impl Record {
    /// Why the session ended; `None` while it is active.
    #[must_use]
    pub fn end(&self) -> Option<EndReason> {
        self.state.end()
    }

    /// The `jti` claim of the access token (RFC 7519 section 4.1.7), if the token is a JWT with that claim.
    #[must_use]
    pub fn jti(&self) -> Option<String> {
        let access = self.pair.as_ref()?.pair.access.as_ref();
        access.map(AccessToken::expose).and_then(jwt::jti)
    }

    /// When the request for the current pair was sent, by the store's clock.
    #[must_use]
    pub fn issued_at(&self) -> Option<StoreTime> {
        self.pair.as_ref().map(|stored| stored.issued_at)
    }

    /// When the current access token expires; `None` if there is no access token, if its expiry is unknown, or if it
    /// never expires.
    #[must_use]
    pub fn access_expires_at(&self) -> Option<StoreTime> {
        let stored = self.pair.as_ref()?;
        stored.pair.access.as_ref()?;
        Some(stored.issued_at.after(stored.pair.lifetime.access.total()?))
    }

    /// When the current refresh token expires; `None` if there is no refresh token, if its expiry is unknown, or if
    /// it never expires.
    #[must_use]
    pub fn refresh_expires_at(&self) -> Option<StoreTime> {
        let stored = self.pair.as_ref()?;
        stored.pair.refresh.as_ref()?;
        Some(
            stored
                .issued_at
                .after(stored.pair.lifetime.refresh.total()?),
        )
    }

    /// The moment from which nothing depends on the record, because every token that it holds or knows has expired;
    /// `None` if that moment is unknown or never comes.
    ///
    /// A store may drop the record a good while after that moment. A record that is dropped earlier means a lost
    /// session, or a seed that is spent again.
    #[must_use]
    pub fn needed_until(&self) -> Option<StoreTime> {
        let mut until = StoreTime::from(Duration::ZERO);
        if let Some(stored) = &self.pair {
            if stored.pair.access.is_some() {
                until = until.max(self.access_expires_at()?);
            }
            if stored.pair.refresh.is_some() {
                until = until.max(self.refresh_expires_at()?);
            }
        }
        until = until.max(self.past.until()?);
        // The record has never known a token: a first sign-in is leased.
        (until != StoreTime::default()).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::past::Past;
    use crate::record::testkit::{NOW, active, pair};
    use crate::record::{Origin, RecordState, StoredPair};
    use crate::token::{Digest, Key, TokenFamily, TokenPair};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn lasting(access: Duration, refresh: Duration) -> Record {
        let stored = StoredPair {
            issued_at: NOW,
            origin: Origin::Endpoint,
            pair: TokenPair::new("access")
                .refresh_token("refresh")
                .expires_in(access)
                .refresh_expires_in(refresh),
        };
        Record {
            pair: Some(stored),
            ..active()
        }
    }

    fn past(until: Option<StoreTime>) -> Past {
        let mut past = Past::default();
        past.note(Digest::of("past"), Origin::Endpoint, until);
        past
    }

    #[test]
    fn a_record_is_needed_until_its_last_token_has_expired() {
        let mut record = lasting(HOUR, 2 * HOUR);
        assert_eq!(record.access_expires_at(), Some(NOW.after(HOUR)));
        assert_eq!(record.needed_until(), Some(NOW.after(2 * HOUR)));
        record.past = past(Some(NOW.after(3 * HOUR)));
        assert_eq!(record.needed_until(), Some(NOW.after(3 * HOUR)));
        assert_eq!(
            lasting(2 * HOUR, HOUR).needed_until(),
            Some(NOW.after(2 * HOUR))
        );
    }

    #[test]
    fn a_record_is_needed_for_good_where_an_expiry_is_unknown() {
        let mut record = lasting(HOUR, HOUR);
        record.past = past(None);
        assert_eq!(record.needed_until(), None, "a past token");
        record.pair = Some(pair("r1"));
        record.past = Past::default();
        assert_eq!(record.needed_until(), None, "the current token");
        let vacant = Record::vacant(Key::new("issuer", "client"), TokenFamily::from_bits(1));
        assert_eq!(vacant.needed_until(), None, "a sign-in to come");
    }

    #[test]
    fn a_record_reports_the_end_that_it_stores() {
        let record = active();
        assert_eq!(record.end(), None);
        let ended = record.ended(RecordState::LoggedOut);
        assert_eq!(ended.end(), Some(EndReason::LoggedOut));
    }
}
