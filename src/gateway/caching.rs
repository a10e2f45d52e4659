//! What caches may keep of an answer that depends on the session.
//!
//! An API counts on `Authorization`: a shared cache keeps no answer to a request with that field, unless the answer permits it
//! (RFC 9111 section 3.5). The browser's request has cookies in its place, to which that rule does not apply, so the answer says it.
//! And a browser may have another user by the next request, to whom its own cache would give the answer again.

use http::header::{CACHE_CONTROL, COOKIE, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};

use super::error::NO_STORE;

const PRIVATE: HeaderValue = HeaderValue::from_static("private");

/// Has shared caches keep no answer that depends on the session, and a browser give it to nobody but its user, unless the answer
/// says that it is for all. A page that says nothing at all is kept by no cache: a browser would show it again by its back button
/// after the logout.
pub(super) fn restrict(headers: &mut HeaderMap, is_page: bool) {
    let says = |name| has(headers, &CACHE_CONTROL, name);
    if says("no-store") || says("public") || says("s-maxage") {
        return;
    }
    if is_page && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, NO_STORE);
        return;
    }
    // `must-revalidate` permits what `Authorization` forbids (RFC 9111 section 3.5).
    if !says("private") && !says("must-revalidate") {
        headers.append(CACHE_CONTROL, PRIVATE);
    }
    if !has(headers, &VARY, COOKIE.as_str()) && !has(headers, &VARY, "*") {
        headers.append(VARY, HeaderValue::from_name(COOKIE));
    }
}

/// Whether a list has this element. One with an argument that names fields, `private="x-user"`, is about these alone.
fn has(headers: &HeaderMap, field: &HeaderName, name: &str) -> bool {
    let lines = headers.get_all(field).iter();
    let mut elements = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    elements.any(|element| {
        let (found, argument) = element.split_once('=').unwrap_or((element, ""));
        found.trim().eq_ignore_ascii_case(name) && !argument.trim_start().starts_with('"')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of `Cache-Control` after the restriction, and whether the answer varies with cookies.
    fn restricted(lines: &[&'static str], is_page: bool) -> (Vec<String>, bool) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        restrict(&mut headers, is_page);
        let lines = headers.get_all(CACHE_CONTROL).iter();
        let lines = lines.map(|line| line.to_str().unwrap().to_owned());
        (lines.collect(), headers.contains_key(VARY))
    }

    fn and_private(lines: &[&str]) -> Vec<String> {
        let lines = lines.iter().copied().chain(["private"]);
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn an_answer_that_says_nothing_is_private_and_a_page_is_not_kept_at_all() {
        assert_eq!(restricted(&[], false), (and_private(&[]), true));
        let page = vec!["no-store, private".to_owned()];
        assert_eq!(restricted(&[], true), (page, false));
    }

    #[test]
    fn what_an_answer_permits_the_browser_stays() {
        for lines in [
            &["max-age=60"][..],
            &["no-cache"],
            &["max-age=60", "immutable"],
            &["private=\"x-user\""],
            &["max-age=60, extension=public"],
        ] {
            let expected = (and_private(lines), true);
            assert_eq!(restricted(lines, true), expected);
            assert_eq!(restricted(lines, false), expected);
        }
    }

    #[test]
    fn an_answer_that_says_what_shared_caches_may_do_stays_as_it_is() {
        for (lines, varies) in [
            (&["no-store"][..], false),
            (&["max-age=60, Private"], true),
            (&["Public, max-age=60"], false),
            (&["max-age=60", "S-MaxAge=10"], false),
            (&["max-age=0 , must-revalidate"], true),
        ] {
            let expected: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(restricted(lines, true), (expected.clone(), varies));
            assert_eq!(restricted(lines, false), (expected, varies));
        }
    }

    #[test]
    fn what_an_answer_varies_with_stays() {
        for (lines, expected) in [
            (&["Accept"][..], &["Accept", "cookie"][..]),
            (&["Accept, Cookie"], &["Accept, Cookie"]),
            (&["*"], &["*"]),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(VARY, HeaderValue::from_static(line));
            }
            restrict(&mut headers, false);
            let lines: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(lines, expected);
        }
    }
}
