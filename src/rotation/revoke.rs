//! Revokes pairs that nobody is to use any more. A server that cannot be told now is told later.

use std::sync::Arc;
use std::time::Duration;

use super::Seen;
use super::user_code::{revoke, swap};
use crate::clock::Backoff;
use crate::endpoint::EndpointError;
use crate::record::{Record, RecordState};
use crate::session::Session;
use crate::token::TokenPair;

/// Between attempts to reach the server.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// After that a server is not told any more.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What the server is to be told of.
#[derive(Debug)]
pub(super) enum ToRevoke {
    Pair(TokenPair),
    /// The pair of a record that was ended, which is taken out of it then.
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

    /// Whether somebody else sees to it, after another logout; or a sign-in has brought one of its tokens again.
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

/// Revokes a pair that gave way. Nobody waits for that but a shutdown, and that for one attempt.
pub(super) fn revoke_in_background(session: &Arc<Session>, pair: TokenPair) {
    in_background(session, ToRevoke::Pair(pair), None);
}

/// Revokes what a logout leaves, and reports how that went. If the server has not heard it, it is told later.
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

/// Goes on for as long as the manager lives, from what an attempt brought that was made already.
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

/// Revokes the pair of a record that was ended, and takes it out.
pub(super) async fn clear(session: &Session, seen: &Seen) -> Result<(), EndpointError> {
    let Some((record, revision)) = &seen.entry else {
        return Ok(());
    };
    let Some(stored) = &record.pair else {
        return Ok(());
    };
    let revoked = revoke(session, &stored.pair).await;
    // Where the server cannot be told, to keep the pair helps nobody but a thief.
    if is_unheard(&revoked) {
        return revoked;
    }
    let cleared = record.cleared();
    if let Err(error) = swap(session, Some(*revision), &cleared).await {
        tracing::warn!(key = %session.key, %error, "a pair stays in the store after the logout");
    }
    revoked
}

/// Whether the server may not know of it, and may be told later.
fn is_unheard(revoked: &Result<(), EndpointError>) -> bool {
    !matches!(
        revoked,
        Ok(()) | Err(EndpointError::Refused { .. } | EndpointError::Rejected { .. })
    )
}

/// Revokes the pairs of sessions that the user has logged out of, which a `new` one takes out of the store unrevoked.
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

/// Some servers answer two sign-ins with one token: to revoke it would end the other session too.
pub(super) fn shares_a_token(one: &TokenPair, other: &TokenPair) -> bool {
    one.access.is_some() && one.access == other.access
        || one.refresh.is_some() && one.refresh == other.refresh
}
