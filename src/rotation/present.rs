//! What a pair that a browser brings is to its session, as the store knows it, and what the record learns of the browser.
//!
//! A pair that the browser brings is never sent from here. A pair that nothing knows is held, as an instance holds its own pair,
//! and the next rotation compares it with the record as it does every held pair.

use std::sync::Arc;
use std::time::Duration;

use super::{Seen, patiently};
use crate::clock::Timestamp;
use crate::error::{Causes, EndReason, Error, PairRefusal};
use crate::record::browser::Browser;
use crate::record::{Record, RecordState};
use crate::session::{Brought, Session};
use crate::store::{StoreError, StoreTime, Swap};

/// How often a swap that only notes something is tried.
const TRIES: u32 = 3;

/// What the store knows of a presented session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Whether the pair of unknown origin that was presented has to be exchanged before it is accepted.
    pub(crate) needs_proof: bool,
    /// When the user signed in.
    pub(crate) began: Timestamp,
    /// When a browser presented the session last.
    pub(crate) seen_at: Timestamp,
}

/// What a brought pair is to the record of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Current,
    /// Another pair replaced it, and the browser may still hold it.
    Replaced,
    /// Another pair replaced it, and it is not accepted any more.
    Retired,
    /// It is newer than the record's pair: the store has lost that, or an instance without this store has stored it.
    Newer,
    /// Nothing but the pair itself is known of it, and the record does not know it.
    Foreign,
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
        return Ok(adopted(session, record, &seen, epoch, None));
    };
    let found = seen.record();
    let found = found.map(|record| (record, place(session, record, brought, now)));
    match found {
        Some((record, Place::Current | Place::Replaced)) => {
            Ok(adopted(session, record, &seen, epoch, Some(brought)))
        }
        Some((_, Place::Retired | Place::Foreign)) => {
            let is_elsewhere = is_elsewhere(session, brought).await?;
            Err(Error::refused(match is_elsewhere {
                true => PairRefusal::OfAnotherSession,
                false => PairRefusal::Retired,
            }))
        }
        Some((_, Place::Newer)) | None => {
            // Counted before anything is searched for it.
            may_take_up()?;
            if is_elsewhere(session, brought).await? {
                return Err(Error::refused(PairRefusal::OfAnotherSession));
            }
            // This process may hold a pair that its store does not have yet.
            // The instance that brought the pair may have counted fewer leases than this one.
            let least_number = seen
                .record()
                .map_or(0, |it| it.committed_number.saturating_add(1));
            if !session.take_up(brought, least_number, epoch)
                && !session.presents_held(Some(brought))
                && !session.accepts_replaced(brought, retired_for(session))
            {
                return Err(Error::refused(PairRefusal::Retired));
            }
            Ok(Known {
                needs_proof: !brought.is_ours,
                began: brought.began,
                seen_at: used_until(session, brought),
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
    // The pair of the last rotation alone may have been under way: those before it had replaced the brought one by then.
    let is_last = record.version <= brought.pair_id.version.saturating_add(1)
        || record.family != brought.pair_id.family;
    let presented_at = now.before(session.now().since(presented_at));
    // The exchange ended at this time at the latest.
    let timeout = session.settings().endpoint_timeout;
    let ended_at = record.issued_at().map(|sent| sent.after(timeout));
    let was_under_way = is_last && ended_at.is_some_and(|ended_at| presented_at <= ended_at);
    match place(session, record, brought, now) {
        Place::Retired if !was_under_way => Err(Error::refused(PairRefusal::Retired)),
        _ => Ok(()),
    }
}

fn retired_for(session: &Session) -> Duration {
    let retired_for = session.policy().map(|policy| policy.retired_for);
    retired_for.unwrap_or_default()
}

fn place(session: &Session, record: &Record, brought: &Brought, now: StoreTime) -> Place {
    let digest = session.digest_of(brought);
    if record.pair.is_some() && record.digest() == digest {
        return Place::Current;
    }
    if record.has_pinned(&digest, now) {
        return Place::Replaced;
    }
    if !brought.is_ours {
        // It may come from anywhere, so it counts as long as it is current.
        return match record.knows(&digest) {
            true => Place::Retired,
            false => Place::Foreign,
        };
    }
    if record.family != brought.pair_id.family {
        // A store that was set back shows a session that was replaced.
        return match record.sign_ins < brought.sign_ins {
            true => Place::Newer,
            false => Place::Retired,
        };
    }
    // The family, which only the record and the sealed copy know, shows that the pair is of this session.
    // Instances that have a store each count the leases of the family apart, so the rotations are compared.
    let (version, current) = (brought.pair_id.version, record.version);
    if version > current {
        return Place::Newer;
    }
    // Of two instances without leases, each may have got a pair from the same one.
    let is_sibling = version == current;
    match is_sibling || record.accepts_replaced(version, retired_for(session), now) {
        true => Place::Replaced,
        false => Place::Retired,
    }
}

/// Whether the store knows the brought token as one of another session.
async fn is_elsewhere(session: &Session, brought: &Brought) -> Result<bool, StoreError> {
    let digest = session.digest_of(brought);
    let found = patiently(|| session.shared.store.find(&digest)).await?;
    Ok(found.is_some_and(|key| key != session.key))
}

/// Until when the browser may have used the brought pair, where nothing else shows when it was there.
fn used_until(session: &Session, brought: &Brought) -> Timestamp {
    let now = session.now();
    let total = brought.pair.lifetime.access.total();
    total.map_or(now, |total| now.min(brought.sent_at + total))
}

/// Holds the record's pair, and returns what the record says of the browser.
fn adopted(
    session: &Session,
    record: &Record,
    seen: &Seen,
    epoch: u64,
    brought: Option<&Brought>,
) -> Known {
    let now = session.latest_store_now(seen.clock);
    session.adopt(record, now, epoch, Some(Duration::ZERO));
    let ours = |at: StoreTime| session.now().before(now.since(at));
    let browser = record.browser.as_ref();
    let issued_at = record.issued_at().map_or(session.now(), ours);
    let seen_at = browser.map_or(issued_at, |browser| ours(browser.seen_at));
    let is_bare = brought.is_some_and(|brought| !brought.is_ours);
    // A store that was set back does not show the last uses.
    let brought = brought.filter(|brought| brought.is_ours);
    let sent_at = brought.map(|brought| brought.sent_at);
    Known {
        // Its first exchange has failed, or another instance is at it.
        needs_proof: is_bare && record.committed_number == 0,
        began: browser.map_or(issued_at, |browser| ours(browser.began)),
        seen_at: sent_at.map_or(seen_at, |sent_at| seen_at.max(sent_at)),
    }
}

/// Notes in the record, in the background, that a browser presents the session. A note that fails is made again at the next
/// presentation.
pub(crate) fn note(session: &Arc<Session>) {
    let noting = Arc::clone(session);
    session.in_background(async move {
        let noted = change(&noting, |session, browser, now| {
            if let Some(seen) = session.seen_browser(now) {
                browser.learn(seen);
            }
        });
        if let Err(error) = noted.await {
            tracing::warn!(key = %noting.key, error = %Causes(&error), "the use of the session could not be noted in the record; the next use tries again");
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
    let pinned = change(session, |_, browser, now| {
        browser.pin(digest, now.after(span), now);
    });
    match pinned.await? {
        true => Ok(()),
        false => Err(Error::NoSession),
    }
}

/// Changes what the record knows of the browser. A pair that this process holds and the store does not is stored for it. Returns
/// `false` if the session is over.
async fn change(
    session: &Arc<Session>,
    change: impl Fn(&Session, &mut Browser, StoreTime),
) -> Result<bool, StoreError> {
    let mut seen = session.load_patiently().await?;
    for _ in 0..TRIES {
        let now = session.store_now(seen.clock);
        let Some(mut next) = seen.record().cloned().or_else(|| first(session, now)) else {
            return Ok(false);
        };
        if next.state != RecordState::Active {
            return Ok(false);
        }
        let version = next.version;
        let browser = next
            .browser
            .get_or_insert_with(|| session.browser(version, now));
        change(session, browser, now);
        if seen
            .record()
            .is_some_and(|record| record.browser == next.browser)
        {
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

/// The record of the pair that is held, where the store has none.
fn first(session: &Session, now: StoreTime) -> Option<Record> {
    let held = {
        let state = session.lock();
        let held = state.held().filter(|_| !state.has_ended());
        (held.cloned()?, state.next_number)
    };
    let (held, next_number) = held;
    let pair = session.stored(&held, now);
    let summary = held.summary();
    Some(Record::forwarded(
        None,
        &session.key,
        summary,
        pair,
        next_number,
    ))
}
