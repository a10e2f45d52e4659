//! How long and how many cookies may be, and which of them go.

use std::time::Duration;

use evertoken::testing::browser::{Outcome, Refusal};
use evertoken::testing::{Browser, TestClock};
use http::{HeaderMap, HeaderValue, StatusCode};
use proptest::prelude::*;

use crate::{ORIGIN, browser, refused, sent, set};

fn of_length(name: &str, length: usize) -> String {
    format!("{name}={}", "x".repeat(length - name.len()))
}

#[test]
fn name_and_value_have_4096_bytes_and_a_longer_cookie_leaves_the_old_value() {
    let browser = browser();
    assert_eq!(set(&browser, &of_length("id", 4_096)), Outcome::Stored);
    let stored = browser.value("id");
    assert_eq!(stored.as_ref().map(String::len), Some(4_094));
    let long = refused(Refusal::TooLong);
    assert_eq!(set(&browser, &of_length("id", 4_097)), long);
    let deletion = format!("{}; Max-Age=0", of_length("id", 4_097));
    assert_eq!(set(&browser, &deletion), long);
    assert_eq!(browser.value("id"), stored);
}

#[test]
fn attributes_count_for_nothing_in_the_length_of_a_cookie() {
    let browser = browser();
    let line = format!("{}; Path=/; Secure; HttpOnly", of_length("id", 4_096));
    assert_eq!(set(&browser, &line), Outcome::Stored);
}

#[test]
fn an_attribute_of_more_than_1024_bytes_is_dropped_and_the_cookie_is_kept() {
    let browser = browser();
    let path = |length: usize| format!("/{}", "p".repeat(length - 1));
    let line = format!("long=1; Path={}; Secure", path(1_025));
    assert_eq!(set(&browser, &line), Outcome::Stored);
    assert_eq!(sent(&browser, "/"), "long=1", "the default path");
    let line = format!("short=1; Path={}", path(1_024));
    assert_eq!(set(&browser, &line), Outcome::Stored);
    assert_eq!(sent(&browser, "/"), "long=1", "the path of the cookie");
    let of_its_path = sent(&browser, path(1_024));
    assert_eq!(of_its_path, "short=1; long=1");
}

#[test]
fn a_dropped_path_denies_a_host_cookie() {
    let browser = browser();
    let path = format!("/{}", "p".repeat(1_100));
    let line = format!("__Host-id=1; Secure; Path=/; Path={path}");
    assert_eq!(set(&browser, &line), Outcome::Stored);
    let line = format!("__Host-id=2; Secure; Path={path}");
    assert_eq!(set(&browser, &line), refused(Refusal::Prefix));
    assert_eq!(browser.value("__Host-id").as_deref(), Some("1"));
}

#[test]
fn of_201_cookies_170_are_left_and_the_first_ones_are_gone() {
    let browser = browser();
    for number in 0..201 {
        set(&browser, &format!("c{number:03}=1"));
    }
    let names = browser.names();
    assert_eq!(names.len(), 170);
    assert_eq!(names[0], "c031");
    assert_eq!(names[169], "c200");
}

#[test]
fn of_180_cookies_all_are_left() {
    let browser = browser();
    for number in 0..180 {
        set(&browser, &format!("c{number:03}=1"));
    }
    assert_eq!(browser.names().len(), 180);
    set(&browser, "c000=2");
    assert_eq!(browser.names().len(), 180, "one that takes another's place");
}

#[test]
fn a_secure_cookie_outlives_200_others() {
    let browser = browser();
    set(&browser, "id=1; Secure");
    for number in 0..200 {
        set(&browser, &format!("c{number:03}=1"));
    }
    assert_eq!(browser.value("id").as_deref(), Some("1"));
    assert_eq!(browser.value("c000"), None);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_is_sent_outlives_those_that_are_not() {
    let clock = TestClock::new();
    let browser = Browser::with_clock(ORIGIN, clock.clone()).unwrap();
    set(&browser, "used=1; Path=/used");
    for number in 0..179 {
        set(&browser, &format!("c{number:03}=1; Path=/others"));
    }
    // Chromium notes no use within a minute of the last one.
    clock.advance(Duration::from_secs(60)).await;
    assert_eq!(sent(&browser, "/used"), "used=1");
    set(&browser, "last=1");
    assert_eq!(browser.names().len(), 150);
    assert_eq!(browser.value("used").as_deref(), Some("1"));
    assert_eq!(browser.value("c030"), None);
    assert!(browser.value("c031").is_some());
}

#[test]
fn a_browser_sends_120_kilobytes_of_cookies_in_one_field() {
    let browser = browser();
    for number in 10..40 {
        set(&browser, &of_length(&format!("c{number}"), 4_095));
    }
    assert_eq!(sent(&browser, "/").len(), 30 * 4_096 + 29 * 2);
}

#[test]
fn a_line_that_no_browser_of_tests_reads_is_refused() {
    let browser = browser();
    for line in [&b""[..], b"id", b"=1", b"; Path=/", b"id=\xff"] {
        let line = HeaderValue::from_bytes(line).unwrap();
        let headers = HeaderMap::from_iter([(http::header::SET_COOKIE, line.clone())]);
        let arrival = browser.send("/").arrived(StatusCode::OK, &headers);
        let outcome = arrival.verdicts()[0].outcome;
        assert_eq!(outcome, refused(Refusal::Malformed), "{line:?}");
    }
    let verdict = browser.script_sets("/", "id=a\nb");
    assert_eq!(verdict.outcome, refused(Refusal::Malformed));
    assert!(browser.names().is_empty());
}

proptest! {
    /// A line is stored and sent back as it came, or it is refused. Nothing panics.
    #[test]
    fn every_line_has_an_outcome(
        line in "(__Host-)?[a-zé =\"]{0,6}=?[ -~é]{0,12}(; ?(Path|Domain|Max-Age|Expires|SameSite|Secure)=?[ -~é]{0,30}){0,4}",
        path in "[ -~é]{0,12}",
    ) {
        let browser = browser();
        let Ok(line) = HeaderValue::from_bytes(line.as_bytes()) else { return Ok(()) };
        let headers = HeaderMap::from_iter([(http::header::SET_COOKIE, line)]);
        let arrival = browser.send(path).arrived(StatusCode::OK, &headers);
        let verdict = &arrival.verdicts()[0];
        let names = browser.names();
        match verdict.outcome {
            Outcome::Stored => prop_assert_eq!(names, [verdict.name.clone()]),
            _ => prop_assert!(names.is_empty()),
        }
    }
}
