//! How long a store may take for a call. A store that knows it reports what is in the way before its caller gives
//! up and can say no more than that it took long.
//!
//! It goes along with the call as a value of its task. A parameter of every method was refused, and so was a
//! setting of the store: clones of a store serve managers with different timeouts, and a store around another
//! store would have to pass it on.

use std::time::Duration;

use crate::settings::STORE_TIMEOUT;

tokio::task_local! {
    static BUDGET: Duration;
}

/// How long the caller of the store's `load` or `swap` that runs in this task waits for it: the manager's
/// [`store_timeout`](crate::Builder::store_timeout). `None` outside of such a call, and in tasks that it spawns.
///
/// A store that gives up earlier by itself can say why.
#[must_use]
pub fn budget() -> Option<Duration> {
    BUDGET.try_with(|budget| *budget).ok()
}

/// Awaits a call of a store, which is given up after `budget`.
pub(crate) async fn with_budget<T>(budget: Duration, call: impl Future<Output = T>) -> T {
    BUDGET.scope(budget, call).await
}

/// What is kept back at most: more than an error needs to get to the caller on a busy machine.
const RESERVE: Duration = Duration::from_secs(1);

/// How a store of this crate divides its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// For the work. After that, the store gives up.
    pub(super) work: Duration,
    /// For what comes after it.
    pub(super) reserve: Duration,
}

impl Share {
    /// Of the call that runs in this task; outside of one, of the default.
    pub(super) fn current() -> Self {
        Self::of(budget().unwrap_or(STORE_TIMEOUT))
    }

    fn of(budget: Duration) -> Self {
        let reserve = RESERVE.min(budget / 5);
        Self {
            work: budget - reserve,
            reserve,
        }
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
        assert_eq!(Share::of(Duration::MAX).work, Duration::MAX - RESERVE);
    }
}
