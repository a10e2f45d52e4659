//! What a session does at the moments that its plan has, whether a caller asks or not. A panic does not end that: a session
//! whose timer is gone dies without a word.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::rotation;
use crate::session::{Session, Wake};
use crate::state::Notice;
use crate::timer::{Seat, Sleeper};

/// The pause after a panic, which would mostly come again at once.
const AFTER_PANIC: Duration = Duration::from_secs(5);

impl Sleeper for Session {
    fn wake_up(self: Arc<Self>) {
        if self.is_closing() {
            return;
        }
        match self.wake() {
            Wake::Rotate(flight) => rotation::start(flight),
            Wake::Tell(notice) => {
                let runtime = self.shared.runtime.clone();
                runtime.spawn(tell(self, notice));
            }
            Wake::Sleep => {}
        }
    }

    fn seat(&self) -> Option<&Seat> {
        Self::seat(self)
    }
}

async fn tell(session: Arc<Session>, notice: Notice) {
    let telling = AssertUnwindSafe(rotation::reconcile_before(&session, notice)).catch_unwind();
    if telling.await.is_err() {
        tracing::error!("a session panicked before its end: this is a bug in evertoken");
        tokio::time::sleep(AFTER_PANIC).await;
    }
    session.told();
}
