//! Waiting for a change. Of all in a process who wait for changes in one directory, one polls for all: a thousand
//! who poll cost a core.
//!
//! - [`hub`]: who waits, and who polls
//! - [`round`]: one check what is waited for
//!
//! The one that polls is a waiter and not a task of its own, because waiters may be on several runtimes and each
//! runtime may stop: the next waiter takes its place when it leaves, or when nothing was checked for a while.

mod hub;
mod round;
#[cfg(test)]
mod tests;

use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use self::hub::{Hub, Role, Waiter};
use self::round::Round;
use super::{FileStore, blocking};
use crate::store::Revision;
use crate::token::Key;

/// How often it is looked: half of the 50 ms in which a change is to be noticed, so that the poll itself
/// may take as long.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// After this time without a poll, another waiter polls: the one that did may be on a runtime that is stopped.
const RELIEF: Duration = Duration::from_secs(2);

/// Returns when the record has changed, or when the holder of its lease dies while this waits for it.
pub(super) async fn changed(store: &FileStore, key: &Key, seen: Option<Revision>) {
    let hub = Hub::of(&store.directory, store.group);
    let waiter = hub.join(key.digest(), store.path(key), seen);
    loop {
        match waiter.role() {
            Role::Served => return,
            Role::Polls => poll(&waiter).await,
            Role::Waits => wait(&waiter).await,
        }
    }
}

async fn poll(waiter: &Waiter) {
    let mut round = Round::OfAll;
    let mut tick = pin!(sleep(POLL_INTERVAL));
    loop {
        let hub = waiter.hub.clone();
        // It goes on if this is dropped, and serves the others.
        let looking = blocking(move || {
            hub.poll(round);
            Ok(())
        });
        let _ = looking.await;
        if waiter.role() != Role::Polls {
            return;
        }
        round = tokio::select! {
            biased;
            () = tick.as_mut() => {
                tick.set(sleep(POLL_INTERVAL));
                Round::OfAll
            }
            () = waiter.hub.fresh.notified() => Round::OfFresh,
        };
    }
}

async fn wait(waiter: &Waiter) {
    loop {
        let rounds = waiter.hub.rounds();
        if timeout(RELIEF, waiter.woken.notified()).await.is_ok() {
            return;
        }
        if waiter.hub.rounds() == rounds {
            waiter.take_over();
            return;
        }
    }
}
