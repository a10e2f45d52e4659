//! Which cookies go along with a request of another page, and which ones its response may set.

use std::time::Duration;

use evertoken::testing::browser::{Call, Initiator, Kind, Outcome, Refusal};
use evertoken::testing::{Browser, TestClock};
use http::{HeaderMap, Method, StatusCode};

use crate::{ORIGIN, answer, browser, outcome_of, refused, sent, set, setting};

const KINDS: [Kind; 9] = [
    Kind::Navigation,
    Kind::Frame,
    Kind::Fetch,
    Kind::Image,
    Kind::EventSource,
    Kind::WebSocket,
    Kind::Prefetch,
    Kind::PrefetchedPage,
    Kind::Prerender,
];

const LINES: [&str; 4] = [
    "strict=1; SameSite=Strict",
    "lax=1; SameSite=Lax",
    "none=1; SameSite=None; Secure",
    "unset=1",
];

const ALL: &str = "strict=1; lax=1; none=1; unset=1";

fn with_all() -> (Browser, TestClock) {
    let clock = TestClock::new();
    let browser = Browser::with_clock(ORIGIN, clock.clone()).unwrap();
    browser.send("/").arrived(StatusCode::OK, &setting(LINES));
    (browser, clock)
}

fn from_another_site(kind: Kind) -> Call {
    Call::new(kind, "/").initiator(Initiator::CrossSite)
}

#[test]
fn the_user_and_pages_of_the_same_site_send_every_cookie() {
    let (browser, _) = with_all();
    for initiator in [Initiator::User, Initiator::SameOrigin, Initiator::SameSite] {
        for kind in KINDS {
            for method in [Method::GET, Method::POST] {
                let call = Call::new(kind, "/").initiator(initiator).method(method);
                assert_eq!(sent(&browser, call.clone()), ALL, "{call:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_of_another_site_sends_lax_cookies() {
    let (browser, clock) = with_all();
    clock.advance(Duration::from_secs(600)).await;
    let call = from_another_site(Kind::Navigation);
    assert_eq!(sent(&browser, call), "lax=1; none=1; unset=1");
}

#[tokio::test(start_paused = true)]
async fn a_post_of_another_site_sends_no_lax_cookie_unless_it_is_unset_and_young() {
    let (browser, clock) = with_all();
    let post = || from_another_site(Kind::Navigation).method(Method::POST);
    clock.advance(Duration::from_secs(120)).await;
    assert_eq!(sent(&browser, post()), "none=1; unset=1");
    clock.advance(Duration::from_secs(1)).await;
    assert_eq!(sent(&browser, post()), "none=1");
}

#[test]
fn what_is_no_navigation_of_the_user_sends_no_lax_cookie_from_another_site() {
    let (browser, _) = with_all();
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Navigation) {
        assert_eq!(
            sent(&browser, from_another_site(kind)),
            "none=1",
            "{kind:?}"
        );
    }
}

#[test]
fn a_websocket_of_another_port_sends_lax_and_strict_cookies() {
    let browser = Browser::new("http://localhost:8080").unwrap();
    browser.send("/").arrived(StatusCode::OK, &setting(LINES));
    let call = Call::new(Kind::WebSocket, "/ws").initiator(Initiator::SameSite);
    assert_eq!(sent(&browser, call), ALL);
}

#[test]
fn only_a_navigation_of_another_site_sets_cookies_other_than_none() {
    for kind in KINDS {
        let navigates = kind == Kind::Navigation;
        for line in LINES {
            let is_stored = navigates || line.contains("None");
            let outcome = match is_stored {
                true => Outcome::Stored,
                false => refused(Refusal::CrossSite),
            };
            let set = outcome_of(&browser(), from_another_site(kind), line);
            assert_eq!(set, outcome, "{kind:?} {line}");
        }
    }
    let post = from_another_site(Kind::Navigation).method(Method::POST);
    assert_eq!(outcome_of(&browser(), post, LINES[0]), Outcome::Stored);
}

#[test]
fn a_cookie_for_every_site_has_to_be_secure() {
    let outcome = set(&browser(), "id=1; SameSite=None");
    assert_eq!(outcome, refused(Refusal::NotSecure));
}

#[test]
fn a_websocket_handshake_stores_the_cookies_of_its_101() {
    let browser = browser();
    let handshake = browser.send(Call::new(Kind::WebSocket, "/ws"));
    let status = StatusCode::SWITCHING_PROTOCOLS;
    handshake.arrived(status, &setting(["id=1; SameSite=Strict"]));
    assert_eq!(browser.value("id").as_deref(), Some("1"));
}

#[test]
fn the_page_after_a_sign_in_elsewhere_gets_no_strict_cookie_and_its_requests_do() {
    let browser = browser();
    let tab = browser.tab();
    let callback = Call::navigation("/callback?code=a").initiator(Initiator::CrossSite);
    let headers = setting(["strict=1; SameSite=Strict", "lax=1; SameSite=Lax"]);
    let (_, page) = tab
        .send(callback)
        .redirected(StatusCode::FOUND, &headers, "/");
    assert_eq!(page.cookies(), ["lax=1"]);
    page.arrived(StatusCode::OK, &HeaderMap::new());
    assert_eq!(tab.send("/api").cookies(), ["strict=1", "lax=1"]);
}

#[test]
fn the_page_after_a_sign_in_elsewhere_gets_a_strict_cookie_from_a_refresh_of_the_callback() {
    let browser = browser();
    let tab = browser.tab();
    let callback = Call::navigation("/callback?code=a").initiator(Initiator::CrossSite);
    answer(tab.send(callback), "strict=1; SameSite=Strict");
    let refresh = Call::navigation("/").initiator(Initiator::SameOrigin);
    assert_eq!(tab.send(refresh).cookies(), ["strict=1"]);
}

#[test]
fn a_reload_of_a_page_that_another_site_linked_to_gets_no_strict_cookie_either() {
    let (browser, _) = with_all();
    let tab = browser.tab();
    let link = tab.send(from_another_site(Kind::Navigation));
    link.arrived(StatusCode::OK, &HeaderMap::new());
    for _ in 0..3 {
        let reload = tab.reload().unwrap();
        assert_eq!(reload.cookies(), ["lax=1", "none=1", "unset=1"]);
        reload.arrived(StatusCode::OK, &HeaderMap::new());
    }
    let typed = tab.navigate("/");
    assert_eq!(typed.cookie().unwrap(), ALL);
    typed.arrived(StatusCode::OK, &HeaderMap::new());
    assert_eq!(tab.reload().unwrap().cookie().unwrap(), ALL);
}
