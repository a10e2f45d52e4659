//! How one call of a store runs: how long it may take, and where its work may block.
//!
//! A store that knows its time budget gives up before its caller does, and can report what is in the way. The caller
//! can only report that the store took too long.
//!
//! The budget is a value of the task that calls. A parameter of every method was rejected: a store around another
//! store would have to pass it on. A setting of the store was rejected too: clones of one store serve managers with
//! different timeouts.

use std::time::Duration;

use super::StoreError;
use crate::settings::STORE_TIMEOUT;

tokio::task_local! {
    static BUDGET: Duration;
}

/// How long the caller of the store's `load` or `swap` that runs in this task waits for it: the manager's
/// [`store_timeout`](crate::Builder::store_timeout). `None` outside of such a call, and in tasks that the call spawns.
///
/// A store that gives up earlier by itself can report why.
#[must_use]
pub fn budget() -> Option<Duration> {
    BUDGET.try_with(|budget| *budget).ok()
}

/// Awaits a call of a store. The caller gives the call up after `budget`.
pub(crate) async fn with_budget<T>(budget: Duration, call: impl Future<Output = T>) -> T {
    BUDGET.scope(budget, call).await
}

/// The upper limit of the reserve: more than an error needs to reach the caller on a busy machine.
const LONGEST_RESERVE: Duration = Duration::from_secs(1);

/// How a store of this crate divides the budget of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// The time for the work. The store gives up when this time is over.
    pub(super) work: Duration,
    /// The time for what follows the work, such as the error's way to the caller.
    pub(super) reserve: Duration,
}

impl Share {
    /// The share of the call that runs in this task; outside of a call, the share of the default timeout.
    pub(super) fn current() -> Self {
        Self::of(budget().unwrap_or(STORE_TIMEOUT))
    }

    fn of(budget: Duration) -> Self {
        let reserve = LONGEST_RESERVE.min(budget / 5);
        Self {
            work: budget - reserve,
            reserve,
        }
    }
}

/// Runs `work` on tokio's pool of blocking threads. The work continues if the caller is dropped.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The text of the panic is dropped: a sealer that panics may quote the tokens that it was given.
        Err(died) if died.is_panic() => Err(StoreError::new(
            "the store or its sealer panicked; read the panic's message",
        )),
        Err(_) => Err(StoreError::new("the tokio runtime is shutting down")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_gives_up_before_its_caller_does() {
        let work = |budget: u64| Share::of(Duration::from_millis(budget)).work.as_millis();
        assert_eq!([0, 100, 2_000].map(work), [0, 80, 1_600]);
        assert_eq!([5_000, 60_000].map(work), [4_000, 59_000]);
        assert_eq!((budget(), Share::current().work.as_secs()), (None, 4));
        let two = Duration::from_secs(2);
        with_budget(two, async move {
            assert_eq!(budget(), Some(two));
            assert_eq!(Share::current().work.as_millis(), 1_600);
        })
        .await;
        assert_eq!(
            Share::of(Duration::MAX).work,
            Duration::MAX - LONGEST_RESERVE
        );
    }
}
