//! Where tokens may go. An origin is scheme, host and port (RFC 6454); paths and redirects do not extend it.

use url::{Host, Origin, Url};

use crate::error::BuildError;

/// The origins that may be given tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(Vec<(Origin, Url)>);

impl Origins {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn parse(texts: &[String]) -> Result<Self, BuildError> {
        texts
            .iter()
            .map(|text| origin(text))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a request to this URL may carry a token.
    pub(crate) fn allow(&self, url: &Url) -> bool {
        let origin = url.origin();
        self.0.iter().any(|(allowed, _)| *allowed == origin)
    }

    pub(crate) fn any(&self, test: fn(&Url) -> bool) -> bool {
        self.0.iter().any(|(_, url)| test(url))
    }
}

/// Whether bytes sent to this URL are safe from the network: `https`, or plain `http` to this machine.
pub(crate) fn is_private(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        // Names below it are resolved by DNS, as others are.
        ("http", Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

fn origin(text: &str) -> Result<(Origin, Url), BuildError> {
    let is_none = "an origin has no path, query or credentials: https://host[:port]";
    // First, because the others repeat the text.
    if text.contains('@') {
        return Err(BuildError::invalid("origin", is_none));
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
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !is_bare {
        return Err(BuildError::invalid("origin", is_none));
    }
    Ok((url.origin(), url))
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
    fn what_is_no_origin_is_refused_with_what_is_allowed() {
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
}
