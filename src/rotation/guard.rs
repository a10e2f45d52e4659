//! Keeps code of the user's from taking the rotation down: a panic and a hang become errors, and asking
//! the manager that is rotating is told apart from asking any other.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::clock::Patience;
use crate::session::Session;

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

/// Code of the user's that did not come back as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    Panicked,
    TookLonger { than: Duration },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("panicked"),
            Self::TookLonger { than } => write!(f, "took longer than {} s", than.as_secs_f64()),
        }
    }
}

/// Awaits code of the user's for at most `limit`, or a moment longer if the process was stopped meanwhile.
pub(super) async fn guarded<T>(
    limit: Duration,
    code: impl Future<Output = T>,
) -> Result<T, Trouble> {
    let mut code = pin!(AssertUnwindSafe(code).catch_unwind());
    let mut patience = Patience::new(limit);
    loop {
        match patience.wait_for(&mut code).await {
            Some(Ok(value)) => return Ok(value),
            Some(Err(_)) => return Err(Trouble::Panicked),
            None if patience.renew() => {}
            None => return Err(Trouble::TookLonger { than: limit }),
        }
    }
}
