//! The rules for presentations, judged by the server's own state.

use evertoken::testing::AccessCheck;
use evertoken::{Error, PairRefusal, Token};

use super::{Cookie, Life, Log, Observer};
use crate::scenario::{RETIRED_FOR, Server};

/// How long after a presentation its note may reach the record, in milliseconds.
const UNTIL_NOTED: u64 = 10_000;

/// A request that was under way for this long counts as one that came before a rotation, in milliseconds.
const EXCHANGE: u64 = 31_000;

/// A presentation that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit {
    session: usize,
    token: Option<usize>,
    life: Life,
    began: u64,
    was_current: bool,
    /// Whether the pair that is presented still had a valid access token.
    was_valid: bool,
    /// When the newest pair of that time had been requested.
    newest_requested_at: u64,
}

/// Where the newest pair of a session is.
pub(crate) trait Held {
    /// Whether the current record of a store has this token.
    fn is_stored(&self, refresh: &str) -> bool;
    /// Whether the instance runs.
    fn is_alive(&self, life: Life) -> bool;
    /// The cookies in the jars.
    fn jars(&self) -> Vec<usize>;
}

impl Observer {
    /// A presentation begins.
    pub(crate) fn presents(&self, cookie: &Cookie, life: Life, access: Option<&str>) -> Visit {
        let now = self.now();
        let mut log = self.log();
        let Cookie { session, token, .. } = *cookie;
        log.sessions[session].lives.insert(life);
        log.sessions[session].visits += 1;
        let was_current = token.is_some_and(|token| log.is_current(token));
        if let Some(token) = token {
            log.tokens[token].shown_from.get_or_insert(now);
        }
        let newest_requested_at = log.tokens[log.newest(session)].requested_at;
        let check = access.map(|access| self.server.check(access));
        Visit {
            session,
            token,
            life,
            began: now,
            was_current,
            newest_requested_at,
            was_valid: check
                .is_some_and(|it| matches!(it, AccessCheck::Live | AccessCheck::Revoked)),
        }
    }

    /// A presentation ends without an answer that counts: the instance has died, or the service has dropped the work.
    pub(crate) fn dropped(&self, visit: Visit) {
        let now = self.now();
        let mut log = self.log();
        let session = &mut log.sessions[visit.session];
        session.visits -= 1;
        session.presented_at = session.presented_at.max(now);
    }

    /// A presentation was accepted: its token is of this very session, and serves.
    pub(crate) fn accepted(&self, visit: Visit, token: &Token) {
        self.dropped(visit);
        let now = self.now();
        let (life, session) = (visit.life, visit.session);
        let check = self.server.check(token.expose());
        let mut log = self.log();
        if let Some(token) = visit.token.filter(|_| visit.was_current) {
            log.tokens[token].current_at.get_or_insert(now);
        }
        match check {
            AccessCheck::Live => {}
            AccessCheck::Revoked => {
                self.excuse(&mut log, "a token was served of a session that has ended")
            }
            AccessCheck::Expired if self.scenario.server == Server::Grace => {
                self.excuse(&mut log, "an expired token was served: the server had repeated a pair, with its first lifetime");
            }
            AccessCheck::Expired | AccessCheck::Unknown => {
                self.break_locked(
                    &mut log,
                    format!("{life} serves an access token that is {check:?}"),
                );
            }
        }
        let of = log.accesses.get(token.expose()).copied();
        if of != Some(session) && !log.sessions[session].is_mixed_up {
            self.break_locked(
                &mut log,
                format!("B3 {life} serves s{session} with a token of {of:?}"),
            );
        }
        let it = &log.sessions[session];
        if let Some((left_at, at)) = it.left
            && it.set_back.is_none()
            && at == life
            && visit.began > left_at
        {
            self.break_locked(
                &mut log,
                format!("B6 {life} serves s{session} after its logout"),
            );
        }
        if self.scenario.is_calm()
            && let Some(token) = visit.token
            && !visit.was_valid
            // It came before the rotation was over.
            && visit.began > visit.newest_requested_at + EXCHANGE
            && log.was_retired_long_ago(token, visit.began)
        {
            self.break_locked(
                &mut log,
                format!("B2 {life} accepts r{token}, which was retired long ago"),
            );
        }
    }

    /// A presentation failed with an error that signs the user out. The session must be over, or the pair retired.
    pub(crate) fn refused(&self, visit: Visit, error: &Error, held: &dyn Held) {
        self.dropped(visit);
        let now = self.now();
        let (life, session) = (visit.life, visit.session);
        let newest = {
            let log = self.log();
            log.tokens[log.newest(session)].text.clone()
        };
        let is_live = self.server.is_live_refresh(&newest);
        let (is_stored, jars) = (held.is_stored(&newest), held.jars());
        let mut log = self.log();
        let is_foreign = matches!(error, Error::PairRefused { reason, .. } if *reason == PairRefusal::OfAnotherSession);
        if is_foreign && self.scenario.is_calm() {
            let what = format!("B3 {life} takes a pair of s{session} for one of another session");
            self.break_locked(&mut log, what);
            return;
        }
        let newest = log.newest(session);
        let is_newest = visit.token == Some(newest);
        let readers = log.tokens[newest].read_by.clone();
        let is_held = is_newest
            || is_stored
            || readers.into_iter().any(|life| held.is_alive(life))
            || jars
                .into_iter()
                .any(|it| log.cookies[it].token == Some(newest));
        let it = &log.sessions[session];
        let cause = if it.left.is_some() {
            "a presentation was refused: the user had logged out"
        } else if !is_live {
            "a presentation was refused: the server had ended the session"
        } else if !is_held {
            "a presentation was refused: the newest pair was lost with its instance, or with an answer"
        } else if visit.token.is_some_and(|token| log.is_retired(token, now)) {
            "a presentation was refused: another pair had replaced it, and was presented"
        } else if it.is_mixed_up {
            "a presentation was refused: the pair was taken for one of unknown origin before"
        } else if !is_newest
            && visit
                .token
                .is_none_or(|token| log.tokens[token].generation < it.lost_at)
        {
            "a presentation was refused: the store was set back, and has forgotten the pair"
        } else if !is_newest && !self.scenario.is_shared && it.lives.len() > 1 {
            "a presentation was refused: another instance without this store had replaced the pair"
        } else {
            let token = visit
                .token
                .map_or_else(String::new, |it| format!(" with r{it}"));
            let what =
                format!("B1 {life} refuses s{session}{token} ({error}), whose r{newest} is live");
            self.break_locked(&mut log, what);
            return;
        };
        self.excuse(&mut log, cause);
    }

    /// A presentation failed, and the session may be alive.
    pub(crate) fn failed(&self, visit: Visit, error: &Error) {
        self.dropped(visit);
        self.count("presentations that failed for a while");
        if self.scenario.is_calm() {
            let life = visit.life;
            self.violation(format!(
                "B7 {life} fails although nothing is wrong: {error}"
            ));
        }
    }

    /// A pair is about to be presented under the id of another session, or without its id. A store that was set back may not know
    /// the one or the other.
    pub(crate) fn abuses(&self, under: usize, of: usize) {
        let mut log = self.log();
        let both = [under, of];
        if both.iter().any(|it| log.sessions[*it].set_back.is_some()) {
            both.iter()
                .for_each(|it| log.sessions[*it].is_mixed_up = true);
        }
    }

    /// A pair was presented under the id of another session, or without its id.
    pub(crate) fn abused(
        &self,
        under: usize,
        cookie: &Cookie,
        life: Life,
        result: Result<(), &Error>,
    ) {
        let mut log = self.log();
        let both = [under, cookie.session];
        let is_over = both.iter().any(|it| log.sessions[*it].left.is_some());
        let is_set_back = both.iter().any(|it| log.sessions[*it].is_mixed_up);
        match result {
            Ok(()) if is_set_back => {
                self.excuse(
                    &mut log,
                    "a pair was taken for one of unknown origin: the store was set back",
                );
            }
            Ok(()) => self.break_locked(
                &mut log,
                format!(
                    "B3 {life} accepts the pair of s{} elsewhere",
                    cookie.session
                ),
            ),
            Err(error) if self.scenario.is_calm() => {
                let reason = match error {
                    Error::PairRefused { reason, .. } => Some(*reason),
                    _ => None,
                };
                if reason != Some(PairRefusal::OfAnotherSession) && !is_over {
                    self.break_locked(
                        &mut log,
                        format!("B3 {life} refuses for another reason: {error}"),
                    );
                }
            }
            Err(_) => {}
        }
    }

    /// The session is over, or its newest pair is held nowhere. Otherwise it has to go on after everything has healed.
    pub(crate) fn goes_on(&self, cookie: &Cookie) -> bool {
        let log = self.log();
        let session = &log.sessions[cookie.session];
        let newest = &log.tokens[log.newest(cookie.session)].text;
        session.left.is_none() && self.server.is_live_refresh(newest)
    }
}

impl Log {
    /// Whether no pair has replaced this one yet, as far as the store knows.
    fn is_current(&self, token: usize) -> bool {
        let child = self.tokens[token].child;
        child.is_none_or(|child| self.tokens[child].stored_at.is_none())
    }

    /// The later tokens of the same session.
    fn later(&self, token: usize) -> impl Iterator<Item = &super::Token> {
        let it = &self.tokens[token];
        let later = &self.sessions[it.session].tokens[it.generation + 1..];
        later.iter().map(|token| &self.tokens[*token])
    }

    /// Whether the pair may be refused: a later pair was presented, which was replaced in its turn or was presented long
    /// enough ago.
    fn is_retired(&self, token: usize, now: u64) -> bool {
        let mut later = self.later(token);
        later.any(|it| {
            it.shown_from
                .is_some_and(|from| it.child.is_some() || now >= from + RETIRED_FOR * 1_000)
        })
    }

    /// Whether the pair has to be refused by now.
    fn was_retired_long_ago(&self, token: usize, began: u64) -> bool {
        let is_late = |it: &super::Token| {
            let noted = it.current_at.map(|at| at + UNTIL_NOTED);
            noted.is_some_and(|noted| began >= noted + RETIRED_FOR * 1_000)
        };
        self.later(token).any(is_late)
    }
}
