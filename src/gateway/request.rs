//! What kind of request a browser sends, as far as the gateway answers them differently (Fetch Metadata).

use http::header::ACCEPT;
use http::{HeaderMap, Method, Uri};

const SEC_FETCH_MODE: &str = "sec-fetch-mode";
const SEC_FETCH_DEST: &str = "sec-fetch-dest";
const SEC_PURPOSE: &str = "sec-purpose";

/// What a request is for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// A page that the user waits for, which alone may lead to a login.
    is_page: bool,
    /// A page or a frame of one, also if it is loaded ahead.
    pub(super) is_navigation: bool,
    /// An `EventSource`, for which every status but 200 is the end.
    pub(super) is_event_stream: bool,
    uri: Uri,
}

/// A page for which the user is signed out.
#[derive(Debug)]
pub struct Page<'a> {
    uri: &'a Uri,
}

impl Page<'_> {
    /// The path of the page with its query, to return to after the login. It begins with one slash, so it leads to no other host.
    #[must_use]
    pub fn path(&self) -> &str {
        local_path(self.uri.path_and_query().map_or("/", |path| path.as_str()))
    }

    /// The same, encoded as the value of a query's parameter (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn return_to(&self) -> String {
        url::form_urlencoded::byte_serialize(self.path().as_bytes()).collect()
    }
}

/// Returns a path to which a login returns, if it is one of this service with its query, and else `/`. What a request names as
/// that path may be the address of another host, to which a page of an attacker would send the user after a real login.
///
/// ```
/// use evertoken::gateway::local_path;
///
/// assert_eq!(local_path("/orders?page=2"), "/orders?page=2");
/// for other in ["https://evil.example/", "//evil.example/", "/\\evil.example/", "/\t/evil.example/", "orders", ""] {
///     assert_eq!(local_path(other), "/");
/// }
/// ```
#[must_use]
pub fn local_path(path: &str) -> &str {
    match is_local(path) {
        true => path,
        false => "/",
    }
}

/// Whether a text is a path of this service. Browsers take `//host` and `/\host` for another host, and skip tabs and line breaks.
fn is_local(path: &str) -> bool {
    let mut bytes = path.bytes();
    let begins = bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
    begins && !path.bytes().any(|byte| byte.is_ascii_control())
}

impl Asked {
    pub(super) fn new(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let accepts = |kind| field(ACCEPT.as_str()).is_some_and(|accept| accept.contains(kind));
        let (is_navigation, is_page) = match (field(SEC_FETCH_MODE), field(SEC_FETCH_DEST)) {
            (Some(mode), Some(destination)) => {
                let is_navigation = mode == "navigate";
                (is_navigation, is_navigation && destination == "document")
            }
            // Not over plain HTTP to another machine, and not from browsers before 2023.
            (None, None) => {
                let accepts_pages = accepts("text/html");
                (accepts_pages, accepts_pages)
            }
            _ => (false, false),
        };
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        // What is loaded ahead may never be shown, so a login that it begins would be in vain.
        let is_ahead = headers.contains_key(SEC_PURPOSE);
        Self {
            is_page: is_page && is_read && !is_ahead,
            is_navigation,
            is_event_stream: *method == Method::GET && accepts("text/event-stream"),
            uri: uri.clone(),
        }
    }

    /// The page that the user waits for; `None` for every other request.
    pub(super) fn page(&self) -> Option<Page<'_>> {
        self.is_page.then_some(Page { uri: &self.uri })
    }
}
