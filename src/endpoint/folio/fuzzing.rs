//! What any answer of FOLIO's login service has to bear.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use zeroize::Zeroizing;

use super::site::Mode;
use super::{Asked, cookies, outcome};
use crate::endpoint::fuzzing::SECRET;
use crate::endpoint::json::steps;
use crate::endpoint::redact::Secrets;
use crate::endpoint::transport::Reply;
use crate::endpoint::{EndpointError, time};

/// The first byte says which status follows, and to what; then a cookie to a line, and after an empty one the body. Returns
/// the errors it leads to.
pub(crate) fn answer(input: &[u8]) -> Vec<EndpointError> {
    let Some((first, rest)) = input.split_first() else {
        return Vec::new();
    };
    let statuses = [201, 200, 400, 422, 429, 503, 302, 500];
    let status = statuses[usize::from(first & 7)];
    let asked = [Asked::Refresh, Asked::SignIn, Asked::LegacyLogin];
    let asked = asked[usize::from(first >> 3) % asked.len()];
    let mode = [Mode::Okapi, Mode::Eureka][usize::from(first >> 7)];
    let (cookies, body) = lines(rest);
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        if let Ok(cookie) = HeaderValue::from_bytes(cookie) {
            headers.append(SET_COOKIE, cookie);
        }
    }
    let reply = || {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        let body = Zeroizing::new(body.to_vec());
        Reply::new(status, headers.clone(), body, None, Duration::from_secs(1))
    };
    let mut secrets = Secrets::default();
    secrets.add(SECRET);
    let judge = || outcome::exchange(reply(), mode, asked, &secrets);
    let (steps, judged) = steps::of(judge);
    // Members, a list in one, an object in that, and its members; and once more for the words of an error.
    assert!(steps <= 8 * body.len(), "{steps} steps");
    if let Ok(issued) = &judged {
        assert!(!issued.is_empty());
    }
    let ended = outcome::logout(reply(), &secrets);
    judged.err().into_iter().chain(ended.err()).collect()
}

/// The lines before the first empty one, and what is behind it.
fn lines(input: &[u8]) -> (impl Iterator<Item = &[u8]>, &[u8]) {
    let end = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&input[..end], &input[end + 2..]),
        None => (&input[..0], input),
    };
    (head.split(|byte| *byte == b'\n'), body)
}

/// A cookie as it was set, and as it is sent back.
pub(crate) fn cookie(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(cookie) = HeaderValue::from_bytes(line) {
            headers.append(SET_COOKIE, cookie);
        }
    }
    for name in [cookies::ACCESS, cookies::REFRESH] {
        let Some(cookie) = cookies::find(&headers, name) else {
            continue;
        };
        assert!(!cookie.value.is_empty());
        if let Some(sent) = cookies::header(name, cookie.value) {
            assert_eq!(
                sent.as_bytes(),
                format!("{name}={}", cookie.value).as_bytes()
            );
        }
    }
}

/// A point in time as FOLIO's modules write it.
pub(crate) fn date(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input) {
        time::parse(text);
    }
}
