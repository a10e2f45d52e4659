//! What a pair that a browser brings is to its session, as the store knows it, and what the record learns of the browser.
//!
//! A pair that the browser brings is never sent from here. A pair that nothing knows is held, as an instance holds its own pair,
//! and the next rotation compares it with the record as it does every held pair.

use std::sync::Arc;
use std::time::Duration;

use super::{Seen, patiently};
use crate::clock::Timestamp;
use crate::error::{Causes, EndReason, Error, PairRefusal};
use crate::record::browser::{Browser, Place};
use crate::record::{Record, RecordState};
use crate::session::{Brought, Session};
use crate::store::{StoreError, StoreTime, Swap};

/// How often a swap that only notes something is tried.
const TRIES: u32 = 3;

/// What the store knows of a presented session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Whether the current pair was presented.
    pub(crate) is_current: bool,
    /// Whether the record knows that the browser holds the pair that it brought.
    pub(crate) is_noted: bool,
    /// When the user signed in.
    pub(crate) began: Timestamp,
    /// When a browser presented the session last; `None` if the record does not say.
    pub(crate) seen_at: Option<Timestamp>,
}

/// Reads the record and decides whether the brought pair is accepted, or whether the session goes on if none is brought. The
/// session then holds the record's pair, or the brought one where nothing knows it. `may_take_up` is asked before that.
pub(crate) async fn look_up(
    session: &Arc<Session>,
    brought: Option<&Brought>,
    may_take_up: impl FnOnce() -> Result<(), Error>,
) -> Result<Known, Error> {
    let epoch = session.lock().epoch;
    let seen = session.load_patiently().await?;
    let now = session.store_now(seen.clock);
    if let Some(record) = seen
        .record()
        .filter(|it| it.state == RecordState::LoggedOut)
    {
        // A stranger's guess writes nothing, and neither does a browser that was logged out.
        session.lock().saw(record);
        session.end_seen(EndReason::LoggedOut, epoch)?;
        return Err(Error::ended(EndReason::LoggedOut));
    }
    let Some(brought) = brought else {
        let record = seen.record().filter(|record| record.pair.is_some());
        let record = record.ok_or(Error::NoSession)?;
        return Ok(adopted(session, record, &seen, epoch, true));
    };
    let place = seen
        .record()
        .map(|record| (record, place(session, record, brought, now)));
    match place {
        Some((record, Place::Current)) => Ok(adopted(session, record, &seen, epoch, true)),
        Some((record, Place::Replaced)) => {
            let digest = session.digest_of(brought);
            let browser = record.browser.as_ref();
            Ok(Known {
                is_noted: browser.is_none_or(|browser| browser.is_known_to_hold(&digest)),
                ..adopted(session, record, &seen, epoch, false)
            })
        }
        Some((_, Place::Retired)) => Err(Error::refused(PairRefusal::Retired)),
        Some((record, Place::Unknown)) if !is_newer(brought, record) => Err(Error::refused(
            match is_elsewhere(session, brought).await? {
                true => PairRefusal::OfAnotherSession,
                false => PairRefusal::Retired,
            },
        )),
        Some((_, Place::Unknown)) | None => {
            if is_elsewhere(session, brought).await? {
                return Err(Error::refused(PairRefusal::OfAnotherSession));
            }
            may_take_up()?;
            session.take_up(brought, epoch);
            Ok(Known {
                is_current: true,
                is_noted: true,
                began: brought.began,
                seen_at: None,
            })
        }
    }
}

/// What the record says by now of a pair that was accepted at `presented_at`, and whether it is still accepted. A rotation that
/// was under way at that time may have replaced it since, in this process or in another one.
pub(crate) async fn place_now(
    session: &Arc<Session>,
    brought: &Brought,
    presented_at: Timestamp,
) -> Result<(), Error> {
    let seen = session.load_patiently().await?;
    let now = session.store_now(seen.clock);
    let Some(record) = seen.record() else {
        return Ok(());
    };
    let presented_at = now.before(session.now().since(presented_at));
    // The exchange ended at this time at the latest.
    let timeout = session.settings().endpoint_timeout;
    let ended_at = record.issued_at().map(|sent| sent.after(timeout));
    let was_under_way = ended_at.is_some_and(|ended_at| presented_at <= ended_at);
    match place(session, record, brought, now) {
        Place::Retired if !was_under_way => Err(Error::refused(PairRefusal::Retired)),
        _ => Ok(()),
    }
}

fn place(session: &Session, record: &Record, brought: &Brought, now: StoreTime) -> Place {
    let retired_for = session.policy().map(|policy| policy.retired_for);
    // A bare pair may come from anywhere, so it counts as long as it is current.
    let retired_for = retired_for.filter(|_| brought.is_ours).unwrap_or_default();
    record.place(&session.digest_of(brought), retired_for, now)
}

/// Whether the browser holds a pair that the store has lost, or that an instance without this store has brought. The family,
/// which only the record and the browser's sealed copy know, shows that the pair is of this session.
fn is_newer(brought: &Brought, record: &Record) -> bool {
    brought.is_ours
        && record.family == brought.pair_id.family
        && record.committed_number < brought.number
}

/// Whether the store knows the brought token as one of another session, or of this one.
async fn is_elsewhere(session: &Session, brought: &Brought) -> Result<bool, StoreError> {
    let digest = session.digest_of(brought);
    let found = patiently(|| session.shared.store.find(&digest)).await?;
    Ok(found.is_some_and(|key| key != session.key))
}

/// Holds the record's pair, and returns what the record says of the browser.
fn adopted(session: &Session, record: &Record, seen: &Seen, epoch: u64, is_current: bool) -> Known {
    let now = session.latest_store_now(seen.clock);
    session.adopt(record, now, epoch, Some(Duration::ZERO));
    let ours = |at: StoreTime| session.now().before(now.since(at));
    let browser = record.browser.as_ref();
    let issued_at = record.issued_at().map_or(session.now(), ours);
    Known {
        is_current,
        is_noted: true,
        began: browser.map_or(issued_at, |browser| ours(browser.began)),
        seen_at: browser.map(|browser| ours(browser.seen_at)),
    }
}

/// Notes in the record, in the background, that a browser presents the session. A note that fails is made again at the next
/// presentation.
pub(crate) fn note(session: &Arc<Session>) {
    let noting = Arc::clone(session);
    session.in_background(async move {
        let noted = change(&noting, |session, browser, record, now| {
            let state = session.lock();
            let Some(presence) = state.presence() else {
                return;
            };
            let at = |at: Timestamp| now.before(session.now().since(at));
            let first = state.presented_at(record.pair_id());
            browser.seen(false, at(presence.at));
            if let Some(digest) = &presence.replaced {
                browser.holds(digest);
            }
            if let Some(first) = first {
                browser.seen(true, at(first));
            }
        });
        if let Err(error) = noted.await {
            tracing::warn!(key = %noting.key, error = %Causes(&error), "the record could not be told that the session is used; the next use tries again");
            noting.lock().not_noted();
        }
    });
}

/// Permits to present this pair for `span` from now on.
pub(crate) async fn pin(
    session: &Arc<Session>,
    brought: &Brought,
    span: Duration,
) -> Result<(), Error> {
    let digest = session.digest_of(brought);
    let pinned = change(session, |_, browser, _, now| {
        browser.pin(digest, now.after(span), now);
    });
    match pinned.await? {
        true => Ok(()),
        false => Err(Error::NoSession),
    }
}

/// Changes what the record knows of the browser. Returns `false` if there is no record of an active session.
async fn change(
    session: &Arc<Session>,
    change: impl Fn(&Session, &mut Browser, &Record, StoreTime),
) -> Result<bool, StoreError> {
    let mut seen = session.load_patiently().await?;
    for _ in 0..TRIES {
        let now = session.store_now(seen.clock);
        let active = |record: &&Record| record.state == RecordState::Active;
        let Some(record) = seen.record().filter(active) else {
            return Ok(false);
        };
        let mut next = record.clone();
        let began = record.issued_at().unwrap_or(now);
        let new = || Box::new(Browser::new(began, began));
        let browser = next.browser.get_or_insert_with(new);
        change(session, browser, record, now);
        if next.browser == record.browser {
            return Ok(true);
        }
        match session.swap(seen.revision(), &next).await? {
            Swap::Swapped(_) => return Ok(true),
            Swap::Lost(_) => seen = session.load_patiently().await?,
        }
    }
    Err(StoreError::new(
        "other instances changed the record again and again",
    ))
}
