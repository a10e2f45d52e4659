//! The best ways that are known to let many tasks wait for one, written by hand.

use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::Source;

/// The first one starts a task, which answers each of those who waited.
pub(super) struct Leader {
    source: Source,
    current: ArcSwapOption<HeaderValue>,
    waiting: Mutex<Vec<oneshot::Sender<HeaderValue>>>,
}

impl Leader {
    pub(super) fn new(source: &Source) -> Arc<Self> {
        Arc::new(Self {
            source: source.clone(),
            current: ArcSwapOption::empty(),
            waiting: Mutex::default(),
        })
    }

    pub(super) async fn header(self: &Arc<Self>) -> Option<HeaderValue> {
        let mine = {
            let mut waiting = self.waiting.lock();
            if let Some(current) = &*self.current.load() {
                return Some(HeaderValue::clone(current));
            }
            let (answer, mine) = oneshot::channel();
            if waiting.is_empty() {
                tokio::spawn(Arc::clone(self).lead());
            }
            waiting.push(answer);
            mine
        };
        mine.await.ok()
    }

    async fn lead(self: Arc<Self>) {
        let header = self.source.answer().await;
        let waiting = {
            let mut waiting = self.waiting.lock();
            self.current.store(Some(Arc::new(header.clone())));
            std::mem::take(&mut *waiting)
        };
        for waiter in waiting {
            // An error means that this one waits no more.
            let _ = waiter.send(header.clone());
        }
    }
}

/// All of them await one future.
pub(super) struct SharedFuture(Shared<BoxFuture<'static, HeaderValue>>);

impl SharedFuture {
    pub(super) fn new(source: &Source) -> Arc<Self> {
        let source = source.clone();
        let future = async move { source.answer().await };
        Arc::new(Self(future.boxed().shared()))
    }

    pub(super) async fn header(&self) -> HeaderValue {
        self.0.clone().await
    }
}

/// The first one starts a task, which wakes all that wait; they read what it left.
pub(super) struct Notified {
    source: Source,
    current: ArcSwapOption<HeaderValue>,
    is_led: Mutex<bool>,
    committed: Notify,
}

impl Notified {
    pub(super) fn new(source: &Source) -> Arc<Self> {
        Arc::new(Self {
            source: source.clone(),
            current: ArcSwapOption::empty(),
            is_led: Mutex::new(false),
            committed: Notify::new(),
        })
    }

    pub(super) async fn header(self: &Arc<Self>) -> Option<HeaderValue> {
        let mut committed = pin!(self.committed.notified());
        // Before the look, or what is committed in between would be missed.
        committed.as_mut().enable();
        if self.current.load().is_none() {
            if !std::mem::replace(&mut *self.is_led.lock(), true) {
                tokio::spawn(Arc::clone(self).lead());
            }
            committed.await;
        }
        let current = self.current.load();
        current.as_deref().cloned()
    }

    async fn lead(self: Arc<Self>) {
        let header = self.source.answer().await;
        self.current.store(Some(Arc::new(header)));
        self.committed.notify_waiters();
    }
}
