//! Whether the session is closing, and what a shutdown waits for. One place to wait for both, as each session has one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Closing {
    is_closing: AtomicBool,
    /// How much is being done besides rotations that a shutdown waits for.
    chores: AtomicUsize,
    changed: Notify,
}

impl Closing {
    /// At shutdown, or when the last handle is gone.
    pub(super) fn begin(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    /// Returns when the session is closing.
    pub(super) async fn begins(&self) {
        self.until(|closing| closing.has_begun()).await;
    }

    pub(super) fn begin_chore(&self) {
        self.chores.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn end_chore(&self) {
        self.chores.fetch_sub(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Returns when no chore is left.
    pub(super) async fn chores_end(&self) {
        self.until(|closing| closing.chores.load(Ordering::SeqCst) == 0)
            .await;
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            // It listens before it looks, or a change between the two would be missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }
}
