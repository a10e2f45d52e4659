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

/// Headers that are not for a configuration to set, with what to do instead. The endpoints set all of them but `Host` and
/// the headers of the connection, which the HTTP client sets.
const RESERVED: [(HeaderName, &str); 18] = [
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
    (
        header::PROXY_AUTHORIZATION,
        "; set `username` and `password` of `proxy`",
    ),
    (header::TE, ""),
    (header::TRAILER, ""),
    (header::TRANSFER_ENCODING, ""),
    (header::UPGRADE, ""),
    (header::USER_AGENT, "; set `user_agent`"),
    (
        HeaderName::from_static("x-okapi-tenant"),
        "; set the `tenant` of `folio`",
    ),
    (HeaderName::from_static("x-okapi-token"), ""),
];

impl HttpKeys {
    /// The builder with these keys applied, and the headers that each request carries. Reads the files and the secrets.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with the path `http` and the key.
    pub(super) fn client(
        self,
        builder: ClientBuilder,
    ) -> Result<(ClientBuilder, HeaderMap), ConfigError> {
        self.applied(builder).map_err(|error| error.inside("http"))
    }

    fn applied(
        self,
        mut builder: ClientBuilder,
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
        Ok((builder, headers(self.headers)?))
    }
}

/// A key that stands without the other one that it needs.
fn alone(key: &str, other: &str) -> ConfigError {
    let problem = format!("requires `{other}`; set `{other}`, or remove this key");
    ConfigError::new(key, problem)
}

fn headers(keys: BTreeMap<String, Secret>) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::with_capacity(keys.len());
    for (key, value) in keys {
        let path = format!("headers.{key}");
        let refused = |problem: String| ConfigError::new(path.as_str(), problem);
        let name = HeaderName::try_from(key.as_str());
        let name = name.map_err(|_| refused("is not the name of a header".to_owned()))?;
        if let Some((_, remedy)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
            let problem = format!("is a header that the endpoint sets itself{remedy}");
            return Err(refused(problem));
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
