//! Waiting for changes: many callers wait, and one task of the store listens for all of them.
//!
//! - A [`Hub`] belongs to a store and its clones. Its task starts with the first waiter, ends with the store, and starts
//!   again where a caller waits on another runtime after the task's runtime has ended.
//! - A [`Board`] has a topic for each record that a caller waits for. The task reports to the board, and each waiter
//!   reads its topic.
//!
//! A notification is a hint: it may be lost, and it may arrive twice. So each waiter reads the record itself: once when
//! the next change would be notified, at each notification, and from time to time. While nothing is heard, waiters read
//! more often. Nothing here decides that a record has changed, except by a revision that is higher than the waiter's.
//!
//! A store adds one attempt to listen: it connects, reports what it hears to the board, and returns why it ended.
//!
//! ```text
//! caller ── changed(topic, seen, read) ──▶ Hub ── starts ──▶ task: one attempt after the other
//!    ▲                                                          │ subscribes to what is due()
//!    └───────────────── news of the topic ──── Board ◀──────────┘ heard(), notify(), silence()
//! ```

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::{Revision, StoreError};

/// How often a waiter reads the record while changes are notified: for a notification that was lost.
const POLL_WITH_LISTEN: Duration = Duration::from_secs(1);

/// How often a waiter reads the record while changes are not notified.
const POLL_WITHOUT_LISTEN: Duration = Duration::from_millis(50);

/// The pause after a read that failed. The store may recover; a caller that waits has its own limit.
const POLL_AFTER_ERROR: Duration = Duration::from_millis(200);

/// The pauses between attempts to listen double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// One attempt to listen. It ends with the reason why nothing is heard any more.
pub(super) type Attempt = Pin<Box<dyn Future<Output = StoreError> + Send>>;

type Listen = dyn Fn(Arc<Board>) -> Attempt + Send + Sync;

/// The waiters of a store, and the task that listens for them.
pub(super) struct Hub {
    board: Arc<Board>,
    listen: Arc<Listen>,
    task: Mutex<Option<AbortHandle>>,
}

impl Hub {
    pub(super) fn new(listen: impl Fn(Arc<Board>) -> Attempt + Send + Sync + 'static) -> Self {
        Self {
            board: Arc::default(),
            listen: Arc::new(listen),
            task: Mutex::default(),
        }
    }

    /// Returns when the record of `topic` no longer has the revision `seen`, by `read` or by a notification.
    pub(super) async fn changed<R, E>(
        &self,
        topic: &str,
        seen: Option<Revision>,
        read: impl Fn() -> R,
    ) where
        R: Future<Output = Result<Option<Revision>, E>>,
    {
        // The waiter enters before it reads: a change between the two would be missed otherwise.
        let mut waiter = self.board.enter(topic);
        loop {
            let is_heard = waiter.news.borrow_and_update().is_heard;
            if !is_heard {
                self.start();
            }
            let pause = match read().await {
                Ok(held) if held != seen => return,
                Ok(_) if is_heard => POLL_WITH_LISTEN,
                Ok(_) => POLL_WITHOUT_LISTEN,
                Err(_) => POLL_AFTER_ERROR,
            };
            if timeout(pause, waiter.news.changed()).await.is_ok()
                && let Some(revision) = waiter.news.borrow().revision
                && seen.is_none_or(|seen| revision.number() > seen.number())
            {
                return;
            }
        }
    }

    /// Starts the task on this runtime, unless it is running.
    fn start(&self) {
        let mut task = self.task.lock();
        if task.as_ref().is_none_or(AbortHandle::is_finished) {
            let listening = keep_listening(self.board.clone(), self.listen.clone());
            *task = Some(tokio::spawn(listening).abort_handle());
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

/// One attempt after the other, while callers wait.
async fn keep_listening(board: Arc<Board>, listen: Arc<Listen>) {
    let silence = Silence(board);
    let board = &silence.0;
    let mut pause = FIRST_PAUSE;
    loop {
        board.awaited().await;
        let error = listen(board.clone()).await;
        if board.silence() {
            pause = FIRST_PAUSE;
        }
        board.report(&error);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Silences the board when the task ends, whatever ends it: the store or the runtime.
struct Silence(Arc<Board>);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.silence();
    }
}

/// The topics that callers wait for, and what is heard of them.
#[derive(Default)]
pub(super) struct Board {
    state: Mutex<State>,
    /// A topic was entered or left.
    stirred: Notify,
}

#[derive(Default)]
struct State {
    topics: HashMap<String, Topic>,
    /// The topics that were entered by the first waiter or left by the last one. `None` while no listener asks for
    /// them.
    due: Option<Vec<String>>,
    /// Whether changes of every topic are notified.
    hears_all: bool,
    /// Whether anything was heard since the last silence.
    was_heard: bool,
    /// Whether the log reports that nothing is heard.
    is_reported: bool,
}

#[derive(Default)]
struct Topic {
    waiters: usize,
    news: watch::Sender<News>,
}

/// What the waiters of a topic learn.
#[derive(Clone, Copy, Default)]
struct News {
    /// Whether changes from now on are notified.
    is_heard: bool,
    /// The revision that the last notification named, if it named one.
    revision: Option<Revision>,
}

/// A caller that waits, until it is dropped.
struct Waiter<'a> {
    board: &'a Board,
    topic: &'a str,
    news: watch::Receiver<News>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut state = self.board.state.lock();
        let Some(left) = state.topics.get_mut(self.topic) else {
            return;
        };
        left.waiters -= 1;
        if left.waiters == 0 {
            state.topics.remove(self.topic);
            self.board.make_due(&mut state, self.topic);
        }
    }
}

impl State {
    #[cfg(feature = "redis")]
    fn take_due(&mut self) -> Vec<String> {
        let all = || self.topics.keys().cloned().collect();
        self.due.replace(Vec::new()).unwrap_or_else(all)
    }
}

impl Topic {
    fn set_heard(&self, is_heard: bool) {
        self.news.send_if_modified(|news| {
            let is_new = news.is_heard != is_heard;
            if is_new {
                let revision = None;
                *news = News { is_heard, revision };
            }
            is_new
        });
    }
}

impl Board {
    fn enter<'a>(&'a self, topic: &'a str) -> Waiter<'a> {
        let mut state = self.state.lock();
        let is_heard = state.hears_all;
        let entered = state.topics.entry(topic.to_owned()).or_default();
        entered.waiters += 1;
        let is_first = entered.waiters == 1;
        if is_first {
            entered.set_heard(is_heard);
        }
        let news = entered.news.subscribe();
        if is_first {
            self.make_due(&mut state, topic);
        }
        Waiter {
            board: self,
            topic,
            news,
        }
    }

    /// The topic was entered by its first waiter, or left by its last one.
    fn make_due(&self, state: &mut State, topic: &str) {
        if let Some(due) = &mut state.due {
            due.push(topic.to_owned());
        }
        self.stirred.notify_one();
    }

    /// Returns once a caller waits.
    async fn awaited(&self) {
        while self.state.lock().topics.is_empty() {
            self.stirred.notified().await;
        }
    }

    /// Changes of this topic, or of every topic, are notified from now on.
    pub(super) fn heard(&self, topic: Option<&str>) {
        let mut state = self.state.lock();
        state.was_heard = true;
        state.is_reported = false;
        let Some(topic) = topic else {
            state.hears_all = true;
            return state.topics.values().for_each(|one| one.set_heard(true));
        };
        if let Some(one) = state.topics.get(topic) {
            one.set_heard(true);
        }
    }

    /// Nothing is notified any more. Returns whether anything was heard since the last silence.
    fn silence(&self) -> bool {
        let mut state = self.state.lock();
        state.hears_all = false;
        state.due = None;
        state.topics.values().for_each(|one| one.set_heard(false));
        std::mem::take(&mut state.was_heard)
    }

    /// Reports that nothing is heard: as a warning once, however many wait and however often the task starts again.
    pub(super) fn report(&self, error: &StoreError) {
        let cause = std::error::Error::source(error).map(tracing::field::display);
        if std::mem::replace(&mut self.state.lock().is_reported, true) {
            tracing::debug!(%error, cause, "notifications still do not arrive");
        } else {
            tracing::warn!(
                %error,
                cause,
                "notifications do not arrive; instances that wait read the record every 50 ms instead"
            );
        }
    }

    /// The record of this topic has changed, to this revision where the notification names one.
    pub(super) fn notify(&self, topic: &str, revision: Option<Revision>) {
        if let Some(topic) = self.state.lock().topics.get(topic) {
            topic.news.send_modify(|news| news.revision = revision);
        }
    }

    /// The topics that were entered or left since the last call; at the first call of an attempt, every topic. For a
    /// store that subscribes to each topic by itself.
    #[cfg(feature = "redis")]
    pub(super) async fn due(&self) -> Vec<String> {
        loop {
            let due = self.state.lock().take_due();
            if !due.is_empty() {
                return due;
            }
            self.stirred.notified().await;
        }
    }

    /// Whether a caller waits for changes of this topic.
    #[cfg(feature = "redis")]
    pub(super) fn is_awaited(&self, topic: &str) -> bool {
        self.state.lock().topics.contains_key(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "topic";

    fn revision(number: u64) -> Option<Revision> {
        Some(Revision::new(number))
    }

    /// The number of reads until the waiter of a hub with this attempt returns; the record stays as it is.
    async fn reads(listen: impl Fn(Arc<Board>) -> Attempt + Send + Sync + 'static) -> usize {
        let reads = std::cell::Cell::new(0);
        let hub = Hub::new(listen);
        let read = || async {
            reads.set(reads.get() + 1);
            Ok::<_, StoreError>(revision(1))
        };
        let waiting = hub.changed(TOPIC, revision(1), read);
        let _ = timeout(Duration::from_secs(60), waiting).await;
        assert!(hub.board.state.lock().topics.is_empty(), "it has left");
        reads.get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_reads_every_second_while_changes_are_notified() {
        let read = reads(|board| {
            Box::pin(async move {
                board.heard(None);
                std::future::pending().await
            })
        });
        assert!((58..=62).contains(&read.await));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_reads_every_50_ms_while_changes_are_not_notified() {
        let read = reads(|_| Box::pin(async { StoreError::new("no server") }));
        assert!((1_100..=1_201).contains(&read.await));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_notification_of_a_higher_revision_ends_the_wait_without_a_read() {
        let read = reads(|board| {
            Box::pin(async move {
                board.heard(Some(TOPIC));
                sleep(Duration::from_millis(100)).await;
                // What the waiter has seen, another record, and a notification without a revision.
                board.notify(TOPIC, revision(1));
                board.notify("another", revision(2));
                sleep(Duration::from_millis(100)).await;
                board.notify(TOPIC, None);
                sleep(Duration::from_millis(100)).await;
                board.notify(TOPIC, revision(2));
                std::future::pending().await
            })
        });
        // At the start, when it is heard, and at two of the four notifications.
        assert_eq!(read.await, 4);
    }

    #[cfg(feature = "redis")]
    #[tokio::test]
    async fn a_topic_is_due_when_its_first_waiter_enters_and_when_its_last_one_leaves() {
        let board = Board::default();
        let first = board.enter("a");
        let second = board.enter("b");
        let mut due = board.due().await;
        due.sort();
        assert_eq!(due, ["a", "b"]);
        let third = board.enter("a");
        drop((first, second));
        assert_eq!(board.due().await, ["b"]);
        assert!(board.is_awaited("a") && !board.is_awaited("b"));
        drop(third);
        assert_eq!(board.due().await, ["a"]);
    }
}
