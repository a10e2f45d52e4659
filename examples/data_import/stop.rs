//! Ends an import before its input ends: nobody takes another batch, and nobody waits to try one again.

use std::sync::OnceLock;

use tokio::sync::watch;

#[derive(Debug, Default)]
pub(crate) struct Stop {
    requested: watch::Sender<bool>,
    ended: OnceLock<evertoken::Error>,
}

impl Stop {
    pub(crate) fn request(&self) {
        self.requested.send_replace(true);
    }

    /// Because only a new sign-in helps. The first reason counts.
    pub(crate) fn session_ended(&self, error: evertoken::Error) {
        self.ended.get_or_init(|| error);
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

    pub(crate) fn why(&self) -> Option<&evertoken::Error> {
        self.ended.get()
    }
}
