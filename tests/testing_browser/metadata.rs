//! What the header fields of a request state about it.

use evertoken::testing::Browser;
use evertoken::testing::browser::{Call, Initiator, Kind};
use http::{HeaderMap, Method, Version};

use crate::browser;

fn headers(browser: &Browser, call: Call) -> HeaderMap {
    browser.send(call).headers(Version::HTTP_2)
}

fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("-", |it| it.to_str().unwrap())
}

/// `Sec-Fetch-Site`, `-Mode`, `-Dest` and `Sec-Purpose`.
fn metadata(call: Call) -> [String; 4] {
    let headers = headers(&browser(), call);
    let names = [
        "sec-fetch-site",
        "sec-fetch-mode",
        "sec-fetch-dest",
        "sec-purpose",
    ];
    names.map(|name| field(&headers, name).to_owned())
}

#[test]
fn each_kind_has_its_mode_and_destination() {
    for (kind, expected) in [
        (Kind::Navigation, ["none", "navigate", "document", "-"]),
        (Kind::Frame, ["same-origin", "navigate", "iframe", "-"]),
        (Kind::Fetch, ["same-origin", "cors", "empty", "-"]),
        (Kind::Image, ["same-origin", "no-cors", "image", "-"]),
        (Kind::EventSource, ["same-origin", "cors", "empty", "-"]),
    ] {
        assert_eq!(metadata(Call::new(kind, "/")), expected, "{kind:?}");
    }
}

#[test]
fn a_prefetch_states_its_purpose() {
    let expected = ["same-origin", "no-cors", "empty", "prefetch"];
    assert_eq!(metadata(Call::new(Kind::Prefetch, "/")), expected);
}

#[test]
fn a_page_loaded_ahead_looks_like_a_page_but_for_its_purpose() {
    for (kind, purpose) in [
        (Kind::PrefetchedPage, "prefetch"),
        (Kind::Prerender, "prefetch;prerender"),
    ] {
        for initiator in [Initiator::User, Initiator::SameOrigin] {
            let call = Call::new(kind, "/").initiator(initiator);
            let expected = ["none", "navigate", "document", purpose];
            assert_eq!(metadata(call), expected);
        }
    }
}

#[test]
fn the_initiator_decides_the_site() {
    for (initiator, site) in [
        (Initiator::User, "none"),
        (Initiator::SameOrigin, "same-origin"),
        (Initiator::SameSite, "same-site"),
        (Initiator::CrossSite, "cross-site"),
    ] {
        for kind in [Kind::Navigation, Kind::Fetch] {
            let call = Call::new(kind, "/").initiator(initiator);
            assert_eq!(metadata(call)[0], site, "{kind:?}");
        }
    }
}

#[test]
fn a_websocket_handshake_has_an_origin_and_no_fetch_metadata() {
    let browser = Browser::new("http://localhost:8080").unwrap();
    for (initiator, origin) in [
        (Initiator::SameOrigin, "http://localhost:8080"),
        (Initiator::SameSite, "http://localhost:8081"),
        (Initiator::CrossSite, "https://another-site.example"),
    ] {
        let call = Call::new(Kind::WebSocket, "/ws").initiator(initiator);
        assert_eq!(browser.send(call.clone()).method(), Method::GET);
        let headers = headers(&browser, call);
        assert_eq!(field(&headers, "origin"), origin);
        assert_eq!(headers.len(), 1, "{headers:?}");
    }
}

#[test]
fn a_read_of_the_own_pages_has_no_origin_and_a_write_has_one() {
    let browser = browser();
    for kind in [
        Kind::Navigation,
        Kind::Fetch,
        Kind::Image,
        Kind::EventSource,
    ] {
        let own = || Call::new(kind, "/").initiator(Initiator::SameOrigin);
        assert_eq!(field(&headers(&browser, own()), "origin"), "-", "{kind:?}");
        let post = own().method(Method::POST);
        let origin = "https://app.example.org";
        assert_eq!(field(&headers(&browser, post), "origin"), origin);
    }
}

#[test]
fn a_read_of_another_origin_has_an_origin_if_a_script_reads_it() {
    let browser = browser();
    let of = |kind, initiator| {
        let headers = headers(&browser, Call::new(kind, "/").initiator(initiator));
        field(&headers, "origin").to_owned()
    };
    let (sibling, other) = (
        "https://app.example.org:444",
        "https://another-site.example",
    );
    for kind in [Kind::Fetch, Kind::EventSource] {
        assert_eq!(of(kind, Initiator::SameSite), sibling);
        assert_eq!(of(kind, Initiator::CrossSite), other);
    }
    for kind in [Kind::Navigation, Kind::Image, Kind::Frame] {
        assert_eq!(of(kind, Initiator::CrossSite), "-");
    }
    let post = Call::navigation("/").initiator(Initiator::CrossSite);
    let headers = headers(&browser, post.method(Method::POST));
    assert_eq!(field(&headers, "origin"), other);
}

#[test]
fn an_origin_in_the_clear_gets_no_fetch_metadata_and_loopback_does() {
    let in_the_clear = Browser::new("http://app.example.org").unwrap();
    let got = headers(&in_the_clear, Call::navigation("/"));
    assert_eq!(field(&got, "sec-fetch-site"), "-");
    let loopback = Browser::new("http://127.0.0.1:8080").unwrap();
    let got = headers(&loopback, Call::navigation("/"));
    assert_eq!(field(&got, "sec-fetch-site"), "none");
}

#[test]
fn pages_streams_and_other_requests_accept_what_they_are() {
    let accept = |kind| {
        let headers = headers(&browser(), Call::new(kind, "/"));
        field(&headers, "accept").to_owned()
    };
    assert!(accept(Kind::Navigation).starts_with("text/html,"));
    for ahead in [Kind::Prefetch, Kind::PrefetchedPage, Kind::Prerender] {
        assert!(accept(ahead).starts_with("text/html,"), "{ahead:?}");
    }
    assert_eq!(accept(Kind::EventSource), "text/event-stream");
    assert_eq!(accept(Kind::Fetch), "*/*");
}
