//! Issuing tokens, and the answer to a consumed refresh token that a client presents again.

use std::time::Duration;

use super::super::rules::{GraceAnswer, Reuse};
use super::{Access, Fate, Refresh, Refusal, State, Use};
use crate::clock::Timestamp;
use crate::endpoint::Issued;
use crate::token::{AccessToken, Digest, RefreshExpiry, RefreshToken};

impl State {
    pub(super) fn new_pair(&mut self, family: usize, now: Timestamp) -> Issued {
        let access = self.new_access(family, now);
        let token = self.mint("rt");
        let expires_at = self.refresh_expiry(family, now);
        let mut answer = self.answer(&access, now);
        answer.refresh = Some(token.as_str().into());
        answer.refresh_expires_in = self.reported(expires_at, now);
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

    /// The part of an answer that describes the access token.
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

    pub(super) fn reported(&self, expires_at: Timestamp, now: Timestamp) -> Option<Duration> {
        self.rules
            .issue_refresh_expires_in
            .then(|| expires_at.since(now))
    }

    /// A new opaque token of 128 bits, which cannot be guessed without the seed.
    fn mint(&mut self, kind: &str) -> String {
        self.minted += 1;
        let digest = Digest::of(format!("{:032x} {}", self.seed, self.minted));
        format!("{kind}-{digest}")
    }
}

impl State {
    /// The answer to a consumed refresh token.
    pub(super) fn reuse(
        &mut self,
        token: &str,
        family: usize,
        first: Use,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        let age = now.since(first.at);
        let successor = first.successor();
        match self.rules.reuse {
            Reuse::Linked { window } if age < window && !self.is_consumed(successor) => {
                Ok(first.answer)
            }
            Reuse::Renew { window, times }
                if age < window && first.again < times && !self.is_consumed(successor) =>
            {
                Ok(self.renew(token, family, first, now))
            }
            Reuse::Refuse | Reuse::Linked { .. } | Reuse::Renew { .. } => {
                Err(Refusal::InvalidGrant)
            }
            Reuse::Grace {
                window,
                answer: GraceAnswer::SamePair,
            } if age < window && !self.is_consumed(successor) => Ok(first.answer),
            Reuse::Grace {
                window,
                answer: GraceAnswer::Fork,
            } if age < window => {
                self.counters.rotations += 1;
                Ok(self.new_pair(family, now))
            }
            Reuse::Grace {
                window,
                answer: GraceAnswer::LastWins,
            } if age < window && !self.is_used(successor) => {
                Ok(self.renew(token, family, first, now))
            }
            Reuse::RevokeFamily | Reuse::Grace { .. } => {
                self.families[family].revoked = true;
                self.counters.families_revoked += 1;
                Err(Refusal::InvalidGrant)
            }
        }
    }

    /// Another pair for a consumed refresh token. The pair that the token brought before dies.
    fn renew(&mut self, token: &str, family: usize, first: Use, now: Timestamp) -> Issued {
        self.counters.rotations += 1;
        self.bury(first.successor());
        let access = first.answer.access.as_ref();
        self.revoke_access(access.map_or("", AccessToken::expose));
        let answer = self.new_pair(family, now);
        let renewed = Use {
            at: first.at,
            answer: answer.clone(),
            again: first.again + 1,
        };
        self.consume(token, renewed);
        answer
    }

    fn is_consumed(&self, token: &str) -> bool {
        self.refresh
            .get(token)
            .is_some_and(|held| matches!(held.fate, Fate::Consumed(_)))
    }

    fn is_used(&self, token: &str) -> bool {
        let came_with = self.refresh.get(token).map(|held| &held.access);
        let access_used = came_with
            .and_then(|access| self.access.get(access))
            .is_some_and(|access| access.used);
        access_used || self.is_consumed(token)
    }
}

impl Use {
    /// The latest refresh token that the use brought.
    fn successor(&self) -> &str {
        self.answer
            .refresh
            .as_ref()
            .map_or("", RefreshToken::expose)
    }
}
