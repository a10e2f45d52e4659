//! Which response decides about a cookie, and how cookies travel.

use evertoken::testing::browser::Outcome;
use evertoken::testing::{Browser, TestClock};
use http::{StatusCode, Version};

use crate::{ORIGIN, answer, browser, sent, set, setting};

#[test]
fn the_last_arrival_decides_and_not_the_last_request() {
    let browser = browser();
    let (first, second) = (browser.send("/a"), browser.send("/b"));
    answer(second, "id=of the second");
    answer(first, "id=of the first");
    assert_eq!(browser.value("id").as_deref(), Some("of the first"));
}

#[test]
fn a_late_deletion_deletes_what_a_later_request_brought() {
    let browser = browser();
    set(&browser, "id=1");
    let refused = browser.send("/a");
    set(&browser, "id=2");
    let arrival = answer(refused, "id=; Max-Age=0");
    assert_eq!(arrival.of("id"), Some(Outcome::Deleted));
    assert_eq!(browser.value("id"), None);
}

#[test]
fn a_request_has_the_cookies_of_the_moment_at_which_it_was_sent() {
    let browser = browser();
    set(&browser, "id=1");
    let request = browser.send("/a");
    set(&browser, "id=2");
    assert_eq!(request.cookies(), ["id=1"]);
    assert_eq!(sent(&browser, "/a"), "id=2");
}

#[test]
fn an_aborted_request_stores_nothing() {
    let browser = browser();
    let (aborted, dropped) = (browser.send("/a"), browser.send("/b"));
    aborted.aborted();
    drop(dropped);
    assert!(browser.names().is_empty());
}

#[test]
fn every_status_stores_cookies() {
    for status in [101, 201, 204, 304, 401, 403, 404, 429, 500, 503] {
        let browser = browser();
        let status = StatusCode::from_u16(status).unwrap();
        let arrival = browser
            .send("/a")
            .arrived(status, &setting(["id=1", "other=2"]));
        assert!(!arrival.is_lost(), "{status}");
        assert_eq!(browser.names(), ["id", "other"], "{status}");
    }
}

#[test]
fn the_last_field_of_a_response_decides() {
    let browser = browser();
    let headers = setting(["id=1", "id=2", "id=; Max-Age=0", "id=3"]);
    let arrival = browser.send("/").arrived(StatusCode::OK, &headers);
    assert_eq!(arrival.verdicts().len(), 4);
    assert_eq!(arrival.of("id"), Some(Outcome::Stored));
    assert_eq!(arrival.of("other"), None);
    assert_eq!(browser.value("id").as_deref(), Some("3"));
}

#[test]
fn a_chunk_that_is_not_set_again_stays() {
    let browser = browser();
    let three = setting(["id.0=a", "id.1=b", "id.2=c"]);
    browser.send("/").arrived(StatusCode::OK, &three);
    let two = setting(["id.0=d", "id.1=e"]);
    browser.send("/").arrived(StatusCode::OK, &two);
    assert_eq!(browser.value("id.2").as_deref(), Some("c"));
}

#[test]
fn http_2_has_a_field_for_each_cookie_and_http_1_one_for_all() {
    let browser = browser();
    let lines = ["__Host-Http-a=1; Path=/; Secure; HttpOnly", "b=2", "c=3"];
    browser.send("/").arrived(StatusCode::OK, &setting(lines));
    let request = browser.send("/");
    let fields = |version| {
        let headers = request.headers(version);
        let fields = headers.get_all("cookie").into_iter();
        let fields: Vec<_> = fields.map(|it| it.to_str().unwrap().to_owned()).collect();
        fields
    };
    let each = ["__Host-Http-a=1", "b=2", "c=3"];
    assert_eq!(fields(Version::HTTP_2), each);
    assert_eq!(fields(Version::HTTP_3), each);
    assert_eq!(fields(Version::HTTP_11), [each.join("; ")]);
}

#[test]
fn a_browser_without_cookies_sends_no_field() {
    let request = browser().send("/");
    for version in [Version::HTTP_11, Version::HTTP_2] {
        assert!(!request.headers(version).contains_key("cookie"));
    }
    assert_eq!(request.cookie(), None);
}

#[test]
fn two_browsers_share_no_cookie_and_clones_share_all() {
    let (mine, other) = (browser(), browser());
    set(&mine.clone(), "id=1");
    assert_eq!(mine.value("id").as_deref(), Some("1"));
    assert_eq!(other.value("id"), None);
    mine.clear();
    assert_eq!(mine.value("id"), None);
}

#[test]
fn no_output_has_a_cookie_or_a_query() {
    let browser = Browser::with_clock(ORIGIN, TestClock::new()).unwrap();
    set(&browser, "id=secret");
    let tab = browser.tab();
    let request = tab.navigate("/callback?code=secret");
    let shown = format!("{browser:?} {request:?} {:?}", request.cookies());
    let shown = format!("{shown} {:?}", request.headers(Version::HTTP_11));
    let arrival = answer(request, "id=secret");
    let shown = format!("{shown} {arrival:?} {tab:?} {browser:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn browsers_and_their_requests_go_to_other_threads() {
    fn goes<T: Send + Sync + 'static>(_: &T) {}
    let browser = browser();
    goes(&browser);
    goes(&browser.tab());
    goes(&browser.send("/"));
}
