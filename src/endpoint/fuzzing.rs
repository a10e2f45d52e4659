//! The parsers of servers' answers, as functions of bytes. Each function panics if a rule of its parser does not hold.

#[cfg(feature = "folio")]
use http::header::SET_COOKIE;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::time::Duration;
use zeroize::Zeroizing;

use super::json::steps_of;
use super::oauth2::{self, Answer};
use super::quote::Secrets;
use super::reply::{Broken, Reply};
use super::time::{retry_after, server_time};
use super::{Codes, EndpointError};

/// The secret of every request: long enough that a part of it identifies it.
pub(crate) const SECRET: &str = "sesame-0pen-the-d00r";

/// The number of times that a byte of an OAuth2 answer is read at most: in the body, in an object two levels down and in an
/// array on the way to each; and all of that from each of four places after a notice.
const STEPS: usize = 4 * 6;

/// Reads a `Retry-After` and, on a line of its own, a `Date`.
pub(crate) fn headers(input: &[u8]) {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [RETRY_AFTER, DATE] {
        let value = lines.next().map(HeaderValue::from_bytes);
        if let Some(Ok(value)) = value {
            headers.insert(name, value);
        }
    }
    let wall = Duration::from_secs(784_111_777);
    let now = server_time(&headers);
    let after = retry_after(&headers, wall);
    assert!(after.is_none() || headers.contains_key(RETRY_AFTER));
    assert!(now.is_none() || headers.contains_key(DATE));
}

/// Reads an OAuth2 answer. The first byte chooses the status, and whether the rest, which is the body, broke off. Returns
/// the resulting errors.
pub(crate) fn oauth2_answer(input: &[u8]) -> Vec<EndpointError> {
    let Some((first, body)) = input.split_first() else {
        return Vec::new();
    };
    let statuses = [200, 400, 401, 429, 503, 302, 500];
    let status = statuses[usize::from(first >> 1) % statuses.len()];
    let is_whole = first & 1 == 0;
    let (steps, answer) = steps_of(|| Answer::read(body, is_whole));
    assert!(steps <= STEPS * body.len(), "{steps} steps");
    if is_whole {
        agrees_with_a_parser(body, &answer);
    }
    let reply = || {
        let broken = (!is_whole).then_some(Broken::TooLong { limit: body.len() });
        reply(status, HeaderMap::new(), body, broken)
    };
    let secrets = || Secrets::of(&[SECRET]);
    let codes = Codes::default();
    let exchanged = oauth2::exchange(reply(), &codes, secrets());
    if let Ok(issued) = &exchanged {
        assert!(!issued.is_empty());
    }
    let revoked = oauth2::revocation(reply(), &codes, secrets());
    exchanged.err().into_iter().chain(revoked.err()).collect()
}

fn reply(status: u16, headers: HeaderMap, body: &[u8], broken: Option<Broken>) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let body = Zeroizing::new(body.to_vec());
    Reply::new(status, headers, body, broken, Duration::from_secs(1))
}

/// Checks that the reader finds each token that a parser finds.
fn agrees_with_a_parser(body: &[u8], answer: &Answer) {
    let Ok(serde_json::Value::Object(parsed)) = serde_json::from_slice(body) else {
        return;
    };
    for (name, read) in [
        ("access_token", answer.access_token()),
        ("refresh_token", answer.refresh_token()),
    ] {
        let text = parsed.get(name).and_then(|value| value.as_str());
        if text.is_some_and(|text| !text.is_empty()) {
            assert!(read.is_some(), "{name}");
        }
    }
}

/// Reads an answer of FOLIO's login service. The first byte chooses the status and the request; cookies follow, one on each
/// line, and after an empty line the body. Returns the resulting errors.
#[cfg(feature = "folio")]
pub(crate) fn folio_answer(input: &[u8]) -> Vec<EndpointError> {
    use super::folio::{self, Asked, Mode};

    let Some((first, rest)) = input.split_first() else {
        return Vec::new();
    };
    let statuses = [201, 200, 400, 422, 429, 503, 302, 500];
    let status = statuses[usize::from(first & 7)];
    let asked = [Asked::Refresh, Asked::SignIn, Asked::LegacyLogin];
    let asked = asked[usize::from(first >> 3) % asked.len()];
    let mode = [Mode::Okapi, Mode::Eureka][usize::from(first >> 7)];
    let (cookies, body) = match rest.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (&rest[..end], &rest[end + 2..]),
        None => (&rest[..0], rest),
    };
    let headers = set_cookies(cookies);
    let reply = || reply(status, headers.clone(), body, None);
    let secrets = Secrets::of(&[SECRET]);
    let (steps, judged) = steps_of(|| folio::exchange(reply(), mode, asked, &secrets));
    // Members, a list in one, an object in that, and its members; and all of that again for the text of an error.
    assert!(steps <= 8 * body.len(), "{steps} steps");
    if let Ok(issued) = &judged {
        assert!(!issued.is_empty());
    }
    let ended = folio::logout(reply(), &secrets);
    judged.err().into_iter().chain(ended.err()).collect()
}

#[cfg(feature = "folio")]
fn set_cookies(lines: &[u8]) -> HeaderMap {
    let lines = lines.split(|byte| *byte == b'\n');
    let cookies = lines.filter_map(|line| HeaderValue::from_bytes(line).ok());
    cookies.map(|cookie| (SET_COOKIE, cookie)).collect()
}

/// Reads cookies as an answer sets them, one on each line, and builds the header that sends them back.
#[cfg(feature = "folio")]
pub(crate) fn folio_cookies(input: &[u8]) {
    use super::folio::{ACCESS_COOKIE, REFRESH_COOKIE, cookie, cookie_header};

    let headers = set_cookies(input);
    for name in [ACCESS_COOKIE, REFRESH_COOKIE] {
        let Some(cookie) = cookie(&headers, name) else {
            continue;
        };
        assert!(!cookie.value.is_empty());
        if let Some(sent) = cookie_header(name, cookie.value) {
            let expected = format!("{name}={}", cookie.value);
            assert_eq!(sent.as_bytes(), expected.as_bytes());
        }
    }
}

/// Reads a point in time.
#[cfg(feature = "folio")]
pub(crate) fn date(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input) {
        super::time::parse(text);
    }
}
