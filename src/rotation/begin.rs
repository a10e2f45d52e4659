//! Begins a session: from a seed, which is the pair that the configuration gives at start, or from the pair of a new
//! sign-in.
//!
//! This module never begins a session with a token that the record, or the store, knows as used: such a token may be
//! spent.

use std::sync::Arc;

use super::logout::{revoke_in_background, revoke_left_behind};
use super::{Next, Rotation, Seen, UNCHANGED_PAUSE, family, patiently};
use crate::clock::Timestamp;
use crate::error::{EndReason, Error};
use crate::event::Event;
use crate::record::browser::Browser;
use crate::record::commit::Seeding;
use crate::record::marks::Marks;
use crate::record::{Origin, Record, RecordState, StoredPair};
use crate::session::Session;
use crate::settings::OnSeedConflict;
use crate::state::LogoutStage;
use crate::store::{StoreError, Swap};
use crate::token::TokenPair;

impl Rotation {
    /// Writes the seed into the record, if the store has never known its token.
    pub(super) async fn seed(&mut self, seen: &Seen) -> Result<Option<Next>, Error> {
        let Some((pair, given_at)) = self.session().lock().seed().cloned() else {
            return Ok(None);
        };
        let session = self.session();
        let next = match seeded(session, seen, pair, given_at).await? {
            Seeding::Known => {
                session.lock().forget_seed();
                return Ok(None);
            }
            Seeding::KnownToStore => {
                session.lock().forget_seed();
                return Ok(Some(Next::Reload));
            }
            Seeding::Begins(next) => next,
            Seeding::Displaces(next) => match session.settings().on_seed_conflict {
                OnSeedConflict::Error => return Err(Error::SeedConflict),
                OnSeedConflict::Keep => return Ok(None),
                OnSeedConflict::Replace => next,
            },
        };
        if write_over(session, seen, &next, seen.record(), false).await? {
            let now = session.store_now(seen.clock);
            session.adopt(&next, now, self.flight.epoch, None);
        }
        Ok(Some(Next::Reload))
    }
}

/// Decides what becomes of a seed. If the record does not know the seed's token, the store is asked as well: past
/// tokens leave a record in time, and the store may keep their digests.
pub(super) async fn seeded(
    session: &Session,
    seen: &Seen,
    pair: TokenPair,
    given_at: Timestamp,
) -> Result<Seeding, StoreError> {
    let now = session.store_now(seen.clock);
    let pair = StoredPair {
        issued_at: now.before(session.now().since(given_at)),
        origin: Origin::Seed,
        pair,
    };
    let family = family()?;
    let digest = pair.pair.digest(&session.key);
    let sign_ins = session.lock().sign_ins;
    let seeding = Record::seeded(seen.record(), &session.key, family, pair, sign_ins, now);
    let is_kept_out = matches!(seeding, Seeding::Displaces(_))
        && session.settings().on_seed_conflict == OnSeedConflict::Keep;
    if seen.record().is_some()
        && !matches!(seeding, Seeding::Known)
        && !is_kept_out
        && session.was_ours(&digest).await?
    {
        return Ok(Seeding::KnownToStore);
    }
    Ok(seeding)
}

/// The record that the seed would be written as, if the seed begins a session or displaces one; `None` if the
/// record's own session stays.
pub(super) fn displacing(session: &Session, seeding: Seeding) -> Option<Record> {
    match seeding {
        Seeding::Begins(record) => Some(*record),
        Seeding::Displaces(record) => {
            let displaces = session.settings().on_seed_conflict == OnSeedConflict::Replace;
            displaces.then_some(*record)
        }
        Seeding::Known | Seeding::KnownToStore => None,
    }
}

/// The record that a seed not stored yet would be written as. A new sign-in is written over this record, which then
/// notes the seed's token as past, so that the seed does not count at the next start.
async fn displaced(
    session: &Session,
    seen: &Seen,
    seed: Option<(TokenPair, Timestamp)>,
) -> Result<Option<Record>, StoreError> {
    let Some((seed, given_at)) = seed else {
        return Ok(None);
    };
    let seeding = seeded(session, seen, seed, given_at).await?;
    Ok(displacing(session, seeding))
}

/// Writes `next` over what the store holds, and revokes the pairs of `records`, which it replaces. The pairs are
/// revoked even if the answer of the store is lost, because the write may have been applied. Returns `false`, after a
/// pause, if another instance was faster; the caller then loads the record again.
async fn write_over<'a>(
    session: &Arc<Session>,
    seen: &Seen,
    next: &Record,
    records: impl IntoIterator<Item = &'a Record>,
    is_logging_out: bool,
) -> Result<bool, StoreError> {
    let swapped = session.swap(seen.revision(), next).await;
    if !matches!(swapped, Ok(Swap::Lost(_))) {
        let new = next.pair.as_ref().map(|stored| &stored.pair);
        revoke_left_behind(session, records, is_logging_out, new);
    }
    let is_written = matches!(swapped?, Swap::Swapped(_));
    if !is_written {
        tokio::time::sleep(UNCHANGED_PAUSE).await;
    }
    Ok(is_written)
}

/// Stores and holds the `pair` of a new sign-in, whatever session the store had before. `upstream` is what the sign-in said of
/// the provider's session. `logouts` is how often the
/// user had logged out when the sign-in was given: a later logout wins.
pub(crate) async fn replace(
    session: &Arc<Session>,
    pair: TokenPair,
    upstream: Option<Marks>,
    logouts: u64,
) -> Result<(), Error> {
    let given_at = session.now();
    let _turn = session.in_order().await;
    if session.lock().logouts != logouts {
        revoke_in_background(session, pair);
        return Err(Error::ended(EndReason::LoggedOut));
    }
    let digest = pair.digest(&session.key);
    // A logout that is not stored yet counts like one that is.
    let is_logging_out = session.lock().logout_stage == Some(LogoutStage::Asked);
    let mut is_known_to_store = false;
    loop {
        let seen = session.load_patiently().await?;
        let now = session.store_now(seen.clock);
        let is_known = |record: &&Record| is_known_to_store || record.knows(&digest);
        if let Some(record) = seen.record().filter(is_known) {
            if record.digest() == digest && record.state == RecordState::Active {
                return session.begin(record, now, logouts, None);
            }
            return Err(Error::AlreadyUsed);
        }
        if seen.record().is_none() && session.is_of_a_sign_in() {
            // The key is new, so a session that knows the token is another one, which may have spent it.
            let known = patiently(|| session.shared.store.find(&digest)).await?;
            if known.is_some() {
                return Err(Error::AlreadyUsed);
            }
        }
        if seen.record().is_some() && !is_known_to_store {
            let asked = patiently(|| session.was_ours(&digest)).await;
            is_known_to_store = asked?;
            if is_known_to_store {
                // Another instance may have stored this very pair since the record was read.
                continue;
            }
        }
        let stored = StoredPair {
            issued_at: now.before(session.now().since(given_at)),
            origin: Origin::Replacement,
            pair: pair.clone(),
        };
        let family = family()?;
        let seed = session.lock().seed().cloned();
        let seed = seed.filter(|(seed, _)| seed.digest(&session.key) != digest);
        let before = displaced(session, &seen, seed).await?;
        let mut next = match before.as_ref().or(seen.record()) {
            Some(record) => record.replaced(family, Some(stored), session.lock().sign_ins),
            None => {
                let sign_ins = session.lock().sign_ins.saturating_add(1);
                Record::first(session.key.clone(), family, stored, sign_ins)
            }
        };
        if session.keeps_browser() {
            next.browser = Some(Box::new(Browser::new(next.version, now, now)));
        }
        next.upstream = upstream;
        let records = before.iter().chain(seen.record());
        if write_over(session, &seen, &next, records, is_logging_out).await? {
            let pair_id = next.pair_id();
            // The swap took time, so the store's time is computed again.
            let now = session.store_now(seen.clock);
            // If the session does not begin, a logout came first: it ends this record as soon as its turn comes.
            return session.begin(&next, now, logouts, Some(Event::Replaced { pair_id }));
        }
    }
}

/// Begins the session again without a pair, so that the next rotation signs in.
pub(crate) async fn reopen(session: &Arc<Session>, logouts: u64) -> Result<(), Error> {
    let _turn = session.in_order().await;
    let is_logging_out = session.lock().logout_stage == Some(LogoutStage::Asked);
    loop {
        let seen = session.load_patiently().await?;
        let seed = session.lock().seed().cloned().filter(|_| is_logging_out);
        let before = displaced(session, &seen, seed).await?;
        if let Some(record) = before
            .as_ref()
            .or(seen.record())
            .filter(|record| is_logging_out || record.state != RecordState::Active)
        {
            let next = record.replaced(family()?, None, session.lock().sign_ins);
            let records = before.iter().chain(seen.record());
            if !write_over(session, &seen, &next, records, is_logging_out).await? {
                continue;
            }
        }
        let mut state = session.lock();
        if state.logouts != logouts {
            return Err(Error::ended(EndReason::LoggedOut));
        }
        let wakeups = state.reopen();
        drop(state);
        drop(wakeups);
        return Ok(());
    }
}
