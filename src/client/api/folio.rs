use std::borrow::Cow;

use http::{HeaderName, StatusCode};

use super::{ApiProfile, ByText};
use crate::client::channel::Channel;

/// The channels that FOLIO takes tokens from. Two different tokens in two of them are an error, so a request has one.
/// The refresh token's cookie is for the login service alone.
static CHANNELS: [Channel; 4] = [
    HEADER,
    Channel::BEARER,
    Channel::Cookie(Cow::Borrowed("folioAccessToken")),
    Channel::Cookie(Cow::Borrowed("folioRefreshToken")),
];
const HEADER: Channel = Channel::Header(HeaderName::from_static("x-okapi-token"));

/// What the ends of paths are that need no token, bring one of their own, or take the refresh token's cookie: to wait
/// for a token with them would be to wait for what they are for.
const TOKENLESS: &[&str] = &[
    "/authn/login",
    "/authn/login-with-expiry",
    "/authn/logout",
    "/authn/logout-all",
    "/authn/refresh",
    "/authn/token",
    "/bl-users/forgotten/password",
    "/bl-users/forgotten/username",
    "/bl-users/login",
    "/bl-users/login-with-expiry",
    "/bl-users/password-reset",
    "/bl-users/password-reset/reset",
    "/bl-users/password-reset/validate",
    "/saml/check",
    "/saml/login",
];

/// The same of Eureka's own.
const TOKENLESS_IN_EUREKA: &[&str] = &[
    "/users-keycloak/forgotten/password",
    "/users-keycloak/forgotten/username",
    "/users-keycloak/password-reset",
    "/users-keycloak/password-reset/reset",
    "/users-keycloak/password-reset/validate",
];

impl ApiProfile {
    /// FOLIO's interfaces behind Okapi. A token is rejected by a 401, and by a 400 whose text begins with `Token
    /// missing`: Okapi has dropped a token that was there. It is sent as `X-Okapi-Token`, unless
    /// [`Builder::header`](crate::Builder::header) or [`Builder::cookie`](crate::Builder::cookie) says otherwise
    /// (`Authorization`, or the cookie `folioAccessToken`), and every other token is taken out of the request. What a
    /// user without a session calls (login, forgotten password or user name, password reset, the check for SAML), and
    /// the login service itself, is called as it is.
    #[must_use]
    pub fn okapi() -> Self {
        Self {
            by_text: Some(ByText {
                status: StatusCode::BAD_REQUEST,
                beginning: "Token missing",
            }),
            channel: HEADER,
            excluded: &CHANNELS,
            tokenless: TOKENLESS.iter().copied().map(Cow::Borrowed).collect(),
            ..Self::default()
        }
    }

    /// FOLIO's interfaces in Eureka: as [`okapi`](Self::okapi), and a 503 with `Retry-After` is its gateway's, which did
    /// not pass the request on. What is called without a session has paths of Eureka's own as well
    /// (`/users-keycloak/forgotten/password` and the like).
    #[must_use]
    pub fn eureka() -> Self {
        let mut profile = Self::okapi().gateway_unavailable(true);
        let own = TOKENLESS_IN_EUREKA.iter().copied();
        profile.tokenless.extend(own.map(Cow::Borrowed));
        profile
    }
}
