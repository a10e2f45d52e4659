//! The profiles of FOLIO's interfaces.

use std::borrow::Cow;

use http::{HeaderName, StatusCode};

use super::{ApiProfile, ByText, Channel};

/// The places from which FOLIO reads tokens. FOLIO refuses a request with different tokens in two of these places, so a
/// request carries one token. The cookie of the refresh token is for the login service alone.
static CHANNELS: [Channel; 4] = [
    HEADER,
    Channel::BEARER,
    Channel::Cookie(Cow::Borrowed("folioAccessToken")),
    Channel::Cookie(Cow::Borrowed("folioRefreshToken")),
];
const HEADER: Channel = Channel::Header(HeaderName::from_static("x-okapi-token"));

/// The ends of the paths that need no token, bring their own token, or take the refresh token's cookie. A request to one
/// of these paths must not wait for a token: the request may be the one that brings the token.
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

/// The same for the paths that only Eureka has.
const TOKENLESS_IN_EUREKA: &[&str] = &[
    "/users-keycloak/forgotten/password",
    "/users-keycloak/forgotten/username",
    "/users-keycloak/password-reset",
    "/users-keycloak/password-reset/reset",
    "/users-keycloak/password-reset/validate",
];

impl ApiProfile {
    /// The profile of FOLIO's interfaces behind Okapi.
    ///
    /// A 401 rejects the token, and so does a 400 whose text begins with `Token missing`: Okapi has dropped a token that
    /// the request carried. The token is sent as `X-Okapi-Token`, unless [`Builder::header`](crate::Builder::header) or
    /// [`Builder::cookie`](crate::Builder::cookie) names another place (`Authorization`, or the cookie
    /// `folioAccessToken`); every other token is removed from the request. Requests of a user without a session (login,
    /// forgotten password or user name, password reset, the check for SAML) and requests to the login service are sent
    /// unchanged.
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

    /// The profile of FOLIO's interfaces in Eureka.
    ///
    /// This is [`okapi`](Self::okapi) with two additions. A 503 with `Retry-After` comes from the gateway, which did not
    /// pass the request on. Paths such as `/users-keycloak/forgotten/password` are called without a token as well.
    #[must_use]
    pub fn eureka() -> Self {
        let mut profile = Self::okapi().gateway_unavailable(true);
        let own = TOKENLESS_IN_EUREKA.iter().copied();
        profile.tokenless.extend(own.map(Cow::Borrowed));
        profile
    }
}
