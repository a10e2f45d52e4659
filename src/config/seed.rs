//! `[seed]`: the first pair, as tokens or as the answer of a token endpoint.

use std::mem;
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::clock::{Clock, SystemClock};
use crate::parameters::{ConfigError, PositiveSpan, Secret, UtcTime, set};
use crate::settings::OnSeedConflict;
use crate::token::{Lifetime, RefreshExpiry, TokenPair};

/// How far the clock of the machine that noted `received_at` may be ahead of this machine's clock.
const SKEW: Duration = Duration::from_secs(60);

/// `[seed]`: the first pair.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Seed {
    response: Option<Secret>,
    received_at: Option<UtcTime>,
    refresh_token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<PositiveSpan>,
    refresh_expires_in: Option<PositiveSpan>,
    refresh_expiry: Option<RefreshExpiry>,
    pub(super) on_conflict: Option<OnSeedConflict>,
}

impl Seed {
    pub(super) fn first_pair(&self) -> Result<TokenPair, ConfigError> {
        let pair = match &self.response {
            Some(response) => self.of_response(response)?,
            None => self.of_tokens()?,
        };
        // No answer of a token endpoint states this.
        Ok(set(pair, self.refresh_expiry, TokenPair::refresh_expiry))
    }

    fn of_response(&self, response: &Secret) -> Result<TokenPair, ConfigError> {
        for (key, is_there) in [
            ("refresh_token", self.refresh_token.is_some()),
            ("access_token", self.access_token.is_some()),
            ("expires_in", self.expires_in.is_some()),
            ("refresh_expires_in", self.refresh_expires_in.is_some()),
        ] {
            if is_there {
                let problem = "cannot be combined with `response`; choose one";
                return Err(ConfigError::new(format!("seed.{key}"), problem));
            }
        }
        let age = self.received_at.map(age).transpose()?;
        let mut text = response.read_at("seed.response")?;
        let body = Zeroizing::new(mem::take(&mut *text).into_bytes());
        let pair = TokenPair::from_body(body, age.unwrap_or_default())
            .map_err(|error| ConfigError::not_made("seed.response", error.into()))?;
        Ok(match age {
            Some(_) => pair,
            None => of_unknown_age(pair),
        })
    }

    fn of_tokens(&self) -> Result<TokenPair, ConfigError> {
        let read = |path: &str, secret: &Option<Secret>| {
            let secret = secret.as_ref();
            secret.map(|secret| secret.read_at(path)).transpose()
        };
        let refresh = read("seed.refresh_token", &self.refresh_token)?;
        let access = read("seed.access_token", &self.access_token)?;
        for (key, is_set, needed, is_there) in [
            ("received_at", self.received_at.is_some(), "response", false),
            (
                "expires_in",
                self.expires_in.is_some(),
                "access_token",
                access.is_some(),
            ),
            (
                "refresh_expires_in",
                self.refresh_expires_in.is_some(),
                "refresh_token",
                refresh.is_some(),
            ),
        ] {
            if is_set && !is_there {
                let problem = format!("requires `{needed}`; set `{needed}`, or remove this key");
                return Err(ConfigError::new(format!("seed.{key}"), problem));
            }
        }
        let pair = match (&refresh, &access) {
            (_, Some(access)) => TokenPair::new(access.as_str()),
            (Some(refresh), None) => TokenPair::from_refresh_token(refresh.as_str()),
            (None, None) => {
                let problem =
                    "must have `refresh_token` or `access_token`, or both, or else `response`";
                return Err(ConfigError::new("seed", problem));
            }
        };
        let refresh = refresh.as_ref().map(|refresh| refresh.as_str());
        let pair = set(pair, refresh, TokenPair::refresh_token);
        let access_span = self.expires_in.map(|span| span.0);
        let refresh_span = self.refresh_expires_in.map(|span| span.0);
        let pair = set(pair, access_span, TokenPair::expires_in);
        Ok(set(pair, refresh_span, TokenPair::refresh_expires_in))
    }
}

/// The time since `received_at`.
fn age(UtcTime(received_at): UtcTime) -> Result<Duration, ConfigError> {
    let now = SystemClock.wall();
    if received_at > now + SKEW {
        let problem = "lies in the future; set the time in UTC at which the answer was received, or set this machine's clock";
        return Err(ConfigError::new("seed.received_at", problem));
    }
    Ok(now.saturating_sub(received_at))
}

/// A pair whose lifetimes count from a moment that is not known.
///
/// The modification time of a file would be a guess: a copy, a mount and a restored backup have another. A guess that is too
/// late makes a token look valid that is not, and a caller that cannot repeat its request fails with it. So no lifetime
/// counts, and where there is a refresh token, the access token does not count either: one exchange brings a pair whose
/// times are known. An access token alone is used until its own `exp`, or until an API rejects it.
fn of_unknown_age(pair: TokenPair) -> TokenPair {
    TokenPair {
        access: pair.access.filter(|_| pair.refresh.is_none()),
        lifetime: Lifetime::default(),
        ..pair
    }
}
