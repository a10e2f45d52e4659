//! Waiting for something, but not for ever; and not less than that because nobody was there to wait.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// A timer that is so late was due while the process did not run. A busy machine may have timers that are as
/// late: then a little longer is waited than was asked for.
pub(crate) const LATE: Duration = Duration::from_millis(100);

/// What is waited then: whatever came meanwhile is read in milliseconds.
const MOMENT: Duration = Duration::from_secs(1);

/// The time that something may take.
///
/// A process that was stopped and goes on finds its timers due, and what it waited for there as well. The timers come
/// first: an answer that arrived in time would be given up unread, and with it a session, if it was that of
/// a token endpoint.
#[derive(Debug)]
pub(crate) struct Patience {
    /// `None` if that is too far away to be told.
    until: Option<Instant>,
    is_renewed: bool,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            until: Instant::now().checked_add(limit),
            is_renewed: false,
        }
    }

    /// Awaits `work` while there is time; `None` when that is over.
    pub(crate) async fn wait_for<F: Future>(&self, work: F) -> Option<F::Output> {
        match self.until {
            Some(until) => timeout_at(until, work).await.ok(),
            None => Some(work.await),
        }
    }

    /// A moment more, once, if the end of the time was noticed only when it had long been there. Returns whether there
    /// is one.
    pub(crate) fn renew(&mut self) -> bool {
        let is_late = self.until.is_some_and(|until| until.elapsed() >= LATE);
        if self.is_renewed || !is_late {
            return false;
        }
        self.is_renewed = true;
        self.until = Some(Instant::now() + MOMENT);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    /// What becomes of work that takes this long and then some turns of other tasks, as reading from a socket does,
    /// if the process does not run for as long as that after it began.
    async fn outcome(work: Duration, stopped: Duration) -> Option<u32> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(work).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let _ = sender.send(7);
        });
        let mut receiver = pin!(receiver);
        let mut patience = Patience::new(LIMIT);
        tokio::task::yield_now().await;
        std::thread::sleep(stopped);
        loop {
            match patience.wait_for(&mut receiver).await {
                Some(answer) => return answer.ok(),
                None if patience.renew() => {}
                None => return None,
            }
        }
    }

    #[tokio::test]
    async fn what_came_while_the_process_was_stopped_is_read() {
        assert_eq!(outcome(LIMIT / 2, 10 * LIMIT).await, Some(7));
    }

    #[tokio::test]
    async fn what_does_not_come_is_not_waited_for_without_end() {
        let started = Instant::now();
        assert_eq!(outcome(Duration::from_secs(60), 10 * LIMIT).await, None);
        assert!(started.elapsed() < 10 * MOMENT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_runs_waits_no_longer_than_it_was_told() {
        let started = Instant::now();
        let mut patience = Patience::new(LIMIT);
        assert_eq!(patience.wait_for(std::future::pending::<()>()).await, None);
        assert!(!patience.renew());
        assert_eq!(started.elapsed(), LIMIT);
        let endless = Patience::new(Duration::MAX);
        assert_eq!(endless.wait_for(std::future::ready(1)).await, Some(1));
    }
}
