//! Calls the store and the endpoint, which are user code, and notes when each call was made.
//!
//! User code may ask a token manager for a token. The manager that is rotating would then wait for itself;
//! [`is_inside`] tells that manager from another one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Seen, StoreClock};
use crate::endpoint::EndpointError;
use crate::error::Causes;
use crate::record::Record;
use crate::session::Session;
use crate::store::{Revision, StoreError, StoreTime, Swap};
use crate::token::{Digest, TokenPair};

/// How often the store is asked again where one failure must not decide, and the first pause between the attempts.
pub(super) const STORE_TRIES: u32 = 3;
pub(super) const STORE_PAUSE: Duration = Duration::from_millis(100);

/// Loads the record. An answer that took longer than the store's timeout comes from before the machine was suspended.
/// A lease that is based on it would be too old to send under, so the record is loaded once more.
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

/// Loads the record, and tries again after a failure.
pub(super) async fn load_patiently(session: &Session) -> Result<Seen, StoreError> {
    patiently(|| load(session)).await
}

/// Whether the store knows this token as one of the session's, although the record that was read does not: past
/// tokens leave a record in time, and the store may keep their digests. The record may also have come to know the
/// token since it was read.
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

/// Swaps the record, and returns the store's clock if the store reports its time.
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
    // As in `load`, the answer may be from before the machine was suspended.
    let limit = session.settings().store_timeout;
    Ok((swap, clock.filter(|clock| clock.lag() <= limit)))
}

/// The store's time at least: a lease is never taken for older than it is.
pub(super) fn store_now(session: &Session, clock: StoreClock) -> StoreTime {
    clock.read.after(session.now().since(clock.at))
}

/// The store's time at most: a token is never taken for younger than it is.
pub(super) fn latest_store_now(session: &Session, clock: StoreClock) -> StoreTime {
    store_now(session, clock).after(clock.lag())
}

pub(super) async fn revoke(session: &Session, pair: &TokenPair) -> Result<(), EndpointError> {
    let limit = session.settings().endpoint_timeout;
    let result = session.shared.endpoint.revoke(pair, limit).await;
    if let Err(error) = &result {
        tracing::warn!(key = %session.key, error = %Causes(error), "the endpoint could not revoke a pair");
    }
    result
}

tokio::task_local! {
    /// The session whose rotation runs in this task.
    pub(super) static INSIDE: usize;
}

pub(super) fn id(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session).addr()
}

/// Whether the calling task is the session's own rotation, which would wait for itself.
pub(crate) fn is_inside(session: &Arc<Session>) -> bool {
    INSIDE
        .try_with(|inside| *inside == id(session))
        .unwrap_or(false)
}
