//! A number that tasks wait for. It allocates nothing, as a channel would for each session.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Awaited {
    number: AtomicUsize,
    changed: Notify,
}

impl Awaited {
    pub(super) fn get(&self) -> usize {
        self.number.load(Ordering::SeqCst)
    }

    pub(super) fn set(&self, number: usize) {
        self.number.store(number, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(super) fn add(&self, number: usize) {
        self.number.fetch_add(number, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(super) fn subtract(&self, number: usize) {
        self.number.fetch_sub(number, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Returns when the number is this.
    pub(super) async fn becomes(&self, number: usize) {
        loop {
            // It listens before it looks, or a change between the two would be missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.get() == number {
                return;
            }
            changed.await;
        }
    }
}
