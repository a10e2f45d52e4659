use http::{HeaderValue, Uri};
use serde::Deserialize;
use url::Url;

use crate::error::BuildError;
use crate::origin::private_url;

/// What stands in front of FOLIO's modules, and keeps its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    Okapi,
    Eureka,
}

/// One tenant's login service.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(super) mode: Mode,
    url: Url,
    pub(super) tenant: String,
    pub(super) tenant_header: HeaderValue,
}

impl Site {
    pub(super) fn new(mode: Mode, url: &str, tenant: String) -> Result<Self, BuildError> {
        let url = private_url("url", url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BuildError::invalid(
                "url",
                "must not have a query or a fragment; it ends where `/authn` begins",
            ));
        }
        let tenant_header = HeaderValue::from_str(&tenant).ok();
        let tenant_header = tenant_header.filter(|_| !tenant.trim().is_empty());
        let tenant_header = tenant_header.ok_or_else(|| {
            BuildError::invalid("tenant", "must be the name of a tenant, such as `diku`")
        })?;
        Ok(Self {
            mode,
            url,
            tenant,
            tenant_header,
        })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The address of one of its interfaces, below the path that FOLIO is reached at.
    pub(super) fn at(&self, path_and_query: &str) -> Result<Uri, http::uri::InvalidUri> {
        format!("{}{path_and_query}", self.base()).parse()
    }

    /// Without a slash at its end.
    pub(super) fn base(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_url_stands_before_each_of_its_own() {
        for (url, refresh) in [
            (
                "https://folio.example.org",
                "https://folio.example.org/authn/refresh",
            ),
            (
                "https://folio.example.org/okapi",
                "https://folio.example.org/okapi/authn/refresh",
            ),
            (
                "http://127.0.0.1:9130/okapi//",
                "http://127.0.0.1:9130/okapi/authn/refresh",
            ),
        ] {
            let site = Site::new(Mode::Okapi, url, "diku".to_owned()).unwrap();
            assert_eq!(site.at("/authn/refresh").unwrap(), refresh);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |url: &str, tenant: &str| {
            let made = Site::new(Mode::Eureka, url, tenant.to_owned());
            let BuildError::Invalid { name, .. } = made.expect_err(url) else {
                panic!("{url}");
            };
            name
        };
        for url in [
            "",
            "folio.example.org",
            "http://folio.example.org",
            "https://u:p@folio.example.org",
            "https://folio.example.org?tenant=diku",
            "https://folio.example.org/#x",
        ] {
            assert_eq!(refused(url, "diku"), "url", "{url}");
        }
        for tenant in ["", " ", "di\nku"] {
            assert_eq!(refused("https://folio.example.org", tenant), "tenant");
        }
    }
}
