//! What a strict authorization server remembers, and what it answers to a grant. The state does no I/O, waits for
//! nothing, reads no clock and draws no random number: callers pass the time, and every token is derived from one seed.
//!
//! The state forgets no token, at some 200 bytes each: an expired or consumed token differs from one that was never
//! issued.

#[cfg(test)]
mod tests;
mod tokens;

use std::collections::HashMap;

use super::rules::{Client, RefreshTokens, Refusal, Rules, Words};
use crate::clock::Timestamp;
use crate::endpoint::Issued;
use crate::token::Scope;

/// What an access token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessCheck {
    /// APIs accept the token.
    Live,
    /// The token's lifetime is over.
    Expired,
    /// The token died before its expiry: by a rotation, by a logout, or with its family.
    Revoked,
    /// The server never issued the token.
    Unknown,
}

/// Counters for tests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) rotations: u64,
    pub(super) replays: u64,
    pub(super) families_revoked: u64,
    pub(super) sign_ins: u64,
    pub(super) revocations: u64,
}

pub(super) struct State {
    pub(super) rules: Rules,
    pub(super) counters: Counters,
    seed: u128,
    minted: u64,
    families: Vec<Family>,
    refresh: HashMap<String, Refresh>,
    access: HashMap<String, Access>,
}

/// One sign-in and all tokens issued since.
struct Family {
    revoked: bool,
    /// The end of the session, where its expiry is absolute.
    ends_at: Timestamp,
}

#[derive(Clone)]
struct Refresh {
    family: usize,
    expires_at: Timestamp,
    /// The last access token issued with this refresh token.
    access: String,
    fate: Fate,
}

#[derive(Clone)]
enum Fate {
    Live,
    /// Not consumed, and no longer accepted.
    Dead,
    Consumed(Use),
}

/// How a refresh token was consumed.
#[derive(Clone)]
struct Use {
    /// The first use.
    at: Timestamp,
    /// The latest answer to a use.
    answer: Issued,
    /// The number of answers after the first one.
    again: u32,
}

struct Access {
    family: usize,
    expires_at: Timestamp,
    revoked: bool,
    used: bool,
}

impl State {
    pub(super) fn new(rules: Rules, seed: u128) -> Self {
        Self {
            rules,
            counters: Counters::default(),
            seed,
            minted: 0,
            families: Vec::new(),
            refresh: HashMap::new(),
            access: HashMap::new(),
        }
    }

    /// The first pair of a new family.
    pub(super) fn issue(&mut self, now: Timestamp) -> Issued {
        let family = self.families.len();
        self.families.push(Family {
            revoked: false,
            ends_at: now + self.rules.refresh_ttl,
        });
        self.new_pair(family, now)
    }

    /// Exchanges the client's own credentials for the first pair of a new family.
    pub(super) fn sign_in(
        &mut self,
        client: Option<&Client>,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        self.authenticate(client)?;
        if !self.rules.sign_in {
            return Err(Refusal::UnauthorizedClient);
        }
        Ok(self.issue(now))
    }

    /// As [`refresh`](Self::refresh), for a scope. Only light-oauth2 checks the scope.
    pub(super) fn refresh_for(
        &mut self,
        scope: &Scope,
        token: &str,
        client: Option<&Client>,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        let looks = self.rules.words == Words::Light4j && self.authenticate(client).is_ok();
        if looks && !self.has_scope(scope) && self.is_live_refresh(token, now) {
            self.bury(token);
            return Err(Refusal::OtherScope);
        }
        self.refresh(token, client, now)
    }

    /// Exchanges a refresh token for the next pair (RFC 6749 section 6).
    pub(super) fn refresh(
        &mut self,
        token: &str,
        client: Option<&Client>,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        self.note_replay(token);
        if let Err(refusal) = self.authenticate(client) {
            return Err(self.refuse_client(token, refusal));
        }
        let held = self.refresh.get(token).cloned();
        let held = held.ok_or(Refusal::InvalidGrant)?;
        if self.families[held.family].revoked {
            return Err(Refusal::InvalidGrant);
        }
        match held.fate {
            Fate::Dead => Err(Refusal::InvalidGrant),
            Fate::Live if now >= held.expires_at => Err(Refusal::InvalidGrant),
            Fate::Live => Ok(self.rotate(token, held, now)),
            Fate::Consumed(first) => self.reuse(token, held.family, first, now),
        }
    }

    /// Counts a grant that presents a consumed token, whatever the answer.
    pub(super) fn note_replay(&mut self, token: &str) {
        let consumed = |held: &Refresh| matches!(held.fate, Fate::Consumed(_));
        self.counters.replays += u64::from(self.refresh.get(token).is_some_and(consumed));
    }

    /// Revokes the family of an access or refresh token (RFC 7009 section 2.1). An unknown token is not an error.
    pub(super) fn revoke(&mut self, token: &str, client: Option<&Client>) -> Result<(), Refusal> {
        self.counters.revocations += 1;
        self.authenticate(client)?;
        let of_refresh = self.refresh.get(token).map(|held| held.family);
        let of_access = self.access.get(token).map(|held| held.family);
        if let Some(family) = of_refresh.or(of_access) {
            self.families[family].revoked = true;
        }
        Ok(())
    }

    pub(super) fn revoke_all(&mut self) {
        for family in &mut self.families {
            family.revoked = true;
        }
    }

    pub(super) fn check(&self, token: &str, now: Timestamp) -> AccessCheck {
        let Some(held) = self.access.get(token) else {
            return AccessCheck::Unknown;
        };
        if held.revoked || self.families[held.family].revoked {
            AccessCheck::Revoked
        } else if now >= held.expires_at {
            AccessCheck::Expired
        } else {
            AccessCheck::Live
        }
    }

    /// Checks the token on behalf of an API that uses the token.
    pub(super) fn accept(&mut self, token: &str, now: Timestamp) -> AccessCheck {
        let worth = self.check(token, now);
        if worth == AccessCheck::Live
            && let Some(held) = self.access.get_mut(token)
        {
            held.used = true;
        }
        worth
    }

    pub(super) fn is_live_refresh(&self, token: &str, now: Timestamp) -> bool {
        self.refresh.get(token).is_some_and(|held| {
            matches!(held.fate, Fate::Live)
                && now < held.expires_at
                && !self.families[held.family].revoked
        })
    }

    fn authenticate(&self, client: Option<&Client>) -> Result<(), Refusal> {
        let Some(own) = &self.rules.client else {
            return Ok(());
        };
        match client {
            Some(client) if client == own => Ok(()),
            Some(client) if self.rules.other_clients.contains(client) => Err(Refusal::OtherClient),
            _ => Err(Refusal::InvalidClient),
        }
    }

    /// Whether the scope of issued tokens covers all of this scope.
    fn has_scope(&self, scope: &Scope) -> bool {
        let own = self.rules.scope.as_ref();
        let has = |name: &str| own.is_some_and(|own| own.iter().any(|it| it == name));
        scope.iter().all(has)
    }

    /// The refusal for a client that may not present this token. The token dies where a rule says so.
    fn refuse_client(&mut self, token: &str, refusal: Refusal) -> Refusal {
        let is_other = refusal == Refusal::OtherClient;
        let held = self.refresh.get(token);
        let is_live = held.is_some_and(|held| matches!(held.fate, Fate::Live));
        if self.rules.wrong_client_burns || is_other && self.rules.other_client_burns {
            self.bury(token);
        }
        if is_other && !is_live {
            Refusal::InvalidGrant
        } else {
            refusal
        }
    }

    fn rotate(&mut self, token: &str, mut held: Refresh, now: Timestamp) -> Issued {
        self.counters.rotations += 1;
        if self.rules.old_access_dies {
            self.revoke_access(&held.access);
        }
        if self.rules.refresh_tokens == RefreshTokens::Rotated {
            let answer = self.new_pair(held.family, now);
            let first = Use {
                at: now,
                answer: answer.clone(),
                again: 0,
            };
            self.consume(token, first);
            return answer;
        }
        held.access = self.new_access(held.family, now);
        let mut answer = self.answer(&held.access, now);
        match self.rules.refresh_tokens {
            RefreshTokens::Rotated | RefreshTokens::Omitted => {}
            RefreshTokens::Empty => answer.refresh = Some("".into()),
            RefreshTokens::Echoed => {
                held.expires_at = self.refresh_expiry(held.family, now);
                answer.refresh = Some(token.into());
                answer.refresh_expires_in = self.reported(held.expires_at, now);
            }
        }
        self.refresh.insert(token.to_owned(), held);
        answer
    }

    fn consume(&mut self, token: &str, by: Use) {
        if let Some(held) = self.refresh.get_mut(token) {
            held.fate = Fate::Consumed(by);
        }
    }

    /// Kills a refresh token that was not consumed.
    fn bury(&mut self, token: &str) {
        if let Some(held) = self.refresh.get_mut(token)
            && matches!(held.fate, Fate::Live)
        {
            held.fate = Fate::Dead;
        }
    }

    fn revoke_access(&mut self, token: &str) {
        if let Some(held) = self.access.get_mut(token) {
            held.revoked = true;
        }
    }
}
