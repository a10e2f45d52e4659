//! The keys of a configuration that are the same whatever endpoint, store and strategy it names.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use super::error::ConfigError;
use super::scalar::{ErrorStatus, Header, Scopes, Span};
use super::value::Value;
use crate::api::ApiProfile;
use crate::manager::Builder;
use crate::settings::{CoolDown, Coordination, OnStoreFailure, Persistence};
use crate::token::Key;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Document {
    pub(super) refresh: Refresh,
    pub(super) http: Http,
    pub(super) store: Option<Value>,
    pub(super) endpoint: Option<Value>,
    pub(super) session: KeyParts,
    pub(super) seed: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Refresh {
    pub(super) strategy: Option<Value>,
    coordination: Option<Coordination>,
    persistence: Storing,
    wait: Option<Span>,
    leeway: Option<Span>,
    jitter: Option<f64>,
    lease_duration: Option<Span>,
    cool_down: Pauses,
    shortest_interval: Option<Span>,
    poll_interval: Option<Span>,
    expiring_before: Option<Span>,
    ended_before: Option<Span>,
}

impl Refresh {
    pub(super) fn apply(&self, builder: Builder) -> Builder {
        let Self {
            strategy: _,
            coordination,
            persistence,
            wait,
            leeway,
            jitter,
            lease_duration,
            cool_down,
            shortest_interval,
            poll_interval,
            expiring_before,
            ended_before,
        } = self;
        let mut builder = builder.cool_down(cool_down.cool_down());
        builder = set(builder, *coordination, Builder::coordination);
        builder = builder.persistence(persistence.persistence());
        let on_store_failure = persistence.on_store_failure;
        builder = set(builder, on_store_failure, Builder::on_store_failure);
        builder = set(builder, *jitter, Builder::jitter);
        for (span, setter) in [
            (wait, Builder::wait as fn(Builder, Duration) -> Builder),
            (leeway, Builder::leeway),
            (lease_duration, Builder::lease_duration),
            (shortest_interval, Builder::shortest_interval),
            (poll_interval, Builder::poll_interval),
            (expiring_before, Builder::expiring_before),
            (ended_before, Builder::ended_before),
        ] {
            builder = set(builder, span.map(|span| span.0), setter);
        }
        builder
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Storing {
    workers: u32,
    queue: Option<u32>,
    retries: Option<u32>,
    on_store_failure: Option<OnStoreFailure>,
}

impl Storing {
    fn persistence(&self) -> Persistence {
        let many = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let mut persistence = Persistence::write_behind(many(self.workers));
        if let Some(pairs) = self.queue {
            persistence = persistence.queue(many(pairs));
        }
        if let Some(times) = self.retries {
            persistence = persistence.retries(times);
        }
        persistence
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Pauses {
    early: Option<Span>,
    expired: Option<Span>,
    longest: Option<Span>,
    retry_after_limit: Option<Span>,
}

impl Pauses {
    fn cool_down(&self) -> CoolDown {
        let default = CoolDown::default();
        let or = |span: &Option<Span>, default| span.map_or(default, |span| span.0);
        CoolDown {
            early: or(&self.early, default.early),
            expired: or(&self.expired, default.expired),
            longest: or(&self.longest, default.longest),
            retry_after_limit: or(&self.retry_after_limit, default.retry_after_limit),
        }
    }
}

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
    pub(super) fn apply(&self, mut builder: Builder) -> Result<Builder, ConfigError> {
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
        if let Some(is_the_gateways) = self.gateway_unavailable {
            api = api.gateway_unavailable(is_the_gateways);
        }
        if self.header.is_some() && self.cookie.is_some() {
            let problem = "is there beside `header`, and a token goes to one place";
            return Err(ConfigError::new("http.cookie", problem));
        }
        let header = self.header.as_ref().map(|header| header.0.clone());
        let builder = set(builder.api(api), header, Builder::header);
        Ok(set(builder, self.cookie.clone(), Builder::cookie))
    }
}

/// A kind of API that is known by its name.
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
        let problem = "takes evertoken's feature `folio`, and this program was built without it";
        Err(ConfigError::new("http.profile", problem))
    }
}

/// What is known of the session beside what the endpoint knows.
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

fn set<T>(builder: Builder, value: Option<T>, setter: fn(Builder, T) -> Builder) -> Builder {
    match value {
        Some(value) => setter(builder, value),
        None => builder,
    }
}
