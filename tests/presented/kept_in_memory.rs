//! Which sessions stay in memory after they were presented, and that they leave it.

use std::time::Duration;

use evertoken::Sessions;
use evertoken::testing::AuthorizationServer;
use tokio::time::Instant;

use crate::support::{HOUR, MINUTE, settle};
use crate::world::{Service, page};

#[tokio::test(start_paused = true)]
async fn a_session_whose_manager_was_shut_down_goes_on_at_the_next_presentation() {
    let service = Service::new();
    let mut cookie = service.cookie().await;
    service
        .present(&cookie)
        .await
        .unwrap()
        .tokens()
        .shutdown()
        .await
        .unwrap();
    for _ in 0..30 {
        service.pass(MINUTE).await;
        let presented = service.present(&cookie).await.unwrap();
        cookie = presented.renewal().unwrap_or(cookie);
    }
}

#[tokio::test(start_paused = true)]
async fn refused_pairs_do_not_keep_a_session_in_memory() {
    let service = Service::of(1, page());
    let first = service.cookie().await;
    let second = service.rotate(&first).await;
    service.request(&second).await;
    settle().await;
    for _ in 0..120 {
        service.pass(MINUTE).await;
        drop(service.present(&first).await);
    }
    assert_eq!(service.instances[0].in_memory(), 0);
}

/// A pass may empty the list while a presentation fills it: real threads and real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_that_are_presented_while_others_leave_leave_as_well() {
    let server = AuthorizationServer::builder().access_ttl(HOUR).build();
    let s = Sessions::builder(server.endpoint())
        .kept_for(Duration::from_millis(3))
        .build()
        .unwrap();
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(s.sign_in(server.issue()).await.unwrap());
    }
    let mut leaks = 0;
    for round in 0..20 {
        for id in &ids {
            s.present(id).await.unwrap();
        }
        let s2 = s.clone();
        let ids2 = ids.clone();
        tokio::spawn(async move {
            let end = Instant::now() + Duration::from_millis(8);
            let mut n = round;
            while Instant::now() < end {
                n += 1;
                s2.present(&ids2[n % 200]).await.unwrap();
                if n % 7 == 0 {
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
        })
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        if s.in_memory() > 0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if s.in_memory() > 0 {
                leaks += 1;
                break;
            }
        }
    }
    assert_eq!(leaks, 0);
}
