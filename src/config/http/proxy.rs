//! `proxy`: the proxy that requests go through, or "none".

use std::fmt;

use reqwest::{ClientBuilder, Proxy};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use url::Url;
use zeroize::Zeroizing;

use crate::parameters::{ConfigError, Secret};

pub(super) enum ProxyKeys {
    /// Requests go through no proxy, also where the environment names one.
    None,
    Server(Server),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    url: ProxyUrl,
    username: Option<String>,
    password: Option<Secret>,
}

/// The URL of a proxy, without credentials: they are secrets of their own, and a URL is shown in too many places.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct ProxyUrl(Url);

impl ProxyKeys {
    pub(super) fn applied(self, builder: ClientBuilder) -> Result<ClientBuilder, ConfigError> {
        // Also takes away the proxies of the program, of which the first one would be used.
        let builder = builder.no_proxy();
        match self {
            Self::None => Ok(builder),
            Self::Server(server) => Ok(builder.proxy(server.proxy()?)),
        }
    }
}

impl Server {
    fn proxy(self) -> Result<Proxy, ConfigError> {
        let refused = |error: reqwest::Error| {
            let problem = "cannot be used as a proxy; check the URL";
            ConfigError::new("proxy", problem).with_source(error.without_url())
        };
        let proxy = Proxy::all(self.url.0).map_err(refused)?;
        let Some(username) = self.username else {
            return match self.password {
                None => Ok(proxy),
                Some(_) => {
                    let problem = "requires `username`; set `username`, or remove this key";
                    Err(ConfigError::new("proxy.password", problem))
                }
            };
        };
        // Basic authentication ends the name at the first colon (RFC 7617 section 2).
        if username.is_empty() || username.contains(':') {
            let problem = "must not be empty and must not hold a colon";
            return Err(ConfigError::new("proxy.username", problem));
        }
        let password = self.password;
        let password = password.map(|password| password.read_at("proxy.password"));
        let password = password.transpose()?.unwrap_or_default();
        Ok(proxy.basic_auth(&username, &password))
    }
}

impl TryFrom<String> for ProxyUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&Zeroizing::new(text))
    }
}

impl ProxyUrl {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).ok();
        // reqwest passes by a proxy of a kind that it does not know.
        let url = url.filter(|url| ["http", "https"].contains(&url.scheme()));
        let url = url.ok_or(
            "must be an `http` or `https` URL, such as \"http://proxy.example.org:3128\", or \"none\"",
        )?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "must not hold a user name or a password in the URL; write a table of `url`, `username` and `password`",
            );
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("must be the URL of a proxy: scheme, host and port, and nothing after");
        }
        Ok(Self(url))
    }
}

impl<'de> Deserialize<'de> for ProxyKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProxyVisitor)
    }
}

struct ProxyVisitor;

impl<'de> Visitor<'de> for ProxyVisitor {
    type Value = ProxyKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#""none", a URL, or a table of `url`, `username` and `password`"#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ProxyKeys, E> {
        if text == "none" {
            return Ok(ProxyKeys::None);
        }
        let url = ProxyUrl::parse(text).map_err(E::custom)?;
        Ok(ProxyKeys::Server(Server {
            url,
            username: None,
            password: None,
        }))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<ProxyKeys, A::Error> {
        Server::deserialize(MapAccessDeserializer::new(access)).map(ProxyKeys::Server)
    }
}
