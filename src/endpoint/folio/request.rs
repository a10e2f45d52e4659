//! The requests to FOLIO's login service. This module sends nothing.
//!
//! The refresh token travels in its cookie, and the access token in its own header. A request carries one of the two,
//! because the service would judge an expired access token first. Only a logout in Eureka carries both.

use std::iter;

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use crate::build_error::BuildError;
use crate::endpoint::EndpointError;
use crate::endpoint::transport::{Outgoing, sensitive_header};
use crate::origin::private_url;
use crate::token::{AccessToken, RefreshToken};

pub(super) const TENANT: HeaderName = HeaderName::from_static("x-okapi-tenant");
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-okapi-token");

/// The cookie of the access token.
pub(in crate::endpoint) const ACCESS_COOKIE: &str = "folioAccessToken";
/// The cookie of the refresh token.
pub(in crate::endpoint) const REFRESH_COOKIE: &str = "folioRefreshToken";

/// The error code for a token that a header cannot hold.
const UNSENDABLE: &str = "unsendable_token";

/// The gateway of a FOLIO system, which also keeps its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    Okapi,
    Eureka,
}

/// The login service of one tenant.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(super) mode: Mode,
    pub(super) url: Url,
    pub(super) tenant: String,
    tenant_header: HeaderValue,
}

impl Site {
    pub(super) fn new(mode: Mode, url: &str, tenant: String) -> Result<Self, BuildError> {
        let url = private_url("url", url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BuildError::invalid(
                "url",
                "must not have a query or a fragment; end the URL before `/authn`",
            ));
        }
        let tenant_header = HeaderValue::from_str(&tenant).ok();
        let tenant_header = tenant_header.filter(|_| !tenant.trim().is_empty());
        let tenant_header = tenant_header.ok_or_else(|| {
            BuildError::invalid("tenant", "must be the name of a tenant, such as `diku`")
        })?;
        Ok(Self {
            mode,
            url,
            tenant,
            tenant_header,
        })
    }

    /// The URL without a slash at its end.
    pub(super) fn base(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// A request to an interface, below the path of the URL.
    fn request(
        &self,
        method: Method,
        path: &str,
        proof: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        content: Zeroizing<Vec<u8>>,
    ) -> Result<Outgoing, EndpointError> {
        // The path may hold a code, so the error does not quote the URL.
        let url = format!("{}{path}", self.base()).parse().map_err(|_| {
            let why = "the URL of FOLIO and the path of its login service do not form a URL";
            EndpointError::refused_here("invalid_url", why)
        })?;
        let mut head = reqwest::Request::new(method, url);
        let headers = head.headers_mut();
        headers.insert(TENANT, self.tenant_header.clone());
        // The services write their refusals in either form.
        let accepted = HeaderValue::from_static("application/json, text/plain");
        headers.insert(ACCEPT, accepted);
        if !content.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.extend(proof);
        Ok((head, content))
    }

    /// The request that exchanges the refresh token. The server spends the token.
    pub(super) fn refresh(&self, token: &RefreshToken) -> Result<Outgoing, EndpointError> {
        let proof = Some(refresh_cookie(token)?);
        self.request(Method::POST, "/authn/refresh", proof, nothing())
    }

    /// The request that ends the session of this refresh token. Without the cookie, the request would end all sessions of
    /// the user. The access token names the user, if the gateway asks for that.
    pub(super) fn logout(
        &self,
        token: &RefreshToken,
        access: Option<(HeaderName, HeaderValue)>,
    ) -> Result<Outgoing, EndpointError> {
        let proof = iter::once(refresh_cookie(token)?).chain(access);
        self.request(Method::POST, "/authn/logout", proof, nothing())
    }

    /// The request that ends all sessions of the user of this access token.
    pub(super) fn logout_all(&self, token: &AccessToken) -> Result<Outgoing, EndpointError> {
        let proof = access_header(token).ok_or_else(|| {
            let why =
                "the access token cannot be sent: it holds characters that no header may carry";
            EndpointError::refused_here(UNSENDABLE, why)
        })?;
        self.request(Method::POST, "/authn/logout-all", Some(proof), nothing())
    }

    /// The request that signs in. `path` chooses tokens with or without an expiry.
    pub(super) fn login(
        &self,
        path: &str,
        username: &str,
        password: &str,
    ) -> Result<Outgoing, EndpointError> {
        #[derive(Serialize)]
        struct Login<'a> {
            username: &'a str,
            password: &'a str,
        }

        // An escape takes six bytes. A buffer that grows leaves a copy of the password behind.
        let room = 32 + 6 * (username.len() + password.len());
        let mut body = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *body, &Login { username, password })
            .map_err(EndpointError::not_sent)?;
        self.request(Method::POST, path, None, body)
    }

    /// The request that exchanges the code that a browser brought from the sign-in page.
    pub(super) fn code(&self, code: &str, redirect_uri: &str) -> Result<Outgoing, EndpointError> {
        let mut query = Serializer::new(String::new());
        query.extend_pairs([("code", code), ("redirect-uri", redirect_uri)]);
        let path = Zeroizing::new(format!("/authn/token?{}", query.finish()));
        self.request(Method::GET, &path, None, Zeroizing::default())
    }
}

/// An object without members. The service asks for no content. But only a request with content can be held back until
/// the send window is checked, and recalled until it has left.
fn nothing() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(b"{}".to_vec())
}

fn refresh_cookie(token: &RefreshToken) -> Result<(HeaderName, HeaderValue), EndpointError> {
    let cookie = cookie_header(REFRESH_COOKIE, token.expose()).ok_or_else(|| {
        let why = "the refresh token cannot be sent: it holds characters that no cookie may carry";
        EndpointError::refused_here(UNSENDABLE, why)
    })?;
    Ok((COOKIE, cookie))
}

/// The header of the access token; `None` if a header cannot hold the token.
pub(super) fn access_header(token: &AccessToken) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(token.expose()).ok()?;
    value.set_sensitive(true);
    Some((TOKEN, value))
}

/// The value of a `Cookie` header with this one cookie; `None` if a cookie cannot hold the token.
pub(in crate::endpoint) fn cookie_header(name: &str, token: &str) -> Option<HeaderValue> {
    let is_octet = |byte: u8| byte.is_ascii_graphic() && !br#"",;\"#.contains(&byte);
    if token.is_empty() || !token.bytes().all(is_octet) {
        return None;
    }
    sensitive_header(&[name.as_bytes(), b"=", token.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_url_precedes_the_path_of_each_interface() {
        for (url, refresh) in [
            (
                "https://folio.example.org",
                "https://folio.example.org/authn/refresh",
            ),
            (
                "https://folio.example.org/okapi",
                "https://folio.example.org/okapi/authn/refresh",
            ),
            (
                "http://127.0.0.1:9130/okapi//",
                "http://127.0.0.1:9130/okapi/authn/refresh",
            ),
        ] {
            let site = Site::new(Mode::Okapi, url, "diku".to_owned()).unwrap();
            let (head, _) = site.refresh(&"r1".into()).unwrap();
            assert_eq!(head.url().as_str(), refresh);
        }
    }

    #[test]
    fn an_invalid_url_or_tenant_is_refused() {
        let refused = |url: &str, tenant: &str| {
            let made = Site::new(Mode::Eureka, url, tenant.to_owned());
            let BuildError::Invalid { name, .. } = made.expect_err(url) else {
                panic!("{url}");
            };
            name
        };
        for url in [
            "",
            "folio.example.org",
            "http://folio.example.org",
            "https://u:p@folio.example.org",
            "https://folio.example.org?tenant=diku",
            "https://folio.example.org/#x",
        ] {
            assert_eq!(refused(url, "diku"), "url", "{url}");
        }
        for tenant in ["", " ", "di\nku"] {
            assert_eq!(refused("https://folio.example.org", tenant), "tenant");
        }
    }

    #[test]
    fn one_cookie_is_sent_and_no_token_can_make_it_two() {
        let value = cookie_header(REFRESH_COOKIE, "e30.a-b_c.~+/=").unwrap();
        assert_eq!(value, "folioRefreshToken=e30.a-b_c.~+/=");
        assert!(value.is_sensitive());
        for token in ["", "a;b", "a b", "a,b", "a\"b", "a\\b", "a\nb", "\u{fc}"] {
            assert!(cookie_header(REFRESH_COOKIE, token).is_none(), "{token}");
        }
    }
}
