//! Deadlines of waits. A process that was stopped past its deadline gets a moment more, because the answer may have arrived
//! meanwhile.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// A timer that fires so late was due while the process did not run. A busy machine may have timers that are as late: then the
/// wait is a little longer than asked for.
pub(crate) const LATE: Duration = Duration::from_millis(100);

/// How much longer the wait is then: an answer that arrived meanwhile is read in milliseconds.
const MOMENT: Duration = Duration::from_secs(1);

/// The deadline of one wait.
///
/// A process that was stopped and goes on finds its timers due, and the answer that it waits for as well. The timers come
/// first: without this type an answer that arrived in time would be given up unread, and with the answer of a token endpoint
/// the session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    /// `None` if the deadline is too far away to be expressed.
    until: Option<Instant>,
    is_renewed: bool,
}

impl Deadline {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            until: Instant::now().checked_add(limit),
            is_renewed: false,
        }
    }

    /// Awaits `work` until the deadline; `None` when the deadline has passed.
    pub(crate) async fn wait_for<F: Future>(&self, work: F) -> Option<F::Output> {
        match self.until {
            Some(until) => timeout_at(until, work).await.ok(),
            None => Some(work.await),
        }
    }

    /// Moves the deadline by a moment, once, if the process noticed the deadline long after it had passed. Returns whether the
    /// deadline was moved.
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

    /// The answer of work that takes this long and then some turns of other tasks, as reading from a socket does, if the process
    /// is stopped for so long after it began.
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
        let mut deadline = Deadline::new(LIMIT);
        tokio::task::yield_now().await;
        std::thread::sleep(stopped);
        loop {
            match deadline.wait_for(&mut receiver).await {
                Some(answer) => return answer.ok(),
                None if deadline.renew() => {}
                None => return None,
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_arrived_while_the_process_was_stopped_is_read() {
        assert_eq!(outcome(LIMIT / 2, 10 * LIMIT).await, Some(7));
    }

    #[tokio::test]
    async fn a_wait_ends_although_the_answer_does_not_come() {
        let started = Instant::now();
        assert_eq!(outcome(Duration::from_secs(60), 10 * LIMIT).await, None);
        assert!(started.elapsed() < 10 * MOMENT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_process_waits_until_its_deadline_and_not_longer() {
        let started = Instant::now();
        let mut deadline = Deadline::new(LIMIT);
        assert_eq!(deadline.wait_for(std::future::pending::<()>()).await, None);
        assert!(!deadline.renew());
        assert_eq!(started.elapsed(), LIMIT);
        let endless = Deadline::new(Duration::MAX);
        assert_eq!(endless.wait_for(std::future::ready(1)).await, Some(1));
    }
}
