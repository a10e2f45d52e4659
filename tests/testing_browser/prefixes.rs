//! Names whose prefix asks for attributes.

use evertoken::testing::browser::{Outcome, Refusal};

use crate::{browser, refused, set};

#[test]
fn a_prefix_asks_for_its_attributes() {
    for (line, is_stored) in [
        ("__Secure-id=1; Secure", true),
        ("__Secure-id=1", false),
        ("__Host-id=1; Secure; Path=/", true),
        ("__Host-id=1; Path=/", false),
        ("__Host-id=1; Secure", false),
        ("__Host-id=1; Secure; Path=/a", false),
        ("__Host-id=1; Secure; Path=/; Domain=app.example.org", false),
        ("__Http-id=1; Secure; HttpOnly", true),
        ("__Http-id=1; Secure", false),
        ("__Http-id=1; HttpOnly", false),
        ("__Host-Http-id=1; Secure; Path=/; HttpOnly", true),
        ("__Host-Http-id=1; Secure; Path=/", false),
        ("__Host-Http-id=1; Secure; HttpOnly", false),
        ("__Host-Http-id=1; Path=/; HttpOnly", false),
        (
            "__Host-Http-id=1; Secure; Path=/; HttpOnly; Domain=example.org",
            false,
        ),
        ("__hOST-id=1; Path=/", false),
        ("__hosT-hTTP-id=1; Secure; Path=/", false),
        ("__Hostid=1", true),
    ] {
        let outcome = match is_stored {
            true => Outcome::Stored,
            false => refused(Refusal::Prefix),
        };
        assert_eq!(set(&browser(), line), outcome, "{line}");
    }
}

#[test]
fn a_script_plants_a_host_cookie_and_no_host_http_one() {
    let browser = browser();
    let planted = browser.script_sets("/", "__Host-id=planted; Secure; Path=/");
    assert_eq!(planted.outcome, Outcome::Stored);
    for line in ["__Host-Http-id=1; Secure; Path=/", "__Http-id=1; Secure"] {
        let verdict = browser.script_sets("/", line);
        assert_eq!(verdict.outcome, refused(Refusal::Prefix), "{line}");
        let line = format!("{line}; HttpOnly");
        let verdict = browser.script_sets("/", &line);
        assert_eq!(verdict.outcome, refused(Refusal::HttpOnly), "{line}");
    }
    assert_eq!(browser.names(), ["__Host-id"]);
}
