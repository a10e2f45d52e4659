//! Tokens for loopback, which go there in the clear, do not go through a proxy: it would carry them over the network.

use std::env;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use url::{Host, Url};

use super::TokenManager;

/// The environment's proxies for plain `http`, as reqwest and other clients read them.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// As it is at the first request.
static ENVIRONMENT: LazyLock<Environment> =
    LazyLock::new(|| Environment::of(|name| env::var(name).ok()));

impl TokenManager {
    /// Warns once, where a client that is not ours may send a token for loopback through a proxy: it shows neither its
    /// proxies nor that it has none.
    pub(super) fn warn_of_proxies(&self, url: &Url) {
        if !is_plain(url) || !ENVIRONMENT.may_proxy(url) {
            return;
        }
        let key = &self.session.key;
        self.calls().proxy_warning.call_once(|| {
            tracing::warn!(
                %key,
                "a token for {} may go through a proxy of the environment: name that host in NO_PROXY, or send through \
                 TokenManager::client",
                url.host_str().unwrap_or_default()
            );
        });
    }
}

/// Whether it is sent in the clear. Only loopback is allowed to be.
pub(super) fn is_plain(url: &Url) -> bool {
    url.scheme() == "http"
}

/// What the environment says of proxies.
struct Environment {
    has_proxy: bool,
    /// The hosts that are reached without one.
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

/// Whether an exception names the host of this URL, by the rule that reqwest has (hyper-util's `Matcher`): a star stands for
/// names alone, and addresses have no brackets.
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

    #[test]
    fn a_proxy_is_warned_of_unless_the_host_is_excepted() {
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
            // As reqwest reads these.
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
