//! Calls into user code. Endpoints, stores, strategies, clocks and callbacks are the user's: each call of them is made
//! here, is bounded by a timeout where it can take time, and a panic in it becomes an error or the last answer. So
//! none of them can end a rotation, a worker or a process. The wrappers are what the rest of the crate holds; nothing
//! else of it can reach the code behind them. None of it is called in a destructor, or while the state is locked.

mod clock;
mod endpoint;
mod store;
mod strategy;

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt;

pub(crate) use self::clock::{Moment, UserClock};
pub(crate) use self::endpoint::UserEndpoint;
pub(crate) use self::store::UserStore;
pub(crate) use self::strategy::UserStrategy;
use crate::clock::Patience;

/// User code that did not come back as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserCodeError {
    Panicked,
    TookLonger { than: Duration },
}

impl fmt::Display for UserCodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("panicked"),
            Self::TookLonger { than } => write!(f, "took longer than {} s", than.as_secs_f64()),
        }
    }
}

/// Calls user code that answers at once; `None` if it panicked.
pub(crate) fn caught<T>(name: &'static str, code: impl FnOnce() -> T) -> Option<T> {
    let answer = catch_unwind(AssertUnwindSafe(code)).ok();
    if answer.is_none() {
        tracing::error!("`{name}` panicked");
    }
    answer
}

/// Awaits user code for at most `limit`, or a moment longer if the process was stopped meanwhile.
pub(crate) async fn guarded<T>(
    limit: Duration,
    code: impl Future<Output = T>,
) -> Result<T, UserCodeError> {
    let mut code = Dropped(Some(Box::pin(AssertUnwindSafe(code).catch_unwind())));
    let mut patience = Patience::new(limit);
    loop {
        let Some(running) = &mut code.0 else {
            return Err(UserCodeError::Panicked);
        };
        match patience.wait_for(running).await {
            Some(Ok(value)) => return Ok(value),
            Some(Err(_)) => return Err(UserCodeError::Panicked),
            None if patience.renew() => {}
            None => return Err(UserCodeError::TookLonger { than: limit }),
        }
    }
}

/// User code whose destructor may panic too: unwound through a rotation, that would take along the pair it holds.
struct Dropped<F>(Option<F>);

impl<F> Drop for Dropped<F> {
    fn drop(&mut self) {
        if let Some(code) = self.0.take() {
            caught("the destructor of a future", || drop(code));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    #[derive(Debug)]
    struct PanicsWhenDropped;

    impl Future for PanicsWhenDropped {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_future_that_panics_when_it_is_dropped_is_an_error_and_no_panic() {
        let limit = Duration::from_secs(1);
        let error = guarded(limit, PanicsWhenDropped).await;
        assert_eq!(error, Err(UserCodeError::TookLonger { than: limit }));
    }
}
