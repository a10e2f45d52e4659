//! Reads what the login service issued, and decides what an answer means for the token of the request. This module does no
//! I/O and reads no clock.
//!
//! The reader never refuses an answer; a value that cannot be read counts as absent. The tokens are in the cookies and their
//! expiry times in the body, so an odd or broken body costs no token. Only the two cookies of FOLIO's tokens are read. Path,
//! domain and `Secure` direct a browser; this crate sends the refresh token only to the service from which the cookie came,
//! so those attributes are ignored, and there is no cookie jar.
//!
//! Only FOLIO's own statement counts. Its errors have a known form: JSON with a list of `errors`, each with a `code`. The
//! table lists the programs that answer with each status:
//!
//! | status | with a code | without |
//! |---|---|---|
//! | 400 | mod-login and mod-login-keycloak: no cookie was found, the password does not match. Eureka's sidecar: the tenant is not enabled (yet) | Okapi, as text: no such tenant, a header is missing. Proxies |
//! | 401, 403 | Eureka's sidecar: the caller is not admitted | mod-authtoken, as text: `Invalid token`. Firewalls |
//! | 404 | Eureka's sidecar: there is no such route | Okapi, as text: `No suitable module found`, also while a module is being deployed. Kong: `no Route matched` |
//! | 408 | Eureka's sidecar waited for the module in vain | Proxies |
//! | 422 | mod-login and mod-login-keycloak: the authorization server refuses | - |
//! | 429 | - | Kong |
//! | 500 | mod-login: mod-login did not reach mod-authtoken, or lost its answer. Eureka's sidecar | Okapi |
//! | 502, 503, 504 | Eureka's sidecar, with a `Retry-After`: its own token was refused | Kong, proxies |
//!
//! A **4xx with a code** is a refusal of this client. Either the service found no token to judge, or the sidecar in front
//! of it did not pass the request on; in both cases the token is unspent. A **4xx without a code** is a page: text and HTML
//! come from programs in front of the service, and mean nothing for the token.
//!
//! **A 422 ends the token.** The login service answers so whenever the authorization server behind it does not rotate. The
//! token had expired, was used before or was revoked - or that server failed, which the answer does not distinguish. A 422
//! counts as a refusal in every case, also without a code, because no gateway in front of FOLIO gives that status by itself.
//!
//! With Okapi the token must not be sent again: if it was spent, even by this very request, a second use ends every session
//! of the user. The caution costs one session, which a sign-in replaces. To treat a 422 as unknown would spare no session
//! there, and would hide the end of a session that did end. In Eureka, a failure that is treated as the end costs a session
//! that might have been kept. But to try the token again after each 422 would cost every session that did end minutes of
//! errors before its end is reported. An endpoint that can sign in recovers at once from both.
//!
//! **A 500 leaves the token unknown.** Behind Okapi, mod-login answers so when mod-authtoken consumed the token and the
//! answer of mod-authtoken was lost. A **408, 502, 503 or 504** comes from a program that did not reach the service, or gave
//! up on it.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use zeroize::Zeroizing;

use super::Asked;
use super::request::{ACCESS_COOKIE, Mode, REFRESH_COOKIE, TOKEN};
use crate::endpoint::json::{Members, Value};
use crate::endpoint::quote::{Quote, Secrets};
use crate::endpoint::reply::Reply;
use crate::endpoint::{EndpointError, Issued, LONGEST_LIFETIME, time};
use crate::token::{RefreshExpiry, jwt};

/// The outcome of an exchange.
pub(in crate::endpoint) fn exchange(
    reply: Reply,
    mode: Mode,
    asked: Asked,
    secrets: &Secrets,
) -> Result<Issued, EndpointError> {
    if !reply.status.is_success() {
        let missing = "the answer holds neither a token nor a refusal";
        return Err(failure(reply, true, secrets, missing));
    }
    let issued = read(&reply, mode, asked);
    if issued.is_empty() {
        // The body may hold an unknown token.
        let quote = Quote::status(reply.status.as_u16());
        return Err(reply.unclear(quote, "the answer sets no token in its cookies"));
    }
    Ok(issued)
}

/// The outcome of a logout.
///
/// A 422 decides nothing. The authorization server may have failed; or, in Eureka, the request carried no access token that
/// names the session, and then the session lives on. Another attempt does no harm, and a refusal would prevent it.
pub(in crate::endpoint) fn logout(reply: Reply, secrets: &Secrets) -> Result<(), EndpointError> {
    if reply.status.is_success() {
        return Ok(());
    }
    let missing = "the answer does not report that the session ended";
    Err(failure(reply, false, secrets, missing))
}

/// The error of an answer that is not a success. A 422 refuses an exchange.
fn failure(
    reply: Reply,
    is_exchange: bool,
    secrets: &Secrets,
    missing: &'static str,
) -> EndpointError {
    let complaint = Complaint::read(&reply.body);
    let is_422 = reply.status == StatusCode::UNPROCESSABLE_ENTITY;
    let code = complaint.code.as_ref().map(|code| code.as_str());
    let code = code.or((is_422 && is_exchange).then_some("422"));
    let message = complaint.message.as_ref().map(|text| text.as_str());
    let quote = reply.quote(code, message, secrets);
    match is_422 {
        true if is_exchange => EndpointError::rejected("").with_quote(quote),
        true => reply.unclear(quote, missing),
        false => reply.not_done(false, code.is_some(), quote, missing),
    }
}

/// The reason of a refusal: the first error of the list, or a line of text.
#[derive(Default)]
struct Complaint {
    code: Option<Zeroizing<String>>,
    message: Option<Zeroizing<String>>,
}

impl Complaint {
    fn read(body: &[u8]) -> Self {
        let mut complaint = Self::default();
        let Some(members) = Members::of(body) else {
            let text = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
            // A page is not a statement of FOLIO.
            complaint.message = Some(text).filter(|it| !it.trim_start().starts_with(['<', '[']));
            return complaint;
        };
        let mut errors = members.iter().filter_map(|(name, value)| match value {
            Value::Array(elements) if *name == "errors" => Some(elements),
            _ => None,
        });
        if let Some(Value::Object(error)) = errors.next().and_then(|list| list.iter().next()) {
            for (name, value) in error.iter() {
                match (name.as_str(), value) {
                    ("code", Value::Text(text)) if !text.trim().is_empty() => {
                        complaint.code = Some(text);
                    }
                    ("message", Value::Text(text)) => complaint.message = Some(text),
                    _ => {}
                }
            }
        }
        complaint
    }
}

/// What the service issued, which may be nothing.
fn read(reply: &Reply, mode: Mode, asked: Asked) -> Issued {
    let fields = Fields::read(&reply.body);
    let access_cookie = cookie(&reply.headers, ACCESS_COOKIE);
    let refresh_cookie = cookie(&reply.headers, REFRESH_COOKIE);
    let header = reply.headers.get(&TOKEN);
    let access = access_cookie
        .map(|cookie| cookie.value)
        .or_else(|| header.and_then(|value| value.to_str().ok()))
        .or_else(|| fields.token.as_ref().map(|token| token.as_str()))
        .filter(|token| !token.is_empty());
    let refresh = refresh_cookie.map(|cookie| cookie.value);
    let times = access.and_then(jwt::times);
    let server = times.map_or(reply.date, |times| times.server_time(reply.date));
    let access_end = fields.access_ends.or(times.map(|times| times.expires_at));
    let refresh_end = fields
        .refresh_ends
        .or_else(|| Some(jwt::times(refresh?)?.expires_at));
    Issued {
        access: access.map(Into::into),
        refresh: refresh.map(Into::into),
        expires_in: access.and_then(|_| lifetime(access_end, access_cookie, server, reply.read_at)),
        refresh_expires_in: refresh
            .and_then(|_| lifetime(refresh_end, refresh_cookie, server, reply.read_at)),
        never_expires: asked == Asked::LegacyLogin && times.is_none(),
        // The server spends the refresh token of each refresh.
        refresh_is_spent: asked == Asked::Refresh,
        refresh_expiry: match mode {
            Mode::Okapi => RefreshExpiry::Sliding,
            Mode::Eureka => RefreshExpiry::Absolute,
        },
        server_time: reply.date,
        ..Issued::default()
    }
}

/// The lifetime of a token that ends at `end`: by the server's clock if that is known, or else by the `Max-Age` of its
/// cookie, or else by this machine's clock.
fn lifetime(
    end: Option<Duration>,
    cookie: Option<Cookie<'_>>,
    server: Option<Duration>,
    ours: Duration,
) -> Option<Duration> {
    let end = end.or(cookie.and_then(|cookie| cookie.expires));
    let until_end = |now| time::lifetime_until(end, now);
    let age = || cookie?.max_age.filter(|age| *age <= LONGEST_LIFETIME);
    let by_server = server.and_then(until_end);
    by_server.or_else(age).or_else(|| until_end(ours))
}

/// The fields of the body.
#[derive(Default)]
struct Fields {
    access_ends: Option<Duration>,
    refresh_ends: Option<Duration>,
    /// The token itself, if tokens have no expiry.
    token: Option<Zeroizing<String>>,
}

impl Fields {
    fn read(body: &[u8]) -> Self {
        let mut fields = Self::default();
        let members = Members::of(body).into_iter();
        let members = members.flat_map(|members| members.iter());
        // Some answers hold the times in a wrapper.
        let members = members.flat_map(|(name, value)| match value {
            Value::Object(wrapped) if *name == "tokenExpiration" => wrapped.iter().collect(),
            value => vec![(name, value)],
        });
        for (name, value) in members {
            let Value::Text(text) = value else { continue };
            match name.as_str() {
                "accessTokenExpiration" => {
                    fields.access_ends = fields.access_ends.or_else(|| time::parse(&text));
                }
                "refreshTokenExpiration" => {
                    fields.refresh_ends = fields.refresh_ends.or_else(|| time::parse(&text));
                }
                "okapiToken" => fields.token = Some(text),
                _ => {}
            }
        }
        fields
    }
}

/// A cookie of a `Set-Cookie` header (RFC 6265 section 5.2). The value is not empty.
#[derive(Debug, Clone, Copy)]
pub(in crate::endpoint) struct Cookie<'a> {
    pub(in crate::endpoint) value: &'a str,
    /// The lifetime of the cookie, from the answer that set it.
    max_age: Option<Duration>,
    /// The end of the cookie, since the Unix epoch.
    expires: Option<Duration>,
}

/// The cookie of this name, as the answer set it last. A cookie that the answer only deletes does not count.
pub(in crate::endpoint) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cookie<'a>> {
    let set = headers.get_all(SET_COOKIE).iter();
    set.filter_map(|header| parse(str::from_utf8(header.as_bytes()).ok()?, name))
        .next_back()
}

fn parse<'a>(header: &'a str, name: &str) -> Option<Cookie<'a>> {
    let mut parts = header.split(';').map(str::trim);
    let (key, value) = parts.next()?.split_once('=')?;
    let value = value.trim();
    let unquoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let value = unquoted.unwrap_or(value);
    if key.trim() != name || value.is_empty() {
        return None;
    }
    let mut cookie = Cookie {
        value,
        max_age: None,
        expires: None,
    };
    for (attribute, text) in parts.filter_map(|part| part.split_once('=')) {
        let (attribute, text) = (attribute.trim(), text.trim());
        if attribute.eq_ignore_ascii_case("max-age") {
            // A lifetime of zero counts as unknown.
            let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
            cookie.max_age = seconds.map(Duration::from_secs);
        } else if attribute.eq_ignore_ascii_case("expires") {
            cookie.expires = time::http_date(text);
        }
    }
    Some(cookie)
}

#[cfg(test)]
mod tests;
