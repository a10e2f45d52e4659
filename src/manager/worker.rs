//! Rotates when the plan says so, whether anybody asks or not. It holds no handle: it ends with the last.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::rotation;
use crate::session::{Session, Wake};

/// Starts the worker of a session on its runtime.
pub(super) fn start(session: &Arc<Session>) {
    let worker = run(Arc::downgrade(session));
    session.shared.runtime.spawn(worker);
}

async fn run(session: Weak<Session>) {
    loop {
        let Some(session) = session.upgrade() else {
            return;
        };
        if session.is_closing() {
            return;
        }
        let rescheduled = session.rescheduled();
        let pause = match session.wake() {
            Wake::Rotate(flight) => {
                rotation::start(flight);
                continue;
            }
            Wake::Tell(notice) => {
                rotation::look_before(&session, notice).await;
                continue;
            }
            Wake::Sleep(Some(left)) => left.min(session.settings().look_every),
            // Nothing is planned: whoever plans something says so.
            Wake::Sleep(None) => Duration::MAX,
        };
        drop(session);
        let _ = tokio::time::timeout(pause, rescheduled.notified()).await;
    }
}
