//! A manager is light: one that waits for requests has no task of its own, and what needs a timer shares one.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use evertoken::testing::AuthorizationServer;
use evertoken::{BackgroundTimer, Events, OnRequest, RefreshStrategy, TokenManager};
use tokio::runtime::Handle;
use tokio::task::yield_now;

const MANAGERS: usize = 1_000;

/// More steps than what has ended takes to be gone. There is no time in it: the runtime has one thread.
const STEPS: usize = 1_000;

/// Each with a session and a store of its own, and used once.
async fn used(strategy: impl RefreshStrategy + Copy) -> Vec<TokenManager> {
    let server = AuthorizationServer::builder().build();
    let mut managers = Vec::with_capacity(MANAGERS);
    for _ in 0..MANAGERS {
        let tokens = TokenManager::builder(server.endpoint())
            .strategy(strategy)
            .seed(server.issue())
            .build()
            .unwrap();
        tokens.token().await.unwrap();
        managers.push(tokens);
    }
    managers
}

/// The tasks that there are once there are no more of them than `most`, or too many that do not end.
async fn tasks(most: usize) -> usize {
    let metrics = Handle::current().metrics();
    for _ in 0..STEPS {
        if metrics.num_alive_tasks() <= most {
            break;
        }
        yield_now().await;
    }
    metrics.num_alive_tasks()
}

#[tokio::test]
async fn a_manager_that_waits_for_requests_has_no_task() {
    let before = tasks(0).await;
    let managers = used(OnRequest::default()).await;
    assert_eq!(tasks(before).await, before, "after the first use");
    for tokens in &managers {
        tokens.rotate().await.unwrap();
    }
    assert_eq!(tasks(before).await, before, "after a rotation");
    drop(managers);
    assert_eq!(tasks(before).await, before, "after the last manager");
}

#[tokio::test]
async fn subscribers_of_all_managers_take_one_task() {
    let before = tasks(0).await;
    let managers = used(OnRequest::default()).await;
    let events: Vec<Events> = managers.iter().map(TokenManager::subscribe).collect();
    let most = before + 1;
    assert!(tasks(most).await <= most, "once they are subscribed to");
    for tokens in &managers {
        tokens.rotate().await.unwrap();
    }
    assert!(tasks(most).await <= most, "after a rotation");
    drop(managers);
    assert_eq!(tasks(before).await, before, "after the last manager");
    drop(events);
}

#[tokio::test]
async fn timers_of_all_managers_take_one_task() {
    let before = tasks(0).await;
    let managers = used(BackgroundTimer::default()).await;
    let most = before + 1;
    assert!(tasks(most).await <= most, "after the first use");
    for tokens in &managers {
        tokens.rotate().await.unwrap();
    }
    assert!(tasks(most).await <= most, "after a rotation");
    // One that is left keeps the timer.
    let mut managers = managers;
    managers.truncate(1);
    assert!(tasks(most).await <= most, "with one manager left");
    managers[0].rotate().await.unwrap();
    drop(managers);
    assert_eq!(tasks(before).await, before, "after the last manager");
}
