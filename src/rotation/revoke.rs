//! Revokes pairs that are no longer used. A server that cannot be reached now is tried again later.
//!
//! Only a logout waits for a revocation, and only for its first attempt: no token of a session in use depends on one.

use std::sync::Arc;
use std::time::Duration;

use super::Seen;
use super::user_code::{revoke, swap};
use crate::clock::Backoff;
use crate::endpoint::EndpointError;
use crate::error::Causes;
use crate::record::{Record, RecordState};
use crate::session::Session;
use crate::token::TokenPair;

/// The pauses between attempts to reach the server.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// How long a revocation is tried.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What is to be revoked.
#[derive(Debug)]
pub(super) enum ToRevoke {
    Pair(TokenPair),
    /// The pair of an ended record, which is removed from the record afterwards.
    Record(Box<Seen>),
}

impl ToRevoke {
    fn pair(&self) -> Option<&TokenPair> {
        match self {
            Self::Pair(pair) => Some(pair),
            Self::Record(seen) => Some(&seen.record()?.pair.as_ref()?.pair),
        }
    }

    async fn revoke(&self, session: &Session) -> Result<(), EndpointError> {
        match self {
            Self::Pair(pair) => revoke(session, pair).await,
            Self::Record(seen) => clear(session, seen).await,
        }
    }

    /// Whether this revocation is no longer needed: a later logout revokes the record's pair, or a sign-in has
    /// brought one of its tokens again.
    fn is_obsolete(&self, session: &Session, logouts: u64) -> bool {
        let state = session.lock();
        let is_held = |pair: &TokenPair| {
            let held = state.held();
            held.is_some_and(|held| shares_a_token(&held.pair, pair))
        };
        matches!(self, Self::Record(_)) && state.logouts() != logouts
            || self.pair().is_some_and(is_held)
    }
}

/// Revokes a pair that another one replaced. Only a shutdown waits for this task, and only for one attempt.
pub(super) fn revoke_in_background(session: &Arc<Session>, pair: TokenPair) {
    in_background(session, ToRevoke::Pair(pair), None);
}

/// Revokes what a logout leaves, and returns the result of the first attempt. A server that could not be reached is
/// tried again in the background.
pub(super) async fn revoke_now_or_later(
    session: &Arc<Session>,
    to_revoke: ToRevoke,
) -> Result<(), EndpointError> {
    let revoked = to_revoke.revoke(session).await;
    if is_unheard(&revoked) {
        in_background(session, to_revoke, Some(revoked.clone()));
    }
    revoked
}

/// Revokes for as long as the manager lives. `tried` is the result of an attempt that was already made.
fn in_background(
    session: &Arc<Session>,
    to_revoke: ToRevoke,
    tried: Option<Result<(), EndpointError>>,
) {
    let session = Arc::clone(session);
    let runtime = session.shared.runtime.clone();
    let chore = session.chore();
    let began = session.now();
    let logouts = session.lock().logouts();
    runtime.spawn(async move {
        let mut revoked = match tried {
            Some(revoked) => revoked,
            None => to_revoke.revoke(&session).await,
        };
        let mut backoff = BACKOFF;
        while is_unheard(&revoked) && session.now().since(began) < GIVE_UP_AFTER {
            tokio::select! {
                () = tokio::time::sleep(backoff.next_pause()) => {}
                () = session.closing() => break,
            }
            if to_revoke.is_obsolete(&session, logouts) {
                break;
            }
            revoked = tokio::select! {
                revoked = to_revoke.revoke(&session) => revoked,
                () = session.closing() => break,
            };
        }
        drop(chore);
    });
}

/// Revokes the pair of an ended record and removes it from the record.
pub(super) async fn clear(session: &Session, seen: &Seen) -> Result<(), EndpointError> {
    let Some((record, revision)) = &seen.entry else {
        return Ok(());
    };
    let Some(stored) = &record.pair else {
        return Ok(());
    };
    let revoked = revoke(session, &stored.pair).await;
    // The pair stays in the record while the revocation can be tried again. A server that refuses revocations is no
    // reason to keep the pair: that would help only a thief.
    if is_unheard(&revoked) {
        return revoked;
    }
    let cleared = record.cleared();
    if let Err(error) = swap(session, Some(*revision), &cleared).await {
        tracing::warn!(key = %session.key, error = %Causes(&error), "a revoked pair could not be removed from the store after the logout");
    }
    revoked
}

/// Whether the server may not know of the revocation, so that another attempt makes sense.
fn is_unheard(revoked: &Result<(), EndpointError>) -> bool {
    !matches!(
        revoked,
        Ok(()) | Err(EndpointError::Refused { .. } | EndpointError::Rejected { .. })
    )
}

/// Revokes the pairs of logged-out sessions that a `new` pair removes from the store.
pub(super) fn revoke_left_behind<'a>(
    session: &Arc<Session>,
    records: impl IntoIterator<Item = &'a Record>,
    is_logging_out: bool,
    new: Option<&TokenPair>,
) {
    for record in records {
        let is_logged_out = is_logging_out || record.state == RecordState::LoggedOut;
        let Some(stored) = record.pair.as_ref().filter(|_| is_logged_out) else {
            continue;
        };
        if !new.is_some_and(|new| shares_a_token(new, &stored.pair)) {
            revoke_in_background(session, stored.pair.clone());
        }
    }
}

/// Whether two pairs have a token in common. Some servers answer two sign-ins with one token: to revoke it would end
/// the other session too.
pub(super) fn shares_a_token(one: &TokenPair, other: &TokenPair) -> bool {
    one.access.is_some() && one.access == other.access
        || one.refresh.is_some() && one.refresh == other.refresh
}
