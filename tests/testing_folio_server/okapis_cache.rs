use std::time::Duration;

use evertoken::testing::{FolioServer, TestClock};

use super::browser::*;

const SECOND: Duration = Duration::from_secs(1);

fn folio(clock: &TestClock, cache: Duration) -> FolioServer {
    let builder = FolioServer::okapi().clock(clock.clone());
    let builder = builder.token_expiration("accessToken:60").unwrap();
    builder.authorization_cache(cache).build()
}

#[tokio::test(start_paused = true)]
async fn okapi_admits_a_token_without_a_check_for_3_min() {
    let clock = TestClock::new();
    let folio = okapi(&clock);
    let browser = Browser::signed_in(&folio).await;
    assert_eq!(browser.call().await, 200);
    clock.advance(179 * SECOND).await;
    assert_eq!(browser.call().await, 200, "it is over for 2 min");
    assert_eq!(browser.call_of("/others").await.status(), 401);
    clock.advance(SECOND).await;
    assert_eq!(browser.call().await, 401, "that did not prolong it");
}

#[tokio::test(start_paused = true)]
async fn okapi_without_the_cache_checks_a_token_at_every_call() {
    let clock = TestClock::new();
    let folio = folio(&clock, Duration::ZERO);
    let browser = Browser::signed_in(&folio).await;
    assert_eq!(browser.call().await, 200);
    clock.advance(60 * SECOND).await;
    assert_eq!(browser.call().await, 200, "the last second counts");
    clock.advance(SECOND).await;
    assert_eq!(browser.call().await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_not_cached() {
    let clock = TestClock::new();
    let folio = folio(&clock, 180 * SECOND);
    let browser = Browser::signed_in(&folio).await;
    folio.set_active("diku", "diku_admin", false);
    assert_eq!(browser.call().await, 401);
    folio.set_active("diku", "diku_admin", true);
    clock.advance(61 * SECOND).await;
    assert_eq!(browser.call().await, 401);
}
