//! When cookies end, by the clock of the browser.

use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::browser::Outcome;
use evertoken::testing::{Browser, TestClock};

use crate::{ORIGIN, SECOND, browser, sent, set};

fn on_a_clock() -> (Browser, TestClock) {
    let clock = TestClock::new();
    let browser = Browser::with_clock(ORIGIN, clock.clone()).unwrap();
    (browser, clock)
}

#[test]
fn a_cookie_that_ends_in_the_past_is_deleted() {
    let past = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    // The test clock begins in 2023.
    let last_year = "Expires=Wed, 09-Nov-2022 10:00:00 GMT";
    for attribute in ["Max-Age=0", "Max-Age=-1", past, last_year] {
        let browser = browser();
        set(&browser, "id=1");
        let outcome = set(&browser, &format!("id=; {attribute}"));
        assert_eq!(outcome, Outcome::Deleted, "{attribute}");
        assert_eq!(browser.value("id"), None, "{attribute}");
    }
}

#[test]
fn a_deletion_of_another_path_or_domain_deletes_nothing() {
    let browser = browser();
    set(&browser, "id=1; Path=/");
    set(&browser, "id=; Path=/a; Max-Age=0");
    set(&browser, "id=; Path=/; Domain=example.org; Max-Age=0");
    assert_eq!(browser.value("id").as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn max_age_counts_from_the_arrival_by_the_clock_of_the_browser() {
    let (browser, clock) = on_a_clock();
    let request = browser.send("/");
    clock.advance(100 * SECOND).await;
    crate::answer(request, "id=1; Max-Age=60");
    clock.advance(59 * SECOND).await;
    assert_eq!(sent(&browser, "/"), "id=1");
    clock.advance(SECOND).await;
    assert_eq!(sent(&browser, "/"), "");
    assert!(browser.names().is_empty());
    assert_eq!(browser.document_cookie("/"), "");
}

#[tokio::test(start_paused = true)]
async fn expires_is_read_by_the_clock_of_the_browser_and_max_age_goes_before_it() {
    let (browser, clock) = on_a_clock();
    assert_eq!(clock.wall(), Duration::from_secs(1_700_000_000));
    set(&browser, "a=1; Expires=Tue, 14 Nov 2023 22:14:20 GMT");
    let both = "b=1; Max-Age=120; Expires=Tue, 14 Nov 2023 22:14:20 GMT";
    set(&browser, both);
    clock.advance(59 * SECOND).await;
    assert_eq!(browser.names(), ["a", "b"]);
    clock.advance(SECOND).await;
    assert_eq!(browser.names(), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_has_ended_does_not_return_with_a_wall_clock_that_is_stepped_back() {
    let (browser, clock) = on_a_clock();
    set(&browser, "id=1; Max-Age=60");
    clock.step_wall(61 * SECOND);
    assert_eq!(browser.value("id"), None);
    clock.step_wall_back(61 * SECOND);
    assert_eq!(browser.value("id"), None);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_lives_for_400_days_at_most_and_without_an_end_for_good() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let (browser, clock) = on_a_clock();
    set(&browser, "age=1; Max-Age=99999999999999999999");
    set(&browser, "date=1; Expires=Fri, 31 Dec 9999 23:59:59 GMT");
    set(&browser, "session=1");
    clock.suspend(400 * DAY - SECOND);
    assert_eq!(browser.names(), ["age", "date", "session"]);
    clock.suspend(SECOND);
    assert_eq!(browser.names(), ["session"]);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_is_set_again_gets_the_new_end() {
    let (browser, clock) = on_a_clock();
    set(&browser, "id=1; Max-Age=60");
    clock.advance(30 * SECOND).await;
    set(&browser, "id=1; Max-Age=60");
    clock.advance(59 * SECOND).await;
    assert_eq!(browser.value("id").as_deref(), Some("1"));
    set(&browser, "id=1");
    clock.advance(3_600 * SECOND).await;
    assert_eq!(browser.value("id").as_deref(), Some("1"));
}
