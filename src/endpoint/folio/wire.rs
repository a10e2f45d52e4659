//! Builds the requests to FOLIO's login service. It sends nothing.
//!
//! The refresh token is in its cookie, and the access token in its own header. A request has one of them, because an
//! access token that came along and had expired would be what is judged first; only a logout in Eureka has both.

use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue};
use http::{Method, Request};
use serde::Serialize;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::cookies;
use super::site::Site;
use crate::endpoint::EndpointError;
use crate::token::{AccessToken, RefreshToken};

pub(super) const TENANT: HeaderName = HeaderName::from_static("x-okapi-tenant");
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-okapi-token");

/// The code for a token that no header can hold.
const UNSENDABLE: &str = "unsendable_token";

pub(super) type FolioRequest = Request<Zeroizing<Vec<u8>>>;

/// Exchanges the refresh token, which is spent by it.
pub(super) fn refresh(site: &Site, token: &RefreshToken) -> Result<FolioRequest, EndpointError> {
    let cookie = refresh_cookie(token)?;
    request(
        site,
        Method::POST,
        "/authn/refresh",
        Some((COOKIE, cookie)),
        nothing(),
    )
}

/// Ends the session of this refresh token. Without the cookie it would end all of the user's. The access token tells
/// whose it is, where that is asked for.
pub(super) fn logout(
    site: &Site,
    token: &RefreshToken,
    access: Option<HeaderValue>,
) -> Result<FolioRequest, EndpointError> {
    let cookie = Some((COOKIE, refresh_cookie(token)?));
    let access = access.map(|access| (TOKEN, access));
    request(
        site,
        Method::POST,
        "/authn/logout",
        cookie.into_iter().chain(access),
        nothing(),
    )
}

/// Ends all sessions of the user whose access token this is.
pub(super) fn logout_all(site: &Site, token: &AccessToken) -> Result<FolioRequest, EndpointError> {
    let value = access_header(token).ok_or_else(|| {
        EndpointError::refused_here(UNSENDABLE, "the access token cannot be sent in a header")
    })?;
    request(
        site,
        Method::POST,
        "/authn/logout-all",
        Some((TOKEN, value)),
        nothing(),
    )
}

/// Signs in. `path` is that of tokens with an expiry, or of those without.
pub(super) fn login(
    site: &Site,
    path: &str,
    username: &str,
    password: &str,
) -> Result<FolioRequest, EndpointError> {
    #[derive(Serialize)]
    struct Login<'a> {
        username: &'a str,
        password: &'a str,
    }

    // An escape takes six bytes: a buffer that grows leaves a copy behind.
    let room = 32 + 6 * (username.len() + password.len());
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *body, &Login { username, password })
        .map_err(EndpointError::not_sent)?;
    request(site, Method::POST, path, None, body)
}

/// Exchanges what a browser brought from the sign-in page.
pub(super) fn code(
    site: &Site,
    code: &str,
    redirect_uri: &str,
) -> Result<FolioRequest, EndpointError> {
    let mut query = Serializer::new(String::new());
    query
        .append_pair("code", code)
        .append_pair("redirect-uri", redirect_uri);
    let path = Zeroizing::new(format!("/authn/token?{}", query.finish()));
    request(site, Method::GET, &path, None, Zeroizing::default())
}

/// An object without members. The service asks for no content, but only a request that has some can be held back until
/// it is known that it leaves in time, and called back until it has left.
fn nothing() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(b"{}".to_vec())
}

fn refresh_cookie(token: &RefreshToken) -> Result<HeaderValue, EndpointError> {
    cookies::header(cookies::REFRESH, token.expose()).ok_or_else(|| {
        EndpointError::refused_here(UNSENDABLE, "the refresh token cannot be sent in a cookie")
    })
}

/// The access token for its header; `None` if no header can hold it.
pub(super) fn access_header(token: &AccessToken) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(token.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn request(
    site: &Site,
    method: Method,
    path: &str,
    proof: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    content: Zeroizing<Vec<u8>>,
) -> Result<FolioRequest, EndpointError> {
    // The path may hold a code, so nothing is said of it.
    let uri = site.at(path).map_err(|_| {
        EndpointError::refused_here("invalid_url", "the URL of FOLIO cannot be continued")
    })?;
    let has_content = !content.is_empty();
    let mut request = Request::new(content);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(TENANT, site.tenant_header.clone());
    // The services write their refusals as either.
    let accepted = HeaderValue::from_static("application/json, text/plain");
    headers.insert(ACCEPT, accepted);
    if has_content {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.extend(proof);
    Ok(request)
}
