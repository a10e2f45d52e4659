//! Calls into user code, which is the store and the endpoint, with the time at which each was made.
//!
//! User code may ask the manager that is rotating, which would wait for itself; [`is_inside`] tells that manager from
//! another one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Seen, StoreClock};
use crate::endpoint::EndpointError;
use crate::record::Record;
use crate::session::Session;
use crate::store::{Revision, StoreError, StoreTime, Swap};
use crate::token::{Digest, TokenPair};

/// How often the store is asked again where much hangs on its answer, and the first pause in between.
pub(super) const STORE_TRIES: u32 = 3;
pub(super) const STORE_PAUSE: Duration = Duration::from_millis(100);

/// Reads the record. An answer that took longer than it can have been waited for comes from before the machine
/// slept: a lease made by it would be too old to send under, so the store is asked once more.
pub(super) async fn load(session: &Session) -> Result<Seen, StoreError> {
    let seen = load_once(session).await?;
    if seen.clock.lag() > session.settings().store_timeout {
        return load_once(session).await;
    }
    Ok(seen)
}

async fn load_once(session: &Session) -> Result<Seen, StoreError> {
    let asked = session.now();
    let loaded = session.shared.store.load(&session.key).await?;
    let clock = StoreClock {
        read: loaded.now,
        asked,
        at: session.now(),
    };
    Ok(Seen {
        entry: loaded.entry,
        clock,
    })
}

/// The same, where one failure of the store should not decide.
pub(super) async fn load_patiently(session: &Session) -> Result<Seen, StoreError> {
    patiently(|| load(session)).await
}

/// Whether the store says that this token is the session's or was, although the record that was read does not know it:
/// past tokens leave a record, and the store may keep their names. The record may have come to know it since, too.
pub(super) async fn was_ours(session: &Session, digest: &Digest) -> Result<bool, StoreError> {
    let found = session.shared.store.find(digest).await?;
    Ok(found.as_ref() == Some(&session.key))
}

pub(super) async fn patiently<T, F>(mut call: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 0;
    loop {
        match call().await {
            Err(_) if tries < STORE_TRIES => {
                tries += 1;
                tokio::time::sleep(STORE_PAUSE * tries).await;
            }
            answer => return answer,
        }
    }
}

pub(super) async fn swap(
    session: &Session,
    seen: Option<Revision>,
    next: &Record,
) -> Result<Swap, StoreError> {
    let (swap, _) = swap_timed(session, seen, next).await?;
    Ok(swap)
}

/// The same, with the store's clock where the store says what time it was.
pub(super) async fn swap_timed(
    session: &Session,
    seen: Option<Revision>,
    next: &Record,
) -> Result<(Swap, Option<StoreClock>), StoreError> {
    let asked = session.now();
    let swapping = session.shared.store.swap_timed(&session.key, seen, next);
    let (swap, read) = swapping.await?;
    let at = session.now();
    let clock = read.map(|read| StoreClock { read, asked, at });
    // As in `load`: it may be from before the machine slept.
    let limit = session.settings().store_timeout;
    Ok((swap, clock.filter(|clock| clock.lag() <= limit)))
}

/// The store's time at the least: a lease is never taken for older than it is.
pub(super) fn store_now(session: &Session, clock: StoreClock) -> StoreTime {
    clock.read.after(session.now().since(clock.at))
}

/// The store's time at the most: a token is never taken for younger than it is.
pub(super) fn latest_store_now(session: &Session, clock: StoreClock) -> StoreTime {
    store_now(session, clock).after(clock.lag())
}

pub(super) async fn revoke(session: &Session, pair: &TokenPair) -> Result<(), EndpointError> {
    let limit = session.settings().endpoint_timeout;
    let result = session.shared.endpoint.revoke(pair, limit).await;
    if let Err(error) = &result {
        tracing::warn!(key = %session.key, %error, "a pair could not be revoked");
    }
    result
}

tokio::task_local! {
    /// The session whose rotation this task is.
    pub(super) static INSIDE: usize;
}

pub(super) fn id(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session).addr()
}

/// Whether the caller is the session's own rotation, which would wait for itself.
pub(crate) fn is_inside(session: &Arc<Session>) -> bool {
    INSIDE
        .try_with(|inside| *inside == id(session))
        .unwrap_or(false)
}
