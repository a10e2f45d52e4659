//! How tokens come about, and what an answer says of them.

use std::time::Duration;

use super::{Access, Fate, Refresh, State};
use crate::clock::Timestamp;
use crate::endpoint::Issued;
use crate::token::{AccessToken, Digest, RefreshExpiry};

impl State {
    pub(super) fn new_pair(&mut self, family: usize, now: Timestamp) -> Issued {
        let access = self.new_access(family, now);
        let token = self.mint("rt");
        let expires_at = self.refresh_expiry(family, now);
        let mut answer = self.answer(&access, now);
        answer.refresh = Some(token.as_str().into());
        answer.refresh_expires_in = self.told(expires_at, now);
        let held = Refresh {
            family,
            expires_at,
            access,
            fate: Fate::Live,
        };
        self.refresh.insert(token, held);
        answer
    }

    pub(super) fn new_access(&mut self, family: usize, now: Timestamp) -> String {
        let token = self.mint("at");
        let own = now + self.rules.access_ttl;
        let expires_at = match self.rules.refresh_expiry {
            RefreshExpiry::Sliding => own,
            RefreshExpiry::Absolute => own.min(self.families[family].ends_at),
        };
        let held = Access {
            family,
            expires_at,
            revoked: false,
            used: false,
        };
        self.access.insert(token.clone(), held);
        token
    }

    pub(super) fn refresh_expiry(&self, family: usize, now: Timestamp) -> Timestamp {
        match self.rules.refresh_expiry {
            RefreshExpiry::Sliding => now + self.rules.refresh_ttl,
            RefreshExpiry::Absolute => self.families[family].ends_at,
        }
    }

    /// What is said of an access token; nothing yet of a refresh token.
    pub(super) fn answer(&self, access: &str, now: Timestamp) -> Issued {
        Issued {
            access: Some(AccessToken::new(access)),
            expires_in: self
                .access
                .get(access)
                .map(|held| held.expires_at.since(now)),
            refresh_expiry: self.rules.refresh_expiry,
            token_type: Some(self.rules.token_type.to_owned()),
            scope: self.rules.scope.clone(),
            ..Issued::default()
        }
    }

    pub(super) fn told(&self, expires_at: Timestamp, now: Timestamp) -> Option<Duration> {
        self.rules
            .issue_refresh_expires_in
            .then(|| expires_at.since(now))
    }

    /// A new opaque token of 128 bits: nobody guesses it without the seed.
    fn mint(&mut self, kind: &str) -> String {
        self.minted += 1;
        let digest = Digest::of(format!("{:032x} {}", self.seed, self.minted));
        format!("{kind}-{digest}")
    }
}
