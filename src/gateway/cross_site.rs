//! Which requests a page of another origin may have made, and that are refused for it.
//!
//! A browser sends the cookies of a service along with requests of pages that are not the service's: `SameSite` lets those of the
//! same site through, another port of the host included, and the handshake of a WebSocket. So a request that may change something,
//! and an upgrade, has to show that it is of the service's own pages, or of the user.

use std::fmt;

use http::header::{CONNECTION, HOST, ORIGIN, UPGRADE};
use http::{HeaderMap, Method, Uri};

use crate::origin::Origins;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrossSite {
    /// `Sec-Fetch-Site` says that another site, or another origin of the same site, made the request.
    OtherSite,
    /// `Origin` is not one of the service's.
    OtherOrigin,
    /// The request has neither field. Browsers send `Origin` with each request of this kind.
    Unproven,
}

impl fmt::Display for CrossSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherSite => {
                "a page of another origin made this request; if that origin is the service's, add it to the gateway's origins"
            }
            Self::OtherOrigin => {
                "the origin of this request is not the service's; if it is, add it to the gateway's origins"
            }
            Self::Unproven => {
                "this request shows neither `Sec-Fetch-Site` nor `Origin`; a program that is not a browser sends the service's own `Origin`"
            }
        })
    }
}

/// Refuses a request that may change something, or that asks for another protocol, unless it is of the service's own pages, of the
/// user, or of one of the origins that are trusted.
pub(super) fn check(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    trusted: &Origins,
) -> Result<(), CrossSite> {
    let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_read && !is_upgrade(headers) {
        return Ok(());
    }
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    if origin.is_some_and(|origin| trusted.allow_text(origin)) {
        return Ok(());
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    match (sites.next(), sites.next()) {
        (Some(site), None) if site == "same-origin" || site == "none" => Ok(()),
        (Some(_), _) => Err(CrossSite::OtherSite),
        (None, _) => match origin {
            None => Err(CrossSite::Unproven),
            // Without a list, the service is what the browser asked for. The scheme is not known behind a proxy.
            Some(origin) if trusted.is_empty() && is_of_host(origin, uri, headers) => Ok(()),
            Some(_) => Err(CrossSite::OtherOrigin),
        },
    }
}

/// Whether a request asks to go on in another protocol, such as a WebSocket.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(CONNECTION).iter();
    let mut options = connection
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    headers.contains_key(UPGRADE)
        || options.any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

fn is_of_host(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // Over HTTP/2 the request's URI has the host.
    let host = uri.authority().map(http::uri::Authority::as_str).or(host);
    let of_origin = origin.split_once("://").map(|(_, authority)| authority);
    match (of_origin, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}
