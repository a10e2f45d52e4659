//! Requests of tabs: which of them a browser still waits for.

use std::time::Duration;

use evertoken::testing::browser::{Call, Kind, Request};
use futures_util::FutureExt;
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::{answer, browser, set, setting};

#[test]
fn a_navigation_that_another_one_overtook_stores_nothing() {
    let browser = browser();
    let tab = browser.tab();
    let reloads: Vec<_> = (0..5).map(|_| tab.navigate("/")).collect();
    for (number, reload) in (1..).zip(reloads) {
        let arrival = answer(reload, &format!("id={number}"));
        assert_eq!(arrival.is_lost(), number < 5, "{number}");
        assert!(!arrival.is_lost() || arrival.verdicts().is_empty());
    }
    assert_eq!(browser.value("id").as_deref(), Some("5"));
}

#[test]
fn a_closed_tab_stores_nothing() {
    let browser = browser();
    let tab = browser.tab();
    let (page, fetch) = (tab.navigate("/"), tab.send("/a"));
    tab.close();
    assert!(page.is_lost() && fetch.is_lost());
    assert!(answer(page, "id=1").is_lost());
    assert!(answer(fetch, "id=2").is_lost());
    assert!(browser.names().is_empty());
}

#[test]
fn a_closed_tab_ends_no_request_of_another_tab() {
    let browser = browser();
    let (tab, other) = (browser.tab(), browser.tab());
    let (fetch, page) = (other.send("/a"), other.navigate("/"));
    let _ = tab.navigate("/");
    drop(tab);
    assert!(!answer(fetch, "id=1").is_lost());
    assert!(!answer(page, "id=2").is_lost());
    assert_eq!(browser.value("id").as_deref(), Some("2"));
}

#[test]
fn a_keepalive_request_stores_after_its_tab_is_closed() {
    let browser = browser();
    let tab = browser.tab();
    let request = tab.send(Call::fetch("/a").keepalive(true));
    tab.close();
    assert!(!request.is_lost());
    answer(request, "id=1");
    assert_eq!(browser.value("id").as_deref(), Some("1"));
}

#[test]
fn a_response_that_arrived_before_its_tab_was_closed_is_stored() {
    let browser = browser();
    let tab = browser.tab();
    // Its body is still under way.
    answer(tab.send("/a"), "id=1");
    tab.close();
    assert_eq!(browser.value("id").as_deref(), Some("1"));
}

#[test]
fn requests_of_a_page_end_with_the_page_and_not_before() {
    let browser = browser();
    let tab = browser.tab();
    answer(tab.navigate("/"), "page=1");
    let (fetch, late) = (tab.send("/a"), tab.send("/b"));
    let kept = tab.send(Call::fetch("/c").keepalive(true));
    let next = tab.navigate("/next");
    assert!(!answer(fetch, "a=1").is_lost(), "while the page is shown");
    answer(next, "page=2");
    assert!(answer(late, "b=1").is_lost(), "after the next page");
    assert!(!answer(kept, "c=1").is_lost());
    assert_eq!(browser.names(), ["a", "page", "c"]);
}

#[test]
fn a_response_without_a_page_keeps_the_page() {
    for status in [204, 205] {
        let browser = browser();
        let tab = browser.tab();
        answer(tab.navigate("/"), "page=1");
        let fetch = tab.send("/a");
        let status = StatusCode::from_u16(status).unwrap();
        tab.navigate("/b").arrived(status, &HeaderMap::new());
        assert!(!fetch.is_lost(), "{status}");
    }
}

#[test]
fn a_page_in_a_frame_or_rendered_ahead_overtakes_no_navigation() {
    let browser = browser();
    let tab = browser.tab();
    let page = tab.navigate("/");
    for kind in [
        Kind::Frame,
        Kind::Prerender,
        Kind::Prefetch,
        Kind::PrefetchedPage,
    ] {
        answer(tab.send(Call::new(kind, "/next")), "id=1");
    }
    assert!(!page.is_lost());
}

#[test]
fn a_redirect_is_followed_with_the_cookies_that_it_set() {
    let browser = browser();
    let tab = browser.tab();
    let login = tab.navigate("/login?to=/a");
    let headers = setting(["flow=1"]);
    let (arrival, page) = login.redirected(StatusCode::FOUND, &headers, "/a?b=c");
    assert!(!arrival.is_lost());
    assert_eq!(page.cookies(), ["flow=1"]);
    assert_eq!(page.url(), "https://app.example.org/a?b=c");
    answer(page, "id=1");
    assert_eq!(tab.reload().unwrap().url(), "https://app.example.org/a?b=c");
}

#[test]
fn a_redirect_of_an_overtaken_navigation_sets_nothing_and_leads_nowhere() {
    let browser = browser();
    let tab = browser.tab();
    let login = tab.navigate("/login");
    let _other = tab.navigate("/");
    let headers = setting(["flow=1"]);
    let (arrival, page) = login.redirected(StatusCode::FOUND, &headers, "/");
    assert!(arrival.is_lost() && page.is_lost());
    assert!(answer(page, "id=1").is_lost());
    assert!(browser.names().is_empty());
}

#[test]
fn a_post_goes_on_as_a_get_unless_the_status_keeps_it() {
    let browser = browser();
    let statuses = [
        (301, "GET"),
        (302, "GET"),
        (303, "GET"),
        (307, "POST"),
        (308, "POST"),
    ];
    for (status, expected) in statuses {
        let request = browser.send(Call::navigation("/").method(http::Method::POST));
        let status = StatusCode::from_u16(status).unwrap();
        let (_, next) = request.redirected(status, &HeaderMap::new(), "/a");
        assert_eq!(next.method(), expected, "{status}");
    }
}

#[test]
fn a_tab_without_a_page_has_nothing_to_reload() {
    let browser = browser();
    let tab = browser.tab();
    assert!(tab.reload().is_none());
    let _under_way = tab.navigate("/");
    assert!(tab.reload().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_wakes_its_waiter() {
    let browser = browser();
    let tab = browser.tab();
    let (first, fetch) = (tab.navigate("/"), tab.send("/a"));
    assert!(first.lost().now_or_never().is_none());
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        tab.navigate("/")
    };
    let in_time = async |request: &Request| {
        let lost = timeout(Duration::from_secs(60), request.lost()).await;
        assert!(lost.is_ok(), "the waiter is not woken");
    };
    let ((), second) = tokio::join!(in_time(&first), second);
    assert!(fetch.lost().now_or_never().is_none());
    tab.close();
    in_time(&fetch).await;
    in_time(&second).await;
    assert!(browser.send("/").lost().now_or_never().is_none());
}

/// Thousands of browsers with overlapping requests take one thread, and no time.
#[tokio::test(start_paused = true)]
async fn browsers_are_cheap_and_a_run_of_them_replays() {
    async fn run() -> Vec<String> {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..2_000_u64 {
            tasks.spawn(async move {
                let browser = browser();
                let tab = browser.tab();
                set(&browser, "id=0");
                for (turn, wait) in [(1, number % 7), (2, number % 3)] {
                    let request = tab.navigate("/");
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    answer(request, &format!("id={turn}.{wait}"));
                }
                browser.value("id").unwrap()
            });
        }
        let mut values = Vec::new();
        while let Some(value) = tasks.join_next().await {
            values.push(value.unwrap());
        }
        values.sort();
        values
    }
    let values = run().await;
    assert_eq!(values.len(), 2_000);
    assert_eq!(run().await, values);
}
