//! A browser as the caller of a gateway: a cookie jar, tabs whose requests overlap, and the header fields by which a server
//! tells one kind of request from another. It sends nothing itself.
//!
//! What differs from an HTTP client with a cookie jar, each measured with Chromium 156:
//!
//! - The last response to *arrive* decides about a cookie, not the last request ([`Request::arrived`]).
//! - A browser loses `Set-Cookie` as a matter of course: of a request that was aborted before the header fields, of a navigation
//!   that another one overtook, and of a tab that was closed. Only [`keepalive`](Call::keepalive) requests outlive their page.
//! - Over HTTP/2, each cookie is a field of its own ([`Request::headers`]).
//! - Name and value of a cookie have at most 4096 bytes together. A longer cookie is ignored, and the old value stays. An
//!   attribute of more than 1024 bytes is dropped, and the cookie stays.
//! - The cookie that makes 181 of them has Chromium delete all but 150: first those without `Secure`, and of these the ones that
//!   were not used for longest.
//! - `http` on the loopback counts as secure, also for `Secure` and `__Host-` cookies.
//! - Pages of another port get every cookie along, [`SameSite`](Initiator::SameSite) or not.
//! - The handshake of a [WebSocket](Kind::WebSocket) has `Origin` and no `Sec-Fetch-*`.
//! - A page [rendered](Kind::Prerender) or [fetched](Kind::PrefetchedPage) ahead looks like a page that the user asked for, but for
//!   `Sec-Purpose`.
//!
//! ```
//! use evertoken::testing::Browser;
//! use evertoken::testing::browser::Call;
//! use http::{HeaderMap, StatusCode, Version};
//!
//! let browser = Browser::new("https://app.example.org")?;
//! let response = |value: &str| {
//!     let line = format!("__Host-Http-id={value}; Path=/; Secure; HttpOnly; SameSite=Lax");
//!     HeaderMap::from_iter([(http::header::SET_COOKIE, line.parse().unwrap())])
//! };
//! let tab = browser.tab();
//! tab.navigate("/login").arrived(StatusCode::OK, &response("1"));
//!
//! // Two requests overlap, and their responses arrive in the other order.
//! let (first, second) = (tab.send("/api/a"), tab.send("/api/b"));
//! assert_eq!(first.headers(Version::HTTP_11)["cookie"], "__Host-Http-id=1");
//! second.arrived(StatusCode::OK, &response("3"));
//! first.arrived(StatusCode::OK, &response("2"));
//! assert_eq!(browser.value("__Host-Http-id").as_deref(), Some("2"));
//!
//! // The tab is closed before the response: its cookie is lost.
//! let last = tab.send(Call::fetch("/api/c"));
//! tab.close();
//! assert!(last.arrived(StatusCode::OK, &response("4")).is_lost());
//! assert_eq!(browser.value("__Host-Http-id").as_deref(), Some("2"));
//! # Ok::<(), evertoken::BuildError>(())
//! ```
//!
//! Over HTTP, `client.request(request.method().clone(), request.url()).headers(request.headers(Version::HTTP_11))` is the
//! request of reqwest, and [`Request::to_http`] that of a tower service; both responses have `status()` and `headers()` for
//! [`Request::arrived`].
//!
//! Left out: cookies without a name, `Partitioned` and `Priority`, the list of public suffixes, third-party cookie blocking, the
//! back/forward cache, service workers, and dates that the crate `cookie` cannot read.

mod call;
mod jar;
mod request;
mod set_cookie;
mod tab;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use url::Url;

pub use self::call::{Call, Initiator, Kind};
pub use self::jar::Outcome;
use self::jar::{Context, Jar};
pub use self::request::{Arrival, Request};
pub use self::set_cookie::Refusal;
use self::set_cookie::{Cookie, Source};
pub use self::tab::Tab;
use crate::build_error::BuildError;
use crate::clock::{Clock, SystemClock};
use crate::origin::is_private;

/// A browser with a profile of its own, for one origin. Clones are one browser.
///
/// A browser has no task and no timer, and takes as much memory as its cookies.
#[derive(Clone)]
pub struct Browser {
    shared: Arc<Shared>,
}

struct Shared {
    origin: Url,
    is_secure: bool,
    clock: Box<dyn Clock>,
    jar: Mutex<Jar>,
}

/// What became of one cookie that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The name; empty if the line has none.
    pub name: String,
    /// Stored, deleted or refused.
    pub outcome: Outcome,
}

impl Browser {
    /// A browser without cookies, on the system's clock. The origin is like `https://app.example.org` or
    /// `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// The origin is no `http` or `https` URL, or is more than scheme, host and port.
    pub fn new(origin: &str) -> Result<Self, BuildError> {
        Self::with_clock(origin, SystemClock)
    }

    /// As [`new`](Self::new), with the clock by which cookies end (its [`wall`](Clock::wall)).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_clock(origin: &str, clock: impl Clock) -> Result<Self, BuildError> {
        let invalid = || {
            let problem = "must be scheme, host and port, like https://app.example.org";
            BuildError::invalid("origin", problem)
        };
        let origin = Url::parse(origin).map_err(|_| invalid())?;
        let is_bare = origin.path() == "/"
            && origin.query().is_none()
            && origin.fragment().is_none()
            && origin.username().is_empty()
            && origin.password().is_none();
        if !is_bare || !matches!(origin.scheme(), "http" | "https") {
            return Err(invalid());
        }
        // Browsers resolve names below `localhost` themselves, to the loopback (Secure Contexts section 3.1).
        let name = origin.host_str().unwrap_or_default();
        let is_secure = is_private(&origin) || name.ends_with(".localhost");
        let shared = Shared {
            origin,
            is_secure,
            clock: Box::new(clock),
            jar: Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Opens a tab, which shows no page.
    #[must_use = "a tab that is dropped is closed"]
    pub fn tab(&self) -> Tab {
        Tab::new(self.clone())
    }

    /// Sends a request that belongs to no tab, with the cookies as they are now. It is lost only if the caller drops it.
    pub fn send(&self, call: impl Into<Call>) -> Request {
        Request::sent(self.clone(), None, call.into())
    }

    /// The value of the cookie of this name, whatever its path. Of several cookies, that which a request has first.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<String> {
        let now = self.now();
        self.shared.jar.lock().value(name, now)
    }

    /// The names of all cookies, in the order of a request.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let now = self.now();
        self.shared.jar.lock().names(now)
    }

    /// What `document.cookie` is on the page of this path: the cookies that are not `HttpOnly`.
    #[must_use]
    pub fn document_cookie(&self, path: &str) -> String {
        let (now, url) = (self.now(), self.url(path));
        self.shared.jar.lock().of_script(url.path(), now)
    }

    /// Sets a cookie as `document.cookie = line` does on the page of this path, also by a script that an attacker brought in. A
    /// script can plant a `__Host-` cookie, but no `__Host-Http-` one.
    pub fn script_sets(&self, path: &str, line: &str) -> Verdict {
        let (now, url) = (self.now(), self.url(path));
        let source = Source {
            url: &url,
            is_secure: self.shared.is_secure,
            is_script: true,
            sets_same_site: true,
            now,
        };
        Verdict::of(&mut self.shared.jar.lock(), line.as_bytes(), source)
    }

    /// Deletes all cookies, as a user does.
    pub fn clear(&self) {
        self.shared.jar.lock().clear();
    }

    fn is_secure(&self) -> bool {
        self.shared.is_secure
    }

    /// The clock may be user code, so it is never read under the lock of the jar.
    fn now(&self) -> Duration {
        self.shared.clock.wall()
    }

    /// The URL of a path with its query. A path never leads to another host.
    fn url(&self, path: &str) -> Url {
        let path = path.split('#').next().unwrap_or_default();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let mut url = self.shared.origin.clone();
        url.set_path(path);
        url.set_query(query);
        url
    }

    fn cookies_of(&self, path: &str, context: Context) -> Vec<HeaderValue> {
        let now = self.now();
        self.shared.jar.lock().of_request(path, context, now)
    }

    /// Applies what a response sets, all of it at once. The caller has read the clock.
    fn set_cookies(
        &self,
        url: &Url,
        context: Context,
        headers: &HeaderMap,
        now: Duration,
    ) -> Vec<Verdict> {
        let source = Source {
            url,
            is_secure: self.shared.is_secure,
            is_script: false,
            sets_same_site: context != Context::CrossSite,
            now,
        };
        let lines = headers.get_all(SET_COOKIE).iter();
        let mut jar = self.shared.jar.lock();
        lines
            .map(|line| Verdict::of(&mut jar, line.as_bytes(), source))
            .collect()
    }
}

impl Verdict {
    fn of(jar: &mut Jar, line: &[u8], source: Source<'_>) -> Self {
        match Cookie::read(line, source) {
            Ok(cookie) => Self {
                name: cookie.name.clone(),
                outcome: jar.set(cookie, source.is_script, source.now),
            },
            Err((name, refusal)) => Self {
                name,
                outcome: Outcome::Refused(refusal),
            },
        }
    }
}

/// Without the values, which may be tokens.
impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser")
            .field("origin", &self.shared.origin.as_str())
            .finish_non_exhaustive()
    }
}
