//! What a strict authorization server remembers, and what it answers to a grant. The state does no I/O, waits for
//! nothing, reads no clock and draws no random number: callers pass the time, and every token is derived from one seed.
//!
//! The state forgets no token, at some 200 bytes each: an expired or consumed token differs from one that was never
//! issued.

mod codes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use self::codes::Code;
pub(super) use self::codes::{CodeGrant, Terms};
use super::rules::{Client, GraceAnswer, RefreshTokens, Refusal, Reuse, Rules, Words, covers};
use crate::clock::Timestamp;
use crate::endpoint::Issued;
use crate::token::{AccessToken, Digest, RefreshExpiry, RefreshToken, Scope};

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

/// What the server decides about a grant.
type Decision = Result<Issued, Refusal>;

/// Counters for tests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) rotations: u64,
    pub(super) replays: u64,
    pub(super) families_revoked: u64,
    pub(super) sign_ins: u64,
    pub(super) revocations: u64,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) rules: Rules,
    pub(super) counters: Counters,
    seed: u128,
    minted: u64,
    families: Vec<Family>,
    refresh: HashMap<String, Refresh>,
    access: HashMap<String, Access>,
    codes: HashMap<String, Code>,
}

/// One sign-in and all tokens issued since.
struct Family {
    revoked: bool,
    /// The end of the session, where its expiry is absolute.
    ends_at: Timestamp,
    /// The scope that every answer names.
    scope: Option<Scope>,
}

#[derive(Clone)]
struct Refresh {
    family: usize,
    expires_at: Timestamp,
    /// The last access token issued with this refresh token.
    access: String,
    fate: Fate,
}

impl Refresh {
    fn is_live(&self) -> bool {
        matches!(self.fate, Fate::Live)
    }
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
            seed,
            ..Self::default()
        }
    }

    /// The first pair of a new family, for all of the server's scope.
    pub(super) fn issue(&mut self, now: Timestamp) -> Issued {
        self.begin(self.rules.scope.clone(), now)
    }

    fn begin(&mut self, scope: Option<Scope>, now: Timestamp) -> Issued {
        let family = self.families.len();
        self.families.push(Family {
            revoked: false,
            ends_at: now + self.rules.refresh_ttl,
            scope,
        });
        self.new_pair(family, now)
    }

    /// Exchanges the client's own credentials for the first pair of a new family.
    pub(super) fn sign_in(&mut self, client: Option<&Client>, now: Timestamp) -> Decision {
        self.authenticate(client)?;
        if !self.rules.sign_in {
            return Err(Refusal::UnauthorizedClient);
        }
        Ok(self.issue(now))
    }

    /// Exchanges a refresh token for the next pair (RFC 6749 section 6). Only light-oauth2 checks the scope.
    pub(super) fn refresh(
        &mut self,
        token: &str,
        scope: &Scope,
        client: Option<&Client>,
        now: Timestamp,
    ) -> Decision {
        self.note_replay(token);
        if let Err(refusal) = self.authenticate(client) {
            return Err(self.refuse_client(token, refusal));
        }
        let checks_scope = self.rules.words == Words::Light4j;
        if checks_scope && !self.has_scope(token, scope) && self.is_live_refresh(token, now) {
            self.bury(token);
            return Err(Refusal::OtherScope);
        }
        let held = self.refresh.get(token).cloned();
        let held = held.ok_or(Refusal::InvalidGrant)?;
        if self.families[held.family].revoked {
            return Err(Refusal::InvalidGrant);
        }
        match held.fate {
            Fate::Live if now < held.expires_at => Ok(self.rotate(token, held, now)),
            Fate::Live | Fate::Dead => Err(Refusal::InvalidGrant),
            Fate::Consumed(first) => self.reuse(token, held.family, first, now),
        }
    }

    /// Counts a grant that presents a consumed token, whatever the answer.
    pub(super) fn note_replay(&mut self, token: &str) {
        self.counters.replays += u64::from(self.is_consumed(token));
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
        if let Some(held) = self.access.get_mut(token) {
            held.used |= worth == AccessCheck::Live;
        }
        worth
    }

    pub(super) fn is_live_refresh(&self, token: &str, now: Timestamp) -> bool {
        self.refresh.get(token).is_some_and(|held| {
            held.is_live() && now < held.expires_at && !self.families[held.family].revoked
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

    /// Whether the family of this refresh token has all of this scope.
    fn has_scope(&self, token: &str, scope: &Scope) -> bool {
        let held = self.refresh.get(token);
        let own = held.and_then(|held| self.families[held.family].scope.as_ref());
        scope.is_empty() || own.is_some_and(|own| covers(own, scope))
    }

    /// The refusal for a client that may not present this token. The token dies where a rule says so.
    fn refuse_client(&mut self, token: &str, refusal: Refusal) -> Refusal {
        let is_other = refusal == Refusal::OtherClient;
        let held = self.refresh.get(token);
        let is_live = held.is_some_and(Refresh::is_live);
        let other_burns = self.rules.words == Words::Light4j;
        if self.rules.wrong_client_burns || is_other && other_burns {
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
        let kept = match self.rules.refresh_tokens {
            RefreshTokens::Rotated => return self.consume(token, held.family, now, 0, now),
            RefreshTokens::Echoed => Some(token),
            RefreshTokens::Omitted => None,
            RefreshTokens::Empty => Some(""),
        };
        held.access = self.new_access(held.family, now);
        let mut answer = self.answer(&held.access, now);
        answer.refresh = kept.map(RefreshToken::from);
        if self.rules.refresh_tokens == RefreshTokens::Echoed {
            held.expires_at = self.expiry(held.family, self.rules.refresh_ttl, now);
            answer.refresh_expires_in = self.reported(held.expires_at, now);
        }
        self.refresh.insert(token.to_owned(), held);
        answer
    }

    /// The next pair, for a token that is consumed by this use: the first one was at this time, and `again` more came
    /// after it.
    fn consume(
        &mut self,
        token: &str,
        family: usize,
        at: Timestamp,
        again: u32,
        now: Timestamp,
    ) -> Issued {
        let answer = self.new_pair(family, now);
        if let Some(held) = self.refresh.get_mut(token) {
            let answer = answer.clone();
            held.fate = Fate::Consumed(Use { at, answer, again });
        }
        answer
    }

    /// Kills a refresh token that was not consumed.
    fn bury(&mut self, token: &str) {
        let held = self.refresh.get_mut(token);
        if let Some(held) = held.filter(|held| held.is_live()) {
            held.fate = Fate::Dead;
        }
    }

    /// Revokes the family of a token or a code that was used twice.
    fn revoke_family(&mut self, family: usize) {
        let family = &mut self.families[family];
        self.counters.families_revoked += u64::from(!family.revoked);
        family.revoked = true;
    }

    fn revoke_access(&mut self, token: &str) {
        if let Some(held) = self.access.get_mut(token) {
            held.revoked = true;
        }
    }
}

/// Issuing tokens.
impl State {
    fn new_pair(&mut self, family: usize, now: Timestamp) -> Issued {
        let access = self.new_access(family, now);
        let token = self.mint("rt");
        let expires_at = self.expiry(family, self.rules.refresh_ttl, now);
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

    fn new_access(&mut self, family: usize, now: Timestamp) -> String {
        let token = self.mint("at");
        let held = Access {
            family,
            expires_at: self.expiry(family, self.rules.access_ttl, now),
            revoked: false,
            used: false,
        };
        self.access.insert(token.clone(), held);
        token
    }

    /// In an absolute session, no token outlives the session.
    fn expiry(&self, family: usize, ttl: Duration, now: Timestamp) -> Timestamp {
        match self.rules.refresh_expiry {
            RefreshExpiry::Sliding => now + ttl,
            RefreshExpiry::Absolute => self.families[family].ends_at.min(now + ttl),
        }
    }

    /// The part of an answer that describes the access token.
    fn answer(&self, access: &str, now: Timestamp) -> Issued {
        let held = self.access.get(access);
        Issued {
            access: Some(AccessToken::new(access)),
            expires_in: held.map(|held| held.expires_at.since(now)),
            refresh_expiry: self.rules.refresh_expiry,
            token_type: Some(self.rules.token_type.to_owned()),
            scope: held.and_then(|held| self.families[held.family].scope.clone()),
            ..Issued::default()
        }
    }

    fn reported(&self, expires_at: Timestamp, now: Timestamp) -> Option<Duration> {
        let is_reported = self.rules.issue_refresh_expires_in;
        is_reported.then(|| expires_at.since(now))
    }

    /// A new opaque token of 128 bits, which cannot be guessed without the seed.
    fn mint(&mut self, kind: &str) -> String {
        self.minted += 1;
        let digest = Digest::of(format!("{:032x} {}", self.seed, self.minted));
        format!("{kind}-{digest}")
    }
}

/// The answer to a consumed refresh token that a client presents again.
impl State {
    /// The answer to a consumed refresh token.
    fn reuse(&mut self, token: &str, family: usize, first: Use, now: Timestamp) -> Decision {
        let age = now.since(first.at);
        let is_newest = !self.is_consumed(first.successor());
        match self.rules.reuse {
            Reuse::Linked { window } if age < window && is_newest => return Ok(first.answer),
            Reuse::Renew { window, times } if age < window && first.again < times && is_newest => {
                return Ok(self.renew(token, family, &first, now));
            }
            Reuse::Grace { window, answer } if age < window => match answer {
                GraceAnswer::SamePair if is_newest => return Ok(first.answer),
                GraceAnswer::Fork => {
                    self.counters.rotations += 1;
                    return Ok(self.new_pair(family, now));
                }
                GraceAnswer::LastWins if !self.is_used(first.successor()) => {
                    return Ok(self.renew(token, family, &first, now));
                }
                GraceAnswer::SamePair | GraceAnswer::LastWins => {}
            },
            _ => {}
        }
        if let Reuse::RevokeFamily | Reuse::Grace { .. } = self.rules.reuse {
            self.revoke_family(family);
        }
        Err(Refusal::InvalidGrant)
    }

    /// Another pair for a consumed refresh token. The pair that the token brought before dies.
    fn renew(&mut self, token: &str, family: usize, first: &Use, now: Timestamp) -> Issued {
        self.counters.rotations += 1;
        self.bury(first.successor());
        let access = first.answer.access.as_ref();
        self.revoke_access(access.map_or("", AccessToken::expose));
        self.consume(token, family, first.at, first.again + 1, now)
    }

    fn is_consumed(&self, token: &str) -> bool {
        let held = self.refresh.get(token);
        held.is_some_and(|held| matches!(held.fate, Fate::Consumed(_)))
    }

    fn is_used(&self, token: &str) -> bool {
        let held = self.refresh.get(token);
        let access = held.and_then(|held| self.access.get(&held.access));
        access.is_some_and(|access| access.used) || self.is_consumed(token)
    }
}

impl Use {
    /// The latest refresh token that the use brought.
    fn successor(&self) -> &str {
        let refresh = self.answer.refresh.as_ref();
        refresh.map_or("", RefreshToken::expose)
    }
}
