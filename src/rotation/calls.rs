//! The calls of code of the user's: each takes its time at most, and a panic in it is an error of its own.

use std::time::Duration;

use super::guard::guarded;
use super::{Seen, StoreClock};
use crate::endpoint::EndpointError;
use crate::record::Record;
use crate::session::Session;
use crate::store::{Revision, StoreError, StoreTime, Swap, with_budget};
use crate::token::TokenPair;

/// How often the store is asked again where much hangs on its answer, and the first pause in between.
pub(super) const STORE_TRIES: u32 = 3;
pub(super) const STORE_PAUSE: Duration = Duration::from_millis(100);

/// Reads the record. An answer that took longer than it can have been waited for comes from before the machine
/// slept: a claim made by it would be too old to send under, so the store is asked once more.
pub(super) async fn load(session: &Session) -> Result<Seen, StoreError> {
    let seen = load_once(session).await?;
    if seen.clock.lag() > session.settings().store_timeout {
        return load_once(session).await;
    }
    Ok(seen)
}

async fn load_once(session: &Session) -> Result<Seen, StoreError> {
    let asked = session.now();
    let loading = async { session.shared.store.load(&session.key).await };
    let limit = session.settings().store_timeout;
    let loaded = guarded(limit, with_budget(limit, loading))
        .await
        .map_err(|trouble| StoreError::new(format!("loading {trouble}")))??;
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
    let mut tries = 0;
    loop {
        match load(session).await {
            Err(_) if tries < STORE_TRIES => {
                tries += 1;
                tokio::time::sleep(STORE_PAUSE * tries).await;
            }
            loaded => return loaded,
        }
    }
}

pub(super) async fn swap(
    session: &Session,
    seen: Option<Revision>,
    next: &Record,
) -> Result<Swap, StoreError> {
    let swapping = async { session.shared.store.swap(&session.key, seen, next).await };
    let limit = session.settings().store_timeout;
    guarded(limit, with_budget(limit, swapping))
        .await
        .map_err(|trouble| StoreError::new(format!("storing {trouble}")))?
}

/// The store's time at the least: a claim is never taken for older than it is.
pub(super) fn store_now(session: &Session, clock: StoreClock) -> StoreTime {
    clock.read.after(session.now().since(clock.at))
}

/// The store's time at the most: a token is never taken for younger than it is.
pub(super) fn latest_store_now(session: &Session, clock: StoreClock) -> StoreTime {
    store_now(session, clock).after(clock.lag())
}

pub(super) async fn revoke(session: &Session, pair: &TokenPair) -> Result<(), EndpointError> {
    let revoking = async { session.shared.endpoint.revoke(pair).await };
    let result = match guarded(session.settings().endpoint_timeout, revoking).await {
        Ok(result) => result,
        Err(trouble) => Err(EndpointError::unknown(trouble)),
    };
    if let Err(error) = &result {
        tracing::warn!(key = %session.key, %error, "a pair could not be revoked");
    }
    result
}
