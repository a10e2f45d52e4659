//! What a page or a user asks a browser for, and the header fields that tell the server of it (Fetch Metadata).

use std::fmt;

use http::header::{ACCEPT, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use super::jar::Context;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// The `Accept` of a document (Fetch, main fetch).
const DOCUMENT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
/// The `Accept` of an image (Fetch, main fetch).
const IMAGE: &str = "image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5";

/// The origin of pages of another site.
const ANOTHER_SITE: &str = "https://another-site.example";

/// Who makes a browser send a request. `Sec-Fetch-Site` and `SameSite` follow from it, also after redirects and reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Initiator {
    /// The user: an address that is typed, a bookmark. `Sec-Fetch-Site: none`, and every cookie.
    User,
    /// A page of the browser's origin: a link, a script, a `<meta http-equiv="refresh">`. `Sec-Fetch-Site: same-origin`, and
    /// every cookie.
    SameOrigin,
    /// A page of the same site, such as another port of the host. `Sec-Fetch-Site: same-site`, and every cookie: Chromium
    /// sends `Lax` and `Strict` ones too.
    SameSite,
    /// A page of another site. `Sec-Fetch-Site: cross-site`, and the cookies that `SameSite` permits.
    CrossSite,
}

/// What a browser loads. Mode and destination are those of Fetch section 2.2.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A page in a tab: mode `navigate`, destination `document`.
    Navigation,
    /// A page in a frame: mode `navigate`, destination `iframe`. It is no navigation of a tab, so another site's frame gets
    /// `SameSite=None` cookies alone.
    Frame,
    /// `fetch()` with credentials, and `XMLHttpRequest`: mode `cors`, destination `empty`.
    Fetch,
    /// An image of a page: mode `no-cors`, destination `image`.
    Image,
    /// An `EventSource`: mode `cors`, destination `empty`, `Accept: text/event-stream`. Chromium connects again after a stream
    /// that ended, and gives up for good after a 204, 401 or 503 and after a redirect to another origin.
    EventSource,
    /// The handshake of a WebSocket: a GET with `Origin`, and without any `Sec-Fetch-*`, as Chromium sends it over `ws`. A
    /// gateway has nothing but `Origin` to go by. `Upgrade` and the rest are left to the WebSocket client.
    WebSocket,
    /// `<link rel="prefetch">`: mode `no-cors`, destination `empty`, `Sec-Purpose: prefetch`. It accepts what a page does.
    Prefetch,
    /// A page that a rule of speculation has fetched ahead: as one that is [rendered](Self::Prerender) ahead, but for
    /// `Sec-Purpose: prefetch`.
    PrefetchedPage,
    /// A page that is rendered ahead: mode `navigate`, destination `document`, `Sec-Fetch-Site: none`, and
    /// `Sec-Purpose: prefetch;prerender`, so all but the last looks like the user's navigation. For a page of another site, Chromium
    /// loads only what it has no cookies for, so such a request has none of `SameSite=Lax`.
    Prerender,
}

/// A request to be sent by [`Browser::send`](super::Browser::send) or [`Tab::send`](super::Tab::send). A path, with its query,
/// is a GET of a script on the browser's own pages.
#[derive(Clone)]
pub struct Call {
    pub(super) kind: Kind,
    pub(super) path: String,
    pub(super) method: Method,
    pub(super) initiator: Initiator,
    pub(super) keepalive: bool,
}

impl Call {
    /// A GET of this kind. The user begins a navigation and what is rendered ahead, and the browser's own pages the others.
    #[must_use]
    pub fn new(kind: Kind, path: impl Into<String>) -> Self {
        let initiator = match kind {
            Kind::Navigation | Kind::Prerender => Initiator::User,
            _ => Initiator::SameOrigin,
        };
        Self {
            kind,
            path: path.into(),
            method: Method::GET,
            initiator,
            keepalive: false,
        }
    }

    /// A page in a tab, that the user asks for.
    #[must_use]
    pub fn navigation(path: impl Into<String>) -> Self {
        Self::new(Kind::Navigation, path)
    }

    /// A `fetch()` of a script on the browser's own pages.
    #[must_use]
    pub fn fetch(path: impl Into<String>) -> Self {
        Self::new(Kind::Fetch, path)
    }

    setters! {
        /// The method. Default: GET.
        method: Method => method,
        /// Who makes the browser send the request. Default: as in [`new`](Self::new).
        initiator: Initiator => initiator,
        /// Whether the request outlives its page, as `fetch(.., {keepalive: true})` and `sendBeacon()` do (Fetch section 2.2.5).
        /// Default: no.
        keepalive: bool => keepalive,
    }

    /// What `SameSite` is judged by (RFC 6265bis section 5.2).
    pub(super) fn context(&self) -> Context {
        match (self.initiator, self.kind) {
            (Initiator::User | Initiator::SameOrigin | Initiator::SameSite, _) => Context::SameSite,
            (Initiator::CrossSite, Kind::Navigation) if self.method.is_safe() => {
                Context::CrossSiteNavigation
            }
            (Initiator::CrossSite, Kind::Navigation) => Context::CrossSitePost,
            (Initiator::CrossSite, _) => Context::CrossSite,
        }
    }

    /// The call that follows a redirect (Fetch, HTTP-redirect fetch).
    pub(super) fn redirected(&self, status: http::StatusCode, path: String) -> Self {
        let becomes_get = match status.as_u16() {
            301 | 302 => self.method == Method::POST,
            303 => !matches!(self.method, Method::GET | Method::HEAD),
            _ => false,
        };
        let mut call = self.clone();
        if becomes_get {
            call.method = Method::GET;
        }
        call.path = path;
        call
    }

    /// The fields besides `Cookie`.
    pub(super) fn headers(&self, url: &Url, is_secure: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: &'static str| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        let (mode, destination, accept) = match self.kind {
            Kind::Navigation | Kind::PrefetchedPage | Kind::Prerender => {
                ("navigate", "document", DOCUMENT)
            }
            Kind::Frame => ("navigate", "iframe", DOCUMENT),
            Kind::Fetch => ("cors", "empty", "*/*"),
            Kind::Image => ("no-cors", "image", IMAGE),
            Kind::EventSource => ("cors", "empty", "text/event-stream"),
            Kind::WebSocket => ("websocket", "websocket", ""),
            Kind::Prefetch => ("no-cors", "empty", DOCUMENT),
        };
        if self.kind != Kind::WebSocket {
            set(ACCEPT, accept);
            // A server in the clear gets none (Fetch Metadata section 2).
            if is_secure {
                set(SEC_FETCH_SITE, self.site());
                set(SEC_FETCH_MODE, mode);
                set(SEC_FETCH_DEST, destination);
            }
        }
        match self.kind {
            Kind::Prefetch | Kind::PrefetchedPage => set(SEC_PURPOSE, "prefetch"),
            Kind::Prerender => set(SEC_PURPOSE, "prefetch;prerender"),
            _ => {}
        }
        if self.has_origin(mode)
            && let Ok(origin) = HeaderValue::try_from(self.origin(url))
        {
            headers.insert(ORIGIN, origin);
        }
        headers
    }

    fn site(&self) -> &'static str {
        match self.initiator {
            _ if matches!(self.kind, Kind::PrefetchedPage | Kind::Prerender) => "none",
            Initiator::User => "none",
            Initiator::SameOrigin => "same-origin",
            Initiator::SameSite => "same-site",
            Initiator::CrossSite => "cross-site",
        }
    }

    /// Fetch, "append a request `Origin` header".
    fn has_origin(&self, mode: &str) -> bool {
        let crosses = matches!(self.initiator, Initiator::SameSite | Initiator::CrossSite);
        let writes = !matches!(self.method, Method::GET | Method::HEAD);
        mode == "websocket" || (mode == "cors" && crosses) || writes
    }

    fn origin(&self, url: &Url) -> String {
        match self.initiator {
            Initiator::User => "null".to_owned(),
            Initiator::SameOrigin => url.origin().ascii_serialization(),
            Initiator::SameSite => {
                let mut url = url.clone();
                let port = url.port_or_known_default().unwrap_or_default();
                // An `http` or `https` URL takes every port.
                let _ = url.set_port(Some(port.checked_add(1).unwrap_or(port - 1)));
                url.origin().ascii_serialization()
            }
            Initiator::CrossSite => ANOTHER_SITE.to_owned(),
        }
    }
}

impl From<&str> for Call {
    fn from(path: &str) -> Self {
        Self::fetch(path)
    }
}

impl From<String> for Call {
    fn from(path: String) -> Self {
        Self::fetch(path)
    }
}

/// Without the query, which may hold a code or a token.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("path", &path)
            .field("kind", &self.kind)
            .field("initiator", &self.initiator)
            .field("keepalive", &self.keepalive)
            .finish()
    }
}
