//! How a session begins: with the pair that was given at start, or with one of a new sign-in.

use super::calls::{load_patiently, store_now, swap};
use super::{Next, Rotation, Seen, lineage, store_failed};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::event::Event;
use crate::record::{Record, State, StoredPair};
use crate::session::Session;
use crate::store::Swap;
use crate::token::TokenPair;

impl Rotation {
    /// Writes the first pair that was given at start, if the store never knew it.
    pub(super) async fn seed(&mut self, seen: &Seen) -> Result<Option<Next>, Error> {
        let Some((pair, given_at)) = self.session().lock().seed().cloned() else {
            return Ok(None);
        };
        let session = self.session();
        let now = self.store_now(seen.clock);
        let Some(next) = seeded(session, seen, pair, given_at)? else {
            session.lock().forget_seed();
            return Ok(None);
        };
        if let Swap::Swapped(_) = self
            .swap(seen.revision(), &next)
            .await
            .map_err(store_failed)?
        {
            // Taken from the record as a pair of somebody else's would be, but no news to anybody.
            session.begin(&next, now, None);
        }
        Ok(Some(Next::Again))
    }
}

/// The record with a pair that was given at start; `None` if the record knows its token.
pub(super) fn seeded(
    session: &Session,
    seen: &Seen,
    pair: TokenPair,
    given_at: Timestamp,
) -> Result<Option<Record>, Error> {
    let now = store_now(session, seen.clock);
    let pair = StoredPair {
        issued_at: now.before(session.now().since(given_at)),
        first: true,
        pair,
    };
    let lineage = lineage()?;
    Ok(Record::seeded(
        seen.record(),
        &session.key,
        lineage,
        pair,
        now,
    ))
}

/// The user signed in anew: the pair is stored, whatever was there before, and held.
pub(crate) async fn replace(session: &Session, pair: TokenPair) -> Result<(), Error> {
    let given_at = session.now();
    let digest = pair.digest(&session.key);
    loop {
        let seen = load_patiently(session).await.map_err(store_failed)?;
        let now = store_now(session, seen.clock);
        if let Some(record) = seen.record().filter(|record| record.knows(&digest)) {
            if record.digest() == digest && record.state == State::Active {
                session.begin(record, now, None);
                return Ok(());
            }
            return Err(Error::AlreadyUsed);
        }
        let stored = StoredPair {
            issued_at: now.before(session.now().since(given_at)),
            first: false,
            pair: pair.clone(),
        };
        let lineage = lineage()?;
        let next = match seen.record() {
            Some(record) => record.replaced(lineage, Some(stored), now),
            None => Record::first(session.key.clone(), lineage, stored),
        };
        match swap(session, seen.revision(), &next).await {
            Ok(Swap::Swapped(_)) => {
                let identity = next.identity();
                session.begin(&next, now, Some(Event::Replaced { identity }));
                return Ok(());
            }
            Ok(Swap::Lost(_)) => tokio::time::sleep(super::SAME_AGAIN).await,
            Err(error) => return Err(store_failed(error)),
        }
    }
}

/// The session begins anew, without a pair: the next rotation signs in.
pub(crate) async fn reopen(session: &Session) -> Result<(), Error> {
    loop {
        let seen = load_patiently(session).await.map_err(store_failed)?;
        let now = store_now(session, seen.clock);
        if let Some(record) = seen.record().filter(|record| record.state != State::Active) {
            let next = record.replaced(lineage()?, None, now);
            match swap(session, seen.revision(), &next).await {
                Ok(Swap::Swapped(_)) => {}
                Ok(Swap::Lost(_)) => {
                    tokio::time::sleep(super::SAME_AGAIN).await;
                    continue;
                }
                Err(error) => return Err(store_failed(error)),
            }
        }
        session.lock().reopen();
        return Ok(());
    }
}
