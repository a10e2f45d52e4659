//! The keys of a configuration that do not depend on the kinds of its endpoint, store and strategy.

use http::StatusCode;
use serde::Deserialize;

#[cfg(feature = "gateway")]
use super::gateway::GatewayTable;
use super::sessions::SessionsTable;
use crate::api::ApiProfile;
use crate::manager::Builder;
use crate::parameters::{ConfigError, ErrorStatus, Header, Scopes, Span, Value, set};
use crate::settings::{CoolDown, Coordination, OnStoreFailure, Persistence, settings};
use crate::token::Key;

/// Without the feature the table stays unread.
#[cfg(not(feature = "gateway"))]
type GatewayTable = Value;

/// The whole configuration. The tables that depend on a kind stay unread.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Document {
    pub(super) refresh: Refresh,
    pub(super) http: Http,
    pub(super) store: Option<Value>,
    pub(super) endpoint: Option<Value>,
    pub(super) session: KeyParts,
    pub(super) sessions: Option<SessionsTable>,
    pub(super) gateway: Option<GatewayTable>,
    pub(super) seed: Option<Value>,
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident: $kind:ty [$key:ty] = $default:expr;)*) => {
        /// `[refresh]`: when and how the manager rotates.
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct Refresh {
            pub(super) strategy: Option<Value>,
            $($name: Option<$key>,)*
        }

        impl Refresh {
            pub(super) fn apply<T>(&self, builder: Builder<T>) -> Builder<T> {
                $(let builder = set(builder, self.$name.clone().map(Into::into), Builder::$name);)*
                builder
            }
        }
    };
}
settings!(keys);

/// `[http]`: the APIs that get the token, and how the token is sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http {
    pub(super) origins: Vec<String>,
    reject_on: Option<Vec<ErrorStatus>>,
    profile: Option<Profile>,
    header: Option<Header>,
    cookie: Option<String>,
    gateway_unavailable: Option<bool>,
}

impl Http {
    pub(super) fn apply<T>(&self, mut builder: Builder<T>) -> Result<Builder<T>, ConfigError> {
        for origin in &self.origins {
            builder = builder.origin(origin);
        }
        let mut api = match self.profile {
            Some(profile) => profile.api()?,
            None => ApiProfile::default(),
        };
        if let Some(statuses) = &self.reject_on {
            let statuses: Vec<StatusCode> = statuses.iter().map(|status| status.0).collect();
            api = api.reject_on(statuses);
        }
        let api = set(
            api,
            self.gateway_unavailable,
            ApiProfile::gateway_unavailable,
        );
        if self.header.is_some() && self.cookie.is_some() {
            let problem = "cannot be combined with `header`; choose one";
            return Err(ConfigError::new("http.cookie", problem));
        }
        let header = self.header.as_ref().map(|header| header.0.clone());
        let builder = set(builder.api(api), header, Builder::header);
        Ok(set(builder, self.cookie.clone(), Builder::cookie))
    }
}

/// A kind of API that the crate knows by its name.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Profile {
    Okapi,
    Eureka,
}

impl Profile {
    #[cfg(feature = "folio")]
    #[expect(clippy::unnecessary_wraps, reason = "without the feature it fails")]
    fn api(self) -> Result<ApiProfile, ConfigError> {
        Ok(match self {
            Self::Okapi => ApiProfile::okapi(),
            Self::Eureka => ApiProfile::eureka(),
        })
    }

    #[cfg(not(feature = "folio"))]
    fn api(self) -> Result<ApiProfile, ConfigError> {
        Err(ConfigError::without_feature("http.profile", "", "folio"))
    }
}

/// `[session]`: the parts of the session's key that the configuration names. The endpoint supplies the others.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KeyParts {
    issuer: Option<String>,
    client_id: Option<String>,
    tenant: Option<String>,
    subject: Option<String>,
    scope: Option<Scopes>,
    audience: Option<String>,
    label: Option<String>,
}

impl KeyParts {
    pub(super) fn over(&self, mut key: Key) -> Key {
        for (part, own) in [
            (&mut key.issuer, &self.issuer),
            (&mut key.client_id, &self.client_id),
            (&mut key.tenant, &self.tenant),
            (&mut key.subject, &self.subject),
            (&mut key.audience, &self.audience),
            (&mut key.label, &self.label),
        ] {
            if let Some(own) = own {
                part.clone_from(own);
            }
        }
        if let Some(scope) = &self.scope {
            key.scope.clone_from(&scope.0);
        }
        key
    }
}
