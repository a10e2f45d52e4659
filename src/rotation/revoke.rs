//! Revokes pairs that nobody is to use any more. A server that cannot be told now is told later.

use std::sync::Arc;
use std::time::Duration;

use super::calls::revoke;
use crate::endpoint::EndpointError;
use crate::record::{Record, State};
use crate::session::Session;
use crate::token::TokenPair;

/// Pauses between attempts double from the first to the last.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Revokes a pair that gave way. Nobody waits for that but a shutdown, and that for one attempt.
pub(super) fn revoke_aside(session: &Arc<Session>, pair: TokenPair) {
    let session = Arc::clone(session);
    let runtime = session.shared.runtime.clone();
    let chore = session.chore();
    runtime.spawn(async move {
        let mut pause = FIRST_PAUSE;
        while is_unheard(&revoke(&session, &pair).await) {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = session.closing() => break,
            }
            if is_held(&session, &pair) {
                break;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        drop(chore);
    });
}

/// Whether the session has come to hold one of its tokens again, from a sign-in.
fn is_held(session: &Session, pair: &TokenPair) -> bool {
    let state = session.lock();
    state
        .held()
        .is_some_and(|held| shares_a_token(&held.pair, pair))
}

/// Whether the server may not know of it, and may be told later.
pub(super) fn is_unheard(revoked: &Result<(), EndpointError>) -> bool {
    !matches!(
        revoked,
        Ok(()) | Err(EndpointError::Misconfigured { .. } | EndpointError::Rejected { .. })
    )
}

/// The pair of a session that the user has left, which a new one is about to take out of the store unrevoked.
pub(super) fn left_behind(record: Option<&Record>, is_leaving: bool) -> Option<TokenPair> {
    let record = record.filter(|record| is_leaving || record.state == State::LoggedOut)?;
    record.pair.as_ref().map(|stored| stored.pair.clone())
}

/// Some servers answer two sign-ins with one token: to revoke it would end the other session too.
pub(super) fn shares_a_token(one: &TokenPair, other: &TokenPair) -> bool {
    one.access.is_some() && one.access == other.access
        || one.refresh.is_some() && one.refresh == other.refresh
}
