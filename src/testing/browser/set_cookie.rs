//! One `Set-Cookie` line as a cookie, or the reason why a browser ignores the line. The crate `cookie` splits the line and
//! reads its dates; what a browser accepts is decided here.

use std::time::Duration;

use cookie::{Cookie as Line, SameSite};
use url::{Host, Url};
use zeroize::Zeroizing;

/// The most bytes of a name and its value together (RFC 6265bis section 5.7).
const LONGEST_PAIR: usize = 4_096;

/// The most bytes of an attribute's value (RFC 6265bis section 5.6).
const LONGEST_ATTRIBUTE: usize = 1_024;

/// The longest lifetime of a cookie, 400 days (RFC 6265bis section 5.5).
const LONGEST_LIFETIME: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// The reason why a browser ignores a `Set-Cookie` line. A cookie of the same name that the browser has stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The line has no name, has a control character or is not UTF-8. Chromium also stores cookies without a name, and bytes
    /// that are not UTF-8.
    Malformed,
    /// Name and value are longer than 4096 bytes together (RFC 6265bis section 5.7).
    TooLong,
    /// A `Secure` cookie of an origin that is neither `https` nor loopback, or `SameSite=None` without `Secure` (RFC 6265bis
    /// section 5.7).
    NotSecure,
    /// The name begins with `__Secure-`, `__Host-`, `__Http-` or `__Host-Http-` in any case, and the attributes are not those
    /// that the prefix asks for (RFC 6265bis section 4.1.3; the two with `Http` are of draft-ietf-httpbis-layered-cookies).
    Prefix,
    /// The `Domain` is neither the host nor a parent of it, or has no dot (RFC 6265bis section 5.7). There is no list of public
    /// suffixes.
    Domain,
    /// A cookie that is not `SameSite=None`, in a response to a cross-site request that is no navigation of a tab (RFC 6265bis
    /// section 5.7).
    CrossSite,
    /// A script sets an `HttpOnly` cookie, or one in the place of an `HttpOnly` cookie (RFC 6265bis section 5.7).
    HttpOnly,
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The URL of the request, or of the page whose script sets the cookie.
    pub(super) url: &'a Url,
    pub(super) is_secure: bool,
    pub(super) is_script: bool,
    /// Whether the response may set cookies other than `SameSite=None`.
    pub(super) sets_same_site: bool,
    /// The wall clock, since the Unix epoch.
    pub(super) now: Duration,
}

/// A cookie that a browser accepts.
pub(super) struct Cookie {
    pub(super) name: String,
    pub(super) value: Zeroizing<String>,
    /// The domain whose hosts get the cookie; `None` is this host alone.
    pub(super) domain: Option<String>,
    pub(super) path: String,
    /// When the cookie ends, since the Unix epoch; `None` is a session cookie.
    pub(super) end: Option<Duration>,
    pub(super) is_secure: bool,
    pub(super) is_http_only: bool,
    pub(super) same_site: Option<SameSite>,
}

impl Cookie {
    /// Reads a line. The name comes along with a refusal, as far as there is one.
    pub(super) fn read(line: &[u8], source: Source<'_>) -> Result<Self, (String, Refusal)> {
        let malformed = || (String::new(), Refusal::Malformed);
        let line = std::str::from_utf8(line).map_err(|_| malformed())?;
        if line.chars().any(|it| it.is_ascii_control() && it != '\t') {
            return Err(malformed());
        }
        let line = Zeroizing::new(without_long_attributes(line));
        let line = Line::parse(line.as_str()).map_err(|_| malformed())?;
        Self::accept(&line, source).map_err(|refusal| (line.name().to_owned(), refusal))
    }

    fn accept(line: &Line<'_>, source: Source<'_>) -> Result<Self, Refusal> {
        if line.name().len() + line.value().len() > LONGEST_PAIR {
            return Err(Refusal::TooLong);
        }
        let is_secure = line.secure() == Some(true);
        let is_http_only = line.http_only() == Some(true);
        let domain = domain(line.domain(), source.url)?;
        if is_secure && !source.is_secure {
            return Err(Refusal::NotSecure);
        }
        if is_http_only && source.is_script {
            return Err(Refusal::HttpOnly);
        }
        let same_site = line.same_site();
        if !source.sets_same_site && same_site != Some(SameSite::None) {
            return Err(Refusal::CrossSite);
        }
        if same_site == Some(SameSite::None) && !is_secure {
            return Err(Refusal::NotSecure);
        }
        let is_of_the_host = is_secure && domain.is_none() && line.path() == Some("/");
        if !prefix_allows(line.name(), is_secure, is_of_the_host, is_http_only) {
            return Err(Refusal::Prefix);
        }
        let path = line.path().filter(|path| path.starts_with('/'));
        Ok(Self {
            name: line.name().to_owned(),
            value: Zeroizing::new(line.value().to_owned()),
            domain,
            path: path
                .unwrap_or_else(|| default_path(source.url.path()))
                .to_owned(),
            end: end(line, source.now),
            is_secure,
            is_http_only,
            same_site,
        })
    }

    /// Whether a request to this path gets the cookie (RFC 6265bis section 5.1.4).
    pub(super) fn matches(&self, path: &str) -> bool {
        path.strip_prefix(&*self.path).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || self.path.ends_with('/')
        })
    }

    /// Whether this cookie takes the place of the other (RFC 6265bis section 5.7).
    pub(super) fn replaces(&self, other: &Self) -> bool {
        (&self.name, &self.domain, &self.path) == (&other.name, &other.domain, &other.path)
    }

    pub(super) fn has_ended(&self, now: Duration) -> bool {
        self.end.is_some_and(|end| end <= now)
    }
}

/// The line without the attributes that are too long. The cookie itself stays.
fn without_long_attributes(line: &str) -> String {
    let mut parts = line.split(';');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for attribute in parts {
        let value = attribute.split_once('=').map_or("", |(_, value)| value);
        if value.trim().len() <= LONGEST_ATTRIBUTE {
            kept.push(';');
            kept.push_str(attribute);
        }
    }
    kept
}

/// The domain whose hosts get the cookie. A host that is an address or one label is no domain, and may name itself.
fn domain(attribute: Option<&str>, url: &Url) -> Result<Option<String>, Refusal> {
    let Some(domain) = attribute.filter(|domain| !domain.is_empty()) else {
        return Ok(None);
    };
    let domain = domain.to_ascii_lowercase();
    let host = url.host_str().unwrap_or_default();
    let has_parents = matches!(url.host(), Some(Host::Domain(name)) if name.contains('.'));
    if !has_parents {
        return (domain == host).then_some(None).ok_or(Refusal::Domain);
    }
    let rest = host.strip_suffix(&domain);
    let is_within = rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_domain = is_within && domain.contains('.');
    is_domain.then_some(Some(domain)).ok_or(Refusal::Domain)
}

/// Whether the attributes are those that the prefix of the name asks for. A browser compares in any case.
fn prefix_allows(name: &str, is_secure: bool, is_of_the_host: bool, is_http_only: bool) -> bool {
    let begins = |prefix: &str| {
        let start = name.as_bytes().get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let (host_http, http) = (begins("__Host-Http-"), begins("__Http-"));
    let needs_http_only = host_http || http;
    let needs_secure = http || begins("__Secure-");
    (!needs_http_only || is_http_only)
        && (!needs_secure || is_secure)
        && (!begins("__Host-") || is_of_the_host)
}

/// The path of a cookie without one (RFC 6265bis section 5.1.4).
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(last) => &path[..last],
    }
}

/// `Max-Age` decides before `Expires` (RFC 6265bis section 5.7).
fn end(line: &Line<'_>, now: Duration) -> Option<Duration> {
    let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let age = |age: Duration| {
        if age.is_zero() {
            Duration::ZERO
        } else {
            now + age.min(LONGEST_LIFETIME)
        }
    };
    let by_age = line.max_age().map(|it| age(seconds(it.whole_seconds())));
    by_age.or_else(|| {
        let end = seconds(line.expires_datetime()?.unix_timestamp());
        Some(end.min(now + LONGEST_LIFETIME))
    })
}
