//! A request that a browser has sent: the cookies that it took along, and what its response does to the jar.

use std::fmt;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use url::Url;

use super::call::{Call, Kind};
use super::jar::Outcome;
use super::tab::Ticket;
use super::{Browser, Verdict};

/// A request between its departure and its response.
///
/// The caller sends it by an HTTP client or hands it to a service, and reports the response by [`arrived`](Self::arrived) or
/// [`redirected`](Self::redirected) once its header fields are there. A body that is cut off later changes nothing. A request
/// that is dropped before stores nothing, as one that a browser aborts.
#[must_use = "a request that is dropped is aborted: the browser stores no cookie of its response"]
pub struct Request {
    browser: Browser,
    ticket: Option<Ticket>,
    call: Call,
    url: Url,
    cookies: Vec<HeaderValue>,
}

impl Request {
    /// Takes the cookies as they are now.
    pub(super) fn sent(browser: Browser, ticket: Option<Ticket>, call: Call) -> Self {
        let url = browser.url(&call.path);
        let cookies = browser.cookies_of(url.path(), call.context());
        Self {
            browser,
            ticket,
            call,
            url,
            cookies,
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.call.method
    }

    /// The URL, as `https://host/path?query`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The cookies, each as `name=value`, in the order of RFC 6265bis section 5.8.3: longer paths first, and then the cookie that
    /// was set first.
    #[must_use]
    pub fn cookies(&self) -> &[HeaderValue] {
        &self.cookies
    }

    /// The cookies as the one field of HTTP/1.1, `a=1; b=2` (RFC 6265bis section 5.8.1), if there are any.
    #[must_use]
    pub fn cookie(&self) -> Option<HeaderValue> {
        let fields: Vec<_> = self.cookies.iter().map(HeaderValue::as_bytes).collect();
        let joined = HeaderValue::from_bytes(&fields.join(&b"; "[..]));
        let mut joined = joined.ok().filter(|joined| !joined.is_empty())?;
        joined.set_sensitive(true);
        Some(joined)
    }

    /// The header fields: `Cookie`, `Accept`, `Origin`, `Sec-Fetch-*` and `Sec-Purpose`.
    ///
    /// Over HTTP/2 and HTTP/3, Chromium sends each cookie as a field of its own, which RFC 9113 section 8.2.3 permits. hyper does
    /// not join them. In HTTP/1.1 they are one field.
    #[must_use]
    pub fn headers(&self, version: Version) -> HeaderMap {
        let mut headers = self.call.headers(&self.url, self.browser.is_secure());
        if version >= Version::HTTP_2 {
            for cookie in &self.cookies {
                headers.append(COOKIE, cookie.clone());
            }
        } else if let Some(cookie) = self.cookie() {
            headers.insert(COOKIE, cookie);
        }
        headers
    }

    /// The request for a service or a client that takes the types of the crate `http`, with the absolute URL.
    ///
    /// # Errors
    ///
    /// The URL is none for the crate `http`.
    pub fn to_http<B>(&self, version: Version, body: B) -> http::Result<http::Request<B>> {
        let mut request = http::Request::builder()
            .method(self.method().clone())
            .uri(self.url())
            .version(version)
            .body(body)?;
        *request.headers_mut() = self.headers(version);
        Ok(request)
    }

    /// Whether the browser no longer waits for the response: the tab was closed, a later navigation took the place of this one, or
    /// the page that sent the request is gone.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let ticket = self.ticket.as_ref();
        ticket.is_some_and(|ticket| ticket.is_lost())
    }

    /// Waits until the request [is lost](Self::is_lost), which may be never. A test over HTTP ends its exchange then, as a
    /// browser closes the connection or resets the stream.
    pub async fn lost(&self) {
        match &self.ticket {
            Some(ticket) => ticket.lost().await,
            None => std::future::pending().await,
        }
    }

    /// Applies the `Set-Cookie` fields of the response, whose header fields are there now.
    ///
    /// The last response to *arrive* decides, not the last request. Chromium stores cookies of every status: 101, 201, 204, 304,
    /// 401, 403, 404, 429, 500 and 503. A [lost](Self::is_lost) request stores nothing. A navigation shows its page, which ends
    /// the requests of the page before it, but for those with [`keepalive`](Call::keepalive). A 204 or 205 shows none.
    pub fn arrived(self, status: StatusCode, headers: &HeaderMap) -> Arrival {
        // 204 and 205 keep the old page, and after a redirect another origin may have the next one.
        let is_page = !matches!(status.as_u16(), 204 | 205 | 301 | 302 | 303 | 307 | 308);
        let is_page = is_page && self.call.kind == Kind::Navigation;
        self.apply(headers, is_page)
    }

    /// Applies the `Set-Cookie` fields of a redirect, and sends the request to this path of the browser's origin.
    ///
    /// The initiator stays, so a sign-in that comes back from another site, callback and page after it, gets no
    /// `SameSite=Strict` cookie. The requests of that page get it. A 303, and a 301 or 302 after a POST, go on as a GET (Fetch,
    /// HTTP-redirect fetch). The request that follows one that is [lost](Self::is_lost) is lost as well.
    pub fn redirected(
        self,
        status: StatusCode,
        headers: &HeaderMap,
        path: impl Into<String>,
    ) -> (Arrival, Self) {
        let arrival = self.apply(headers, false);
        let call = self.call.redirected(status, path.into());
        (arrival, Self::sent(self.browser, self.ticket, call))
    }

    /// Aborts the request before the header fields of its response: the browser stores nothing. A drop does the same.
    pub fn aborted(self) {
        drop(self);
    }

    fn apply(&self, headers: &HeaderMap, is_page: bool) -> Arrival {
        let (now, context) = (self.browser.now(), self.call.context());
        let set = || self.browser.set_cookies(&self.url, context, headers, now);
        let verdicts = match &self.ticket {
            Some(ticket) => ticket.unless_lost(is_page.then_some(&self.call), set),
            None => Some(set()),
        };
        Arrival { verdicts }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("call", &self.call)
            .field("cookies", &self.cookies.len())
            .field("is_lost", &self.is_lost())
            .finish()
    }
}

/// What a response did to the jar.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// `None` if the request was lost.
    verdicts: Option<Vec<Verdict>>,
}

impl Arrival {
    /// Whether the browser did not wait for the response any more, and stored nothing.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.verdicts.is_none()
    }

    /// What became of each `Set-Cookie` field, in their order. Empty for a lost request.
    #[must_use]
    pub fn verdicts(&self) -> &[Verdict] {
        self.verdicts.as_deref().unwrap_or_default()
    }

    /// What became of the cookie of this name, as its last field decides.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<Outcome> {
        let mut verdicts = self.verdicts().iter().rev();
        let verdict = verdicts.find(|verdict| verdict.name == name)?;
        Some(verdict.outcome)
    }
}
