//! Where tokens may go: to configured origins, by `https` or within this machine, and never in the clear through a proxy.
//!
//! An origin is a scheme, a host and a port (RFC 6454); paths and redirects do not extend an origin. A token that travels
//! in the clear may go to loopback only. A proxy would carry such a token over the network, so such a token must not go
//! through a proxy either.

use std::env;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use url::{Host, Url};

use crate::build_error::BuildError;

/// The origins that may get tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(Vec<Url>);

impl Origins {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn parse(texts: &[String]) -> Result<Self, BuildError> {
        let origins: Result<_, _> = texts.iter().map(|text| origin(text)).collect();
        origins.map(Self)
    }

    /// Whether a request to this URL may carry a token.
    pub(crate) fn allow(&self, url: &Url) -> bool {
        let origin = url.origin();
        self.0.iter().any(|allowed| allowed.origin() == origin)
    }

    /// Whether the text is one of the origins, as `Origin` has it (RFC 6454 section 6.2).
    #[cfg(feature = "gateway")]
    pub(crate) fn allow_text(&self, origin: &str) -> bool {
        let is_it = |allowed: &Url| allowed.origin().ascii_serialization() == origin;
        self.0.iter().any(is_it)
    }

    pub(crate) fn any(&self, test: fn(&Url) -> bool) -> bool {
        self.0.iter().any(test)
    }
}

/// Whether the network cannot read what is sent to this URL: the URL is `https`, or plain `http` to this machine.
pub(crate) fn is_private(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        // Names below `localhost` are resolved by DNS, as other names are.
        ("http", Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

fn origin(text: &str) -> Result<Url, BuildError> {
    let not_bare =
        "must have no path, query, user name or password; write it as https://host[:port]";
    // This check comes first, because the messages of the others repeat the text.
    if text.contains('@') {
        return Err(BuildError::invalid("origin", not_bare));
    }
    let invalid = |problem: &str| BuildError::invalid("origin", format!("`{text}` {problem}"));
    let url = Url::parse(text)
        .map_err(|_| invalid("is not a URL; an origin is like https://api.example.org"))?;
    if !is_private(&url) {
        return Err(invalid("must be https; plain http is for loopback only"));
    }
    if url.host_str().is_some_and(|host| host.contains('*')) {
        return Err(invalid(
            "has a wildcard; name each origin, like https://api.example.org",
        ));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(BuildError::invalid("origin", not_bare));
    }
    Ok(url)
}

/// Parses a URL to which a token may be sent. The error never repeats the text, which may hold a password.
pub(crate) fn private_url(name: &'static str, text: &str) -> Result<Url, BuildError> {
    let invalid = |problem: &str| BuildError::invalid(name, problem);
    let url = Url::parse(text).map_err(|error| invalid(&format!("is not a URL: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("must not hold a user name or password"));
    }
    if !is_private(&url) {
        return Err(invalid(
            "must be an `https` URL, or an `http` one to loopback",
        ));
    }
    Ok(url)
}

/// Whether a request to this URL travels in the clear. Only a request to loopback may do so.
pub(crate) fn is_plain(url: &Url) -> bool {
    url.scheme() == "http"
}

/// Whether a client that reads the proxies of the environment may send a request to this URL in the clear through a
/// proxy.
pub(crate) fn may_be_proxied(url: &Url) -> bool {
    /// The environment at the first request.
    static ENVIRONMENT: LazyLock<Environment> =
        LazyLock::new(|| Environment::of(|name| env::var(name).ok()));
    is_plain(url) && ENVIRONMENT.may_proxy(url)
}

/// The variables that name a proxy for plain `http`, as reqwest and other clients read them.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// The proxy settings of the environment.
struct Environment {
    has_proxy: bool,
    /// The hosts that are reached without a proxy.
    exceptions: String,
}

impl Environment {
    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name: &&str| variable(name).is_some_and(|value| !value.trim().is_empty());
        let exceptions = variable("NO_PROXY").or_else(|| variable("no_proxy"));
        Self {
            has_proxy: PROXIES.iter().any(is_set),
            exceptions: exceptions.unwrap_or_default(),
        }
    }

    fn may_proxy(&self, url: &Url) -> bool {
        let mut entries = self.exceptions.split(',').map(str::trim);
        self.has_proxy && !entries.any(|entry| names(entry, url))
    }
}

/// Whether an exception names the host of this URL, by the rule of reqwest (hyper-util's `Matcher`): a star stands for
/// names only, and addresses have no brackets.
fn names(entry: &str, url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            entry == "*" || entry.trim_start_matches('.').eq_ignore_ascii_case(name)
        }
        Some(Host::Ipv4(address)) => match entry.split_once('/') {
            None => entry.parse() == Ok(address),
            Some((network, prefix)) => is_within(address, network, prefix).unwrap_or(false),
        },
        Some(Host::Ipv6(address)) => {
            let entry = entry.strip_suffix("/128").unwrap_or(entry);
            entry.parse::<Ipv6Addr>() == Ok(address)
        }
        None => false,
    }
}

fn is_within(address: Ipv4Addr, network: &str, prefix: &str) -> Option<bool> {
    let network: Ipv4Addr = network.parse().ok()?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    Some((address.to_bits() ^ network.to_bits()) & mask == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Origins, BuildError> {
        Origins::parse(&[text.to_owned()])
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() -> Result<(), Box<dyn std::error::Error>> {
        let origins = parse("https://api.example.org")?;
        assert!(origins.allow(&Url::parse("https://api.example.org:443/records?x=1")?));
        for other in [
            "http://api.example.org/",
            "https://api.example.org:8443/",
            "https://example.org/",
            "https://api.example.org.evil.net/",
        ] {
            assert!(!origins.allow(&Url::parse(other)?), "{other}");
        }
        Ok(())
    }

    #[test]
    fn an_invalid_origin_is_refused_with_the_allowed_form() {
        for text in [
            "http://api.example.org",
            "http://api.localhost",
            "api.example.org",
            "https://a.org/path",
            "https://u:p@a.org",
            "http://u:p@a.org",
            "https://u:p@*.a.org",
            "https://u:p@",
            "u:p@a.org",
            "ftp://a.org",
            "https://*.a.org",
            "",
        ] {
            let error = parse(text).map(|_| ()).expect_err(text).to_string();
            assert!(error.contains("https"), "{error}");
            assert!(!error.contains("u:p"), "{error}");
        }
        for text in [
            "http://127.0.0.1:8080",
            "http://[::1]:80",
            "http://localhost:1",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_token_may_be_sent_only_to_https_or_loopback() {
        for url in [
            "https://id.example.org/token",
            "http://127.0.0.1:8080/token",
            "http://127.8.9.10/token",
            "http://[::1]/token",
            "HTTP://LocalHost/token",
        ] {
            assert!(private_url("token_url", url).is_ok(), "{url}");
        }
        for url in [
            "",
            "id.example.org/token",
            "http://id.example.org/token",
            "http://10.0.0.1/token",
            "http://localhost.example.org/token",
            "http://id.localhost/token",
            "http://127.0.0.1.example.org/token",
            "http://[::2]/token",
            "ftp://127.0.0.1/token",
            "file:///token",
            "https://sesame@id.example.org/token",
            "https://:sesame@id.example.org/token",
        ] {
            let error = private_url("token_url", url).map(|_| url).unwrap_err();
            let BuildError::Invalid { name, problem, .. } = error else {
                panic!("{url}");
            };
            assert_eq!(name, "token_url");
            assert!(!problem.contains("sesame"), "{problem}");
        }
    }

    #[test]
    fn a_proxy_counts_unless_the_environment_excepts_the_host() {
        for (url, variables, expected) in [
            ("http://127.0.0.1:80/", &[][..], false),
            (
                "http://127.0.0.1:80/",
                &[("HTTP_PROXY", "http://p:1")],
                true,
            ),
            ("http://127.0.0.1:80/", &[("all_proxy", "http://p:1")], true),
            ("http://127.0.0.1:80/", &[("HTTP_PROXY", " ")], false),
            (
                "http://127.0.0.1:80/",
                &[
                    ("http_proxy", "http://p:1"),
                    ("NO_PROXY", "localhost, 127.0.0.1"),
                ],
                false,
            ),
            (
                "http://127.0.0.1:80/",
                &[("http_proxy", "http://p:1"), ("NO_PROXY", "localhost")],
                true,
            ),
            (
                "http://127.0.0.2:80/",
                &[("http_proxy", "http://p:1"), ("no_proxy", "127.0.0.0/8")],
                false,
            ),
            (
                "http://localhost/",
                &[("http_proxy", "http://p:1"), ("no_proxy", ".LocalHost")],
                false,
            ),
            (
                "http://[::1]/",
                &[("http_proxy", "http://p:1"), ("no_proxy", "::1")],
                false,
            ),
            // reqwest reads these entries in the same way.
            (
                "http://[::1]/",
                &[("http_proxy", "http://p:1"), ("no_proxy", "[::1]")],
                true,
            ),
            (
                "http://localhost/",
                &[("http_proxy", "http://p:1"), ("no_proxy", "*")],
                false,
            ),
            (
                "http://localhost/",
                &[
                    ("http_proxy", "http://p:1"),
                    ("NO_PROXY", ""),
                    ("no_proxy", "*"),
                ],
                true,
            ),
            (
                "http://[::1]/",
                &[("http_proxy", "http://p:1"), ("no_proxy", "*")],
                true,
            ),
        ] {
            let variable = |name: &str| {
                let mut all = variables.iter();
                all.find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            let url = Url::parse(url).unwrap();
            let may_proxy = Environment::of(variable).may_proxy(&url);
            assert_eq!(may_proxy, expected, "{url} {variables:?}");
        }
    }
}
