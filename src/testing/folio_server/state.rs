//! What a FOLIO server remembers of users, refresh tokens and calls, and what it answers to a refresh token. The state does no
//! I/O, waits for nothing, reads no clock and draws no random number: callers pass the time, in whole seconds since the
//! epoch as in tokens, and every token is derived from one seed.
//!
//! The state never keeps an access token. Access tokens are signed and cannot be revoked: they live to their expiry,
//! whatever becomes of the session. Two access tokens that Okapi issues to a user within one second are the same text.

#[cfg(test)]
mod tests;
mod tokens;

use std::collections::HashMap;

pub(super) use self::tokens::Bearer;
use self::tokens::Signer;
use super::super::http::Taken;
use super::builder::{Account, Rules, System};
use crate::token::Digest;

/// Counters for tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolioCounters {
    /// Sign-ins that brought a pair, by password or by code, without those of
    /// [`FolioServer::issue`](super::FolioServer::issue).
    pub logins: u64,
    /// Requests to refresh that arrived, including those that failed.
    pub refreshes: u64,
    /// Of [`refreshes`](Self::refreshes), those that brought a new pair, whether or not the answer arrived.
    pub rotations: u64,
    /// Of [`refreshes`](Self::refreshes), those whose token brought a pair before.
    pub replays: u64,
    /// Live refresh tokens that died because a used or revoked refresh token was presented: in Okapi those of all sessions of
    /// the user, in Eureka those of the session.
    pub sessions_revoked: u64,
    /// Logouts of one session.
    pub logouts: u64,
    /// Logouts of all sessions of a user, including those without a cookie.
    pub logout_alls: u64,
    /// Calls of the API, including those that failed.
    pub calls: u64,
    /// Records that the API accepted.
    pub records: u64,
    /// Requests answered 401, because of a wrong or missing access token.
    pub unauthorized: u64,
    /// Calls answered 400 "Token missing".
    pub token_missing: u64,
    /// Calls answered 403.
    pub forbidden: u64,
}

/// A refusal without a reason: FOLIO does not report one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// A token that was issued just now.
#[derive(Default)]
pub(super) struct Dated {
    pub(super) token: String,
    pub(super) expires_at: u64,
    /// Seconds from now to the expiry.
    pub(super) lives: u64,
}

/// What a sign-in or a rotation brings.
pub(super) struct Pair {
    pub(super) access: Dated,
    pub(super) refresh: Dated,
}

pub(super) struct State {
    pub(super) rules: Rules,
    pub(super) counters: FolioCounters,
    /// The accepted records, where records are remembered.
    pub(super) taken: Taken,
    /// The tokens that Okapi admits without a check, by tenant, method, path and token, each with its end.
    pub(super) passes: HashMap<Digest, u64>,
    signer: Signer,
    minted: u64,
    users: Vec<User>,
    sessions: Vec<Session>,
    refresh: HashMap<Digest, Refresh>,
    codes: HashMap<String, Code>,
}

struct User {
    account: Account,
    id: String,
    active: bool,
}

/// One sign-in and all tokens issued since.
struct Session {
    user: usize,
    id: String,
    /// The end of the session, in Eureka.
    ends_at: u64,
    ended: bool,
}

struct Refresh {
    session: usize,
    expires_at: u64,
    /// The token brought a pair.
    used: bool,
    /// The token is used, logged out, or taken for leaked.
    revoked: bool,
}

/// The code of a user who signed in at Keycloak's page.
struct Code {
    user: usize,
    redirect_uri: String,
}

impl State {
    pub(super) fn new(rules: Rules, accounts: Vec<Account>, seed: u128) -> Self {
        let signer = Signer::new(seed);
        let users = accounts.into_iter().map(|account| User {
            id: signer.uuid(&format!("user {} {}", account.tenant, account.name)),
            active: true,
            account,
        });
        Self {
            users: users.collect(),
            rules,
            counters: FolioCounters::default(),
            taken: Taken::default(),
            passes: HashMap::new(),
            signer,
            minted: 0,
            sessions: Vec::new(),
            refresh: HashMap::new(),
            codes: HashMap::new(),
        }
    }

    /// The first pair of a new session.
    pub(super) fn issue(&mut self, user: usize, now: u64) -> Pair {
        let lifetimes = self.rules.expiration.of(&self.users[user].account.tenant);
        let session = self.sessions.len();
        self.sessions.push(Session {
            user,
            id: self.signer.uuid(&format!("session {session}")),
            ends_at: now + lifetimes.refresh,
            ended: false,
        });
        self.new_pair(session, now)
    }

    /// Exchanges a refresh token for the next pair. Eureka takes the tenant from the token.
    pub(super) fn refresh(&mut self, token: &str, tenant: &str, now: u64) -> Result<Pair, Refused> {
        let name = Digest::of(token);
        let held = self.refresh.get(&name).ok_or(Refused)?;
        self.counters.replays += u64::from(held.used);
        let (session, used, revoked) = (held.session, held.used, held.revoked);
        let user = self.sessions[session].user;
        // An expired token is refused before the check for reuse, so it ends no session.
        if now >= held.expires_at || !self.users[user].active {
            return Err(Refused);
        }
        match self.rules.system {
            System::Okapi if self.users[user].account.tenant != tenant => return Err(Refused),
            System::Okapi if revoked => {
                self.revoke_leaked(now, |session| session.user == user);
                return Err(Refused);
            }
            System::Eureka if self.sessions[session].ended => return Err(Refused),
            System::Eureka if used => {
                let id = self.sessions[session].id.clone();
                self.revoke_leaked(now, |session| session.id == id);
                return Err(Refused);
            }
            System::Okapi | System::Eureka => {}
        }
        if let Some(held) = self.refresh.get_mut(&name) {
            held.used = true;
            held.revoked = true;
        }
        self.counters.rotations += 1;
        Ok(self.new_pair(session, now))
    }

    /// Counts a refresh with a used token that is not processed.
    pub(super) fn note_replay(&mut self, token: &str) {
        let held = self.refresh.get(&Digest::of(token));
        self.counters.replays += u64::from(held.is_some_and(|held| held.used));
    }

    /// Logs out with a refresh token: Okapi revokes this token, whatever its state; Eureka ends its session.
    pub(super) fn log_out(&mut self, token: &str) -> Result<(), Refused> {
        self.counters.logouts += 1;
        let held = self.refresh.get_mut(&Digest::of(token)).ok_or(Refused)?;
        match self.rules.system {
            System::Okapi => held.revoked = true,
            System::Eureka => self.sessions[held.session].ended = true,
        }
        Ok(())
    }

    pub(super) fn log_out_everywhere(&mut self, user: usize) {
        self.counters.logout_alls += 1;
        self.revoke(|session| session.user == user);
    }

    pub(super) fn is_live_refresh(&self, token: &str, now: u64) -> bool {
        let held = self.refresh.get(&Digest::of(token));
        held.is_some_and(|held| self.is_live(held, now))
    }

    fn is_live(&self, held: &Refresh, now: u64) -> bool {
        !held.revoked && !self.sessions[held.session].ended && now < held.expires_at
    }

    fn revoke_leaked(&mut self, now: u64, concerns: impl Fn(&Session) -> bool) {
        let concerned =
            |held: &&Refresh| concerns(&self.sessions[held.session]) && self.is_live(held, now);
        let live = self.refresh.values().filter(concerned).count();
        self.counters.sessions_revoked += live as u64;
        self.revoke(concerns);
    }

    fn revoke(&mut self, concerns: impl Fn(&Session) -> bool) {
        for session in &mut self.sessions {
            session.ended |= concerns(session);
        }
        for held in self.refresh.values_mut() {
            held.revoked |= concerns(&self.sessions[held.session]);
        }
    }

    fn new_pair(&mut self, session: usize, now: u64) -> Pair {
        let Session { user, ends_at, .. } = self.sessions[session];
        let lifetimes = self.rules.expiration.of(&self.users[user].account.tenant);
        let own_access_end = now + lifetimes.access;
        let (access_end, end) = match self.rules.system {
            System::Okapi => (own_access_end, now + lifetimes.refresh),
            System::Eureka => (own_access_end.min(ends_at), ends_at),
        };
        self.minted += 1;
        let access = self.access_token(session, access_end, now);
        let refresh = self.refresh_token(session, end, now);
        let held = Refresh {
            session,
            expires_at: end,
            used: false,
            revoked: false,
        };
        self.refresh.insert(Digest::of(&refresh), held);
        let dated = |token, expires_at: u64| Dated {
            token,
            expires_at,
            lives: expires_at.saturating_sub(now),
        };
        Pair {
            access: dated(access, access_end),
            refresh: dated(refresh, end),
        }
    }
}

impl State {
    pub(super) fn has_tenant(&self, tenant: &str) -> bool {
        self.users.iter().any(|user| user.account.tenant == tenant)
    }

    pub(super) fn user(&self, tenant: &str, name: &str) -> Option<usize> {
        let is_asked = |user: &User| user.account.tenant == tenant && user.account.name == name;
        self.users.iter().position(is_asked)
    }

    /// The id and the name of a user.
    pub(super) fn who(&self, user: usize) -> (String, String) {
        let user = &self.users[user];
        (user.id.clone(), user.account.name.clone())
    }

    /// The user with this password, if active; `name` may be the user's id as well.
    pub(super) fn authenticate(&self, tenant: &str, name: &str, password: &str) -> Option<usize> {
        let is_asked = |user: &User| {
            user.account.tenant == tenant && (user.account.name == name || user.id == name)
        };
        let at = self.users.iter().position(is_asked)?;
        let user = &self.users[at];
        (user.active && user.account.password == password).then_some(at)
    }

    pub(super) fn set_active(&mut self, user: usize, active: bool) {
        self.users[user].active = active;
    }

    /// A code that [`exchange_code`](Self::exchange_code) takes once.
    pub(super) fn new_code(&mut self, user: usize, redirect_uri: &str) -> String {
        self.minted += 1;
        let code = self.signer.uuid(&format!("code {}", self.minted));
        let redirect_uri = redirect_uri.to_owned();
        self.codes.insert(code.clone(), Code { user, redirect_uri });
        code
    }

    pub(super) fn exchange_code(
        &mut self,
        tenant: &str,
        code: &str,
        redirect_uri: &str,
        now: u64,
    ) -> Result<Pair, Refused> {
        let code = self.codes.remove(code).ok_or(Refused)?;
        let user = &self.users[code.user];
        if user.account.tenant != tenant || !user.active || code.redirect_uri != redirect_uri {
            return Err(Refused);
        }
        Ok(self.issue(code.user, now))
    }
}
