//! Ends an import before its input ends: no worker takes another batch, and none waits to try one again.

use std::sync::OnceLock;

use tokio::sync::watch;

/// `R` says why, where the import stops by itself.
#[derive(Debug)]
pub(crate) struct Stop<R> {
    requested: watch::Sender<bool>,
    reason: OnceLock<R>,
}

impl<R> Stop<R> {
    pub(crate) fn request(&self) {
        self.requested.send_replace(true);
    }

    /// For a reason that does not pass by itself. The first one counts.
    pub(crate) fn because(&self, reason: R) {
        self.reason.get_or_init(|| reason);
        self.request();
    }

    pub(crate) fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    pub(crate) async fn requested(&self) {
        let mut requested = self.requested.subscribe();
        // It fails only without a sender, which is `self`.
        let _ = requested.wait_for(|requested| *requested).await;
    }

    pub(crate) fn why(&self) -> Option<&R> {
        self.reason.get()
    }
}

impl<R> Default for Stop<R> {
    fn default() -> Self {
        Self {
            requested: watch::Sender::default(),
            reason: OnceLock::new(),
        }
    }
}
