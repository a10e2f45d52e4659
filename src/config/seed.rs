use serde::Deserialize;

use super::error::ConfigError;
use super::scalar::PositiveSpan;
use super::secret::Secret;
use crate::settings::OnSeedConflict;
use crate::token::{RefreshExpiry, TokenPair};

/// The first pair.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Seed {
    refresh_token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<PositiveSpan>,
    refresh_expires_in: Option<PositiveSpan>,
    refresh_expiry: Option<RefreshExpiry>,
    on_conflict: Option<OnSeedConflict>,
}

impl Seed {
    pub(super) fn on_conflict(&self) -> Option<OnSeedConflict> {
        self.on_conflict
    }

    pub(super) fn first_pair(&self) -> Result<TokenPair, ConfigError> {
        let secret = |name: &str, secret: &Option<Secret>| {
            let path = format!("seed.{name}");
            secret
                .as_ref()
                .map(|secret| secret.read_at(&path))
                .transpose()
        };
        let refresh = secret("refresh_token", &self.refresh_token)?;
        let access = secret("access_token", &self.access_token)?;
        let mut pair = match (&refresh, &access) {
            (_, Some(access)) => TokenPair::new(access.as_str()),
            (Some(refresh), None) => TokenPair::from_refresh_token(refresh.as_str()),
            (None, None) => {
                let problem = "must have `refresh_token` or `access_token`, or both";
                return Err(ConfigError::new("seed", problem));
            }
        };
        if let Some(refresh) = &refresh {
            pair = pair.refresh_token(refresh.as_str());
        }
        for (name, span, token, of) in [
            ("expires_in", self.expires_in, &access, "access_token"),
            (
                "refresh_expires_in",
                self.refresh_expires_in,
                &refresh,
                "refresh_token",
            ),
        ] {
            if span.is_some() && token.is_none() {
                let problem = format!("is there without `{of}`");
                return Err(ConfigError::new(format!("seed.{name}"), problem));
            }
        }
        if let Some(PositiveSpan(total)) = self.expires_in {
            pair = pair.expires_in(total);
        }
        if let Some(PositiveSpan(total)) = self.refresh_expires_in {
            pair = pair.refresh_expires_in(total);
        }
        if let Some(refresh_expiry) = self.refresh_expiry {
            pair = pair.refresh_expiry(refresh_expiry);
        }
        Ok(pair)
    }
}
