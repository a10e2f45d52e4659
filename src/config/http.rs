//! `[endpoint.http]`: the HTTP client of an endpoint. Every endpoint of the crate that calls a server has this table, with the
//! same keys.
//!
//! The keys say where a request goes out and what it carries besides the token. What the endpoint itself decides (one
//! connection for each request, no redirects, its own headers) has no key.

mod proxy;
mod tls;

use std::collections::BTreeMap;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::ClientBuilder;
use serde::Deserialize;

use self::proxy::ProxyKeys;
use crate::endpoint::{sensitive_header, user_agent};
use crate::parameters::{ConfigError, LocalPath, Secret};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpKeys {
    ca_file: Option<LocalPath>,
    certificate_file: Option<LocalPath>,
    private_key: Option<Secret>,
    proxy: Option<ProxyKeys>,
    headers: BTreeMap<String, Secret>,
    user_agent: Option<String>,
}

/// Headers that are not for a configuration to set, with what to do instead: those that the endpoints set, those that belong
/// to the connection or the proxy, and those with which a server answers something else than a pair.
const RESERVED: [Reserved; 19] = [
    (header::ACCEPT, ""),
    (header::ACCEPT_ENCODING, ""),
    (header::AUTHORIZATION, "; set the credentials of the client"),
    (header::CONNECTION, ""),
    (header::CONTENT_ENCODING, ""),
    (header::CONTENT_LENGTH, ""),
    (header::CONTENT_TYPE, ""),
    (header::COOKIE, ""),
    (header::EXPECT, ""),
    (header::HOST, ""),
    (HeaderName::from_static("keep-alive"), ""),
    (
        header::PROXY_AUTHORIZATION,
        "; set `username` and `password` of `proxy`",
    ),
    (HeaderName::from_static("proxy-connection"), ""),
    (header::RANGE, ""),
    (header::TE, ""),
    (header::TRAILER, ""),
    (header::TRANSFER_ENCODING, ""),
    (header::UPGRADE, ""),
    (header::USER_AGENT, "; set `user_agent`"),
];

/// The same, of `folio` alone.
#[cfg(feature = "folio")]
pub(super) const FOLIO_RESERVED: [Reserved; 2] = [
    (
        HeaderName::from_static("x-okapi-tenant"),
        "; set the `tenant` of the endpoint",
    ),
    (HeaderName::from_static("x-okapi-token"), ""),
];

/// A header and the end of the error, which names what to do instead.
pub(super) type Reserved = (HeaderName, &'static str);

impl HttpKeys {
    /// The builder with these keys applied, and the headers that each request carries. Reads the files and the secrets.
    /// `reserved` are headers that this endpoint sets besides those that every endpoint does.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with the path `http` and the key.
    pub(super) fn client(
        self,
        builder: ClientBuilder,
        reserved: &[Reserved],
    ) -> Result<(ClientBuilder, HeaderMap), ConfigError> {
        let applied = self.applied(builder, reserved);
        applied.map_err(|error| error.inside("http"))
    }

    fn applied(
        self,
        mut builder: ClientBuilder,
        reserved: &[Reserved],
    ) -> Result<(ClientBuilder, HeaderMap), ConfigError> {
        if let Some(LocalPath(file)) = &self.ca_file {
            builder = tls::trust(builder, file)?;
        }
        match (&self.certificate_file, &self.private_key) {
            (None, None) => {}
            (Some(LocalPath(file)), Some(key)) => builder = tls::identify(builder, file, key)?,
            (Some(_), None) => return Err(alone("certificate_file", "private_key")),
            (None, Some(_)) => return Err(alone("private_key", "certificate_file")),
        }
        if let Some(proxy) = self.proxy {
            builder = proxy.applied(builder)?;
        }
        if let Some(agent) = self.user_agent {
            let agent = user_agent(&agent);
            let agent = agent.map_err(|error| ConfigError::not_made("", error.into()))?;
            builder = builder.user_agent(agent);
        }
        Ok((builder, headers(self.headers, reserved)?))
    }
}

/// A key that stands without the other one that it needs.
fn alone(key: &str, other: &str) -> ConfigError {
    let problem = format!("requires `{other}`; set `{other}`, or remove this key");
    ConfigError::new(key, problem)
}

fn headers(
    keys: BTreeMap<String, Secret>,
    reserved: &[Reserved],
) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::with_capacity(keys.len());
    for (key, value) in keys {
        let path = format!("headers.{key}");
        let refused = |problem: String| ConfigError::new(path.as_str(), problem);
        let name = HeaderName::try_from(key.as_str());
        let name = name.map_err(|_| refused("is not the name of a header".to_owned()))?;
        let is_it = |(reserved, _): &&Reserved| *reserved == name;
        if let Some((_, remedy)) = RESERVED.iter().chain(reserved).find(is_it) {
            return Err(refused(format!("cannot be configured{remedy}")));
        }
        let text = value.read_at(&path)?;
        let is_secret = value.is_reference();
        let mut value = header_value(&text).ok_or_else(|| {
            refused("must not hold a line break or another control character".to_owned())
        })?;
        value.set_sensitive(is_secret);
        if headers.insert(name, value).is_some() {
            let problem = "is the name of another header too, in other letters; remove one";
            return Err(refused(problem.to_owned()));
        }
    }
    Ok(headers)
}

fn header_value(text: &str) -> Option<HeaderValue> {
    sensitive_header(&[text.as_bytes()])
}
