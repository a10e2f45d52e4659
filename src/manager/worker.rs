//! Rotates when the plan says so, whether anybody asks or not. It holds no handle: it ends with the last. A panic does
//! not end it: a session whose timer is gone dies without a word.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;

use crate::rotation;
use crate::session::{Session, Wake};

/// The pause after a panic, which would mostly come again at once.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// What comes after a step of the worker.
enum Next {
    Step,
    Sleep(Arc<Notify>, Duration),
    End,
}

/// Starts the worker of a session on its runtime.
pub(super) fn start(session: &Arc<Session>) {
    let worker = run(Arc::downgrade(session));
    session.shared.runtime.spawn(worker);
}

async fn run(session: Weak<Session>) {
    loop {
        match AssertUnwindSafe(step(&session)).catch_unwind().await {
            Ok(Next::Step) => {}
            Ok(Next::Sleep(rescheduled, pause)) => {
                let _ = tokio::time::timeout(pause, rescheduled.notified()).await;
            }
            Ok(Next::End) => return,
            Err(_) => {
                tracing::error!("the timer of a session panicked: this is a bug in evertoken");
                tokio::time::sleep(AFTER_PANIC).await;
            }
        }
    }
}

async fn step(session: &Weak<Session>) -> Next {
    let Some(session) = session.upgrade().filter(|session| !session.is_closing()) else {
        return Next::End;
    };
    let rescheduled = session.rescheduled();
    match session.wake() {
        Wake::Rotate(flight) => rotation::start(flight),
        Wake::Tell(notice) => rotation::look_before(&session, notice).await,
        Wake::Sleep(Some(left)) => return Next::Sleep(rescheduled, left),
        // Nothing is planned. The session wakes the worker when something is.
        Wake::Sleep(None) => return Next::Sleep(rescheduled, Duration::MAX),
    }
    Next::Step
}
