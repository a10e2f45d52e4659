//! What any answer of a token endpoint has to bear.

use http::{HeaderMap, StatusCode};
use zeroize::Zeroizing;

use super::answer::Answer;
use super::classify;
use super::codes::Codes;
use crate::endpoint::EndpointError;
use crate::endpoint::fuzzing::SECRET;
use crate::endpoint::json::steps;
use crate::endpoint::redact::Secrets;
use crate::endpoint::transport::{Broken, Reply};

/// How often a byte is read at most: in the body, in an object two levels down and in an array on the way to each; and all of
/// that from each of four places behind a notice.
const STEPS: usize = 4 * 6;

/// The first byte says which status the rest is the body of, and whether it broke off. Returns the errors it leads to.
pub(crate) fn answer(input: &[u8]) -> Vec<EndpointError> {
    let Some((first, body)) = input.split_first() else {
        return Vec::new();
    };
    let statuses = [200, 400, 401, 429, 503, 302, 500];
    let status = statuses[usize::from(first >> 1) % statuses.len()];
    let is_whole = first & 1 == 0;
    let (steps, answer) = steps::of(|| Answer::read(body, is_whole));
    assert!(steps <= STEPS * body.len(), "{steps} steps");
    if is_whole {
        agrees_with_a_parser(body, &answer);
    }
    let reply = || {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        let broken = (!is_whole).then_some(Broken::TooLong { limit: body.len() });
        let body = Zeroizing::new(body.to_vec());
        Reply::new(status, HeaderMap::new(), body, broken, Default::default())
    };
    let secrets = || Secrets::new([SECRET, ""], &HeaderMap::new());
    let codes = Codes::default();
    let exchanged = classify::exchange(reply(), &codes, secrets());
    if let Ok(issued) = &exchanged {
        assert!(!issued.is_empty());
    }
    let revoked = classify::revocation(reply(), &codes, secrets());
    exchanged.err().into_iter().chain(revoked.err()).collect()
}

/// A token that a parser finds is found here.
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
