//! Tokens for loopback, which go there in the clear, do not go through a proxy: it would carry them over the network.

use std::env;

use url::{Host, Url};

use super::TokenManager;

/// The environment's proxies for plain `http`, as reqwest and other clients read them.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// The hosts that are reached without one.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

impl TokenManager {
    /// Warns once, where a client that is not ours may send a token for loopback through a proxy: it shows neither its
    /// proxies nor that it has none.
    pub(super) fn warn_of_proxies(&self, url: &Url) {
        if !is_plain(url) || !may_be_proxied(url, |name| env::var(name).ok()) {
            return;
        }
        let key = &self.session.key;
        self.calls.proxy_warning.call_once(|| {
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

fn may_be_proxied(url: &Url, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name: &&str| variable(name).is_some_and(|value| !value.trim().is_empty());
    let is_named = |name: &&str| variable(name).is_some_and(|list| names(&list, url));
    PROXIES.iter().any(is_set) && !EXCEPTIONS.iter().any(is_named)
}

/// Whether a list of exceptions names the host of this URL.
fn names(list: &str, url: &Url) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|entry| match url.host() {
            _ if entry == "*" => true,
            Some(Host::Domain(name)) => entry.trim_start_matches('.').eq_ignore_ascii_case(name),
            // Networks are written as 127.0.0.0/8.
            Some(Host::Ipv4(address)) => entry == address.to_string() || entry == "127.0.0.0/8",
            Some(Host::Ipv6(address)) => entry.trim_matches(['[', ']']) == address.to_string(),
            None => false,
        })
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
                &[("http_proxy", "http://p:1"), ("no_proxy", "[::1]")],
                false,
            ),
            (
                "http://[::1]/",
                &[("http_proxy", "http://p:1"), ("no_proxy", "*")],
                false,
            ),
        ] {
            let variable = |name: &str| {
                let mut all = variables.iter();
                all.find(|(known, _)| *known == name)
                    .map(|(_, value)| (*value).to_owned())
            };
            let url = Url::parse(url).unwrap();
            assert_eq!(
                may_be_proxied(&url, variable),
                expected,
                "{url} {variables:?}"
            );
        }
    }
}
