//! Which hosts, paths and scripts get a cookie.

use evertoken::testing::Browser;
use evertoken::testing::browser::{Outcome, Refusal};
use http::StatusCode;

use crate::{browser, outcome_of, refused, sent, set, setting};

#[test]
fn a_path_covers_what_is_below_it_and_not_what_begins_like_it() {
    let browser = browser();
    set(&browser, "id=1; Path=/a");
    set(&browser, "slash=1; Path=/b/");
    for (path, expected) in [
        ("/a", "id=1"),
        ("/a/", "id=1"),
        ("/a/b?c=d", "id=1"),
        ("/a?b", "id=1"),
        ("/ab", ""),
        ("/", ""),
        ("/b", ""),
        ("/b/c", "slash=1"),
    ] {
        assert_eq!(sent(&browser, path), expected, "{path}");
    }
}

#[test]
fn a_cookie_without_a_path_has_the_folder_of_the_request() {
    for (path, expected) in [
        ("/auth/login?a=/b", "/auth"),
        ("/login", "/"),
        ("/", "/"),
        ("/a/b/", "/a/b"),
    ] {
        let browser = browser();
        outcome_of(&browser, path, "id=1; Path=relative");
        assert_eq!(sent(&browser, expected), "id=1", "{path}");
        if expected != "/" {
            assert_eq!(sent(&browser, "/"), "", "{path}");
        }
    }
}

#[test]
fn longer_paths_come_first_and_then_the_cookie_that_was_set_first() {
    let browser = browser();
    let lines = [
        "b=1; Path=/",
        "a=1; Path=/",
        "c=1; Path=/api",
        "id=1; Path=/",
        "id=2; Path=/api",
    ];
    browser.send("/").arrived(StatusCode::OK, &setting(lines));
    assert_eq!(sent(&browser, "/api/x"), "c=1; id=2; b=1; a=1; id=1");
    assert_eq!(browser.value("id").as_deref(), Some("2"));
}

#[test]
fn a_cookie_keeps_its_place_only_if_its_value_stays() {
    let browser = browser();
    browser
        .send("/")
        .arrived(StatusCode::OK, &setting(["a=1", "b=1"]));
    set(&browser, "a=1");
    assert_eq!(sent(&browser, "/"), "a=1; b=1");
    set(&browser, "a=2");
    assert_eq!(sent(&browser, "/"), "b=1; a=2");
}

#[test]
fn a_domain_is_the_host_or_a_parent_of_it() {
    let browser = browser();
    for (domain, outcome) in [
        ("app.example.org", Outcome::Stored),
        ("example.org", Outcome::Stored),
        (".Example.ORG", Outcome::Stored),
        ("org", refused(Refusal::Domain)),
        ("other.org", refused(Refusal::Domain)),
        ("pp.example.org", refused(Refusal::Domain)),
        ("sub.app.example.org", refused(Refusal::Domain)),
    ] {
        let line = format!("id=1; Domain={domain}");
        assert_eq!(set(&browser, &line), outcome, "{domain}");
    }
}

#[test]
fn a_cookie_of_the_host_and_one_of_its_domain_are_two() {
    let browser = browser();
    set(&browser, "id=host");
    set(&browser, "id=domain; Domain=example.org");
    assert_eq!(sent(&browser, "/"), "id=host; id=domain");
}

#[test]
fn an_address_and_a_single_label_have_no_domain_but_themselves() {
    for (origin, own, foreign) in [
        ("http://127.0.0.1:8080", "127.0.0.1", "0.0.1"),
        ("http://localhost:8080", "localhost", "host"),
    ] {
        let browser = Browser::new(origin).unwrap();
        set(&browser, "id=1");
        assert_eq!(
            set(&browser, &format!("id=2; Domain={own}")),
            Outcome::Stored
        );
        assert_eq!(sent(&browser, "/"), "id=2", "one cookie of the host");
        let outcome = set(&browser, &format!("id=3; Domain={foreign}"));
        assert_eq!(outcome, refused(Refusal::Domain));
    }
}

#[test]
fn loopback_in_the_clear_counts_as_secure() {
    for origin in [
        "http://127.0.0.1:8080",
        "http://[::1]",
        "http://localhost",
        "http://app.localhost",
    ] {
        let browser = Browser::new(origin).unwrap();
        assert_eq!(set(&browser, "id=1; Secure"), Outcome::Stored, "{origin}");
        let line = "__Host-id=1; Secure; Path=/";
        assert_eq!(set(&browser, line), Outcome::Stored, "{origin}");
        assert_eq!(sent(&browser, "/"), "id=1; __Host-id=1", "{origin}");
    }
}

#[test]
fn another_origin_in_the_clear_has_no_secure_cookie() {
    let browser = Browser::new("http://app.example.org").unwrap();
    let not_secure = refused(Refusal::NotSecure);
    assert_eq!(set(&browser, "id=1; Secure"), not_secure);
    assert_eq!(set(&browser, "id=1"), Outcome::Stored);
}

#[test]
fn a_script_sees_and_replaces_no_http_only_cookie() {
    let browser = browser();
    set(&browser, "id=1; HttpOnly");
    set(&browser, "theme=dark");
    assert_eq!(browser.document_cookie("/"), "theme=dark");
    let http_only = refused(Refusal::HttpOnly);
    assert_eq!(browser.script_sets("/", "id=2").outcome, http_only);
    let deletion = browser.script_sets("/", "id=; Max-Age=0");
    assert_eq!(deletion.outcome, http_only);
    let own = browser.script_sets("/", "own=1; HttpOnly");
    assert_eq!(own.outcome, http_only);
    assert_eq!(sent(&browser, "/"), "id=1; theme=dark");
    let theme = browser.script_sets("/", "theme=light");
    assert_eq!((&*theme.name, theme.outcome), ("theme", Outcome::Stored));
    assert_eq!(sent(&browser, "/"), "id=1; theme=light");
}

#[test]
fn a_path_never_leads_to_another_host() {
    let browser = browser();
    for (path, expected) in [
        (
            "//other.example/",
            "https://app.example.org//other.example/",
        ),
        ("a", "https://app.example.org/a"),
        ("/a?b=c#d", "https://app.example.org/a?b=c"),
        ("/a b", "https://app.example.org/a%20b"),
    ] {
        assert_eq!(browser.send(path).url(), expected);
    }
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    for origin in [
        "app.example.org",
        "ftp://a",
        "https://a/b",
        "https://a?b",
        "https://u:secret@a",
        "https://a#b",
    ] {
        let error = Browser::new(origin).unwrap_err().to_string();
        assert!(error.contains("like https://app.example.org"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
