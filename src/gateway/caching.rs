//! What caches may keep of an answer that depends on the session.
//!
//! An API counts on `Authorization`: a shared cache keeps no answer to a request with that field, unless the answer permits it
//! (RFC 9111 section 3.5). The browser's request has cookies in its place, to which that rule does not apply, so the answer says it.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};

use super::error::NO_STORE;

const PRIVATE: HeaderValue = HeaderValue::from_static("private");

/// What settles the question for shared caches, or permits an answer to a request with `Authorization`.
const SETTLED: [&str; 5] = [
    "private",
    "no-store",
    "public",
    "must-revalidate",
    "s-maxage",
];

/// Forbids shared caches to keep an answer that depends on the session, unless it says what they may do. A page that says nothing
/// at all is kept by no cache: a browser would show it again by its back button after the logout.
pub(super) fn restrict(headers: &mut HeaderMap, is_page: bool) {
    if !headers.contains_key(CACHE_CONTROL) {
        let value = if is_page { NO_STORE } else { PRIVATE };
        headers.insert(CACHE_CONTROL, value);
    } else if !is_settled(headers) {
        headers.append(CACHE_CONTROL, PRIVATE);
    }
}

fn is_settled(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let mut directives = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    directives.any(|directive| {
        // `private="field"` is about that field alone.
        let name = match directive.split_once('=') {
            Some((name, _)) if !name.trim().eq_ignore_ascii_case("private") => name,
            Some(_) => return false,
            None => directive,
        };
        let name = name.trim();
        SETTLED
            .iter()
            .any(|settled| name.eq_ignore_ascii_case(settled))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of `Cache-Control` after the restriction.
    fn restricted(lines: &[&'static str], is_page: bool) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
        }
        restrict(&mut headers, is_page);
        let lines = headers.get_all(CACHE_CONTROL).iter();
        lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn an_answer_that_says_nothing_is_private_and_a_page_is_not_kept_at_all() {
        assert_eq!(restricted(&[], false), ["private"]);
        assert_eq!(restricted(&[], true), ["no-store, private"]);
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
            let expected: Vec<_> = lines.iter().copied().chain(["private"]).collect();
            assert_eq!(restricted(lines, true), expected);
            assert_eq!(restricted(lines, false), expected);
        }
    }

    #[test]
    fn an_answer_that_says_what_shared_caches_may_do_stays_as_it_is() {
        for lines in [
            &["no-store"][..],
            &["max-age=60, Private"],
            &["Public, max-age=60"],
            &["max-age=60", "S-MaxAge=10"],
            &["max-age=0 , must-revalidate"],
        ] {
            assert_eq!(restricted(lines, true), *lines);
            assert_eq!(restricted(lines, false), *lines);
        }
    }
}
