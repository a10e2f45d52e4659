//! What becomes of each refresh token: who sends it, who reads the answer, and what the store holds.

use evertoken::protocol::Digest;
use evertoken::{EndpointError, Issued, Key, RefreshToken, TokenPair};

use super::{Life, Log, Observer};

/// For how long a lease keeps other instances from a token, in milliseconds.
const LEASE: u64 = 60_000;

/// A refresh token that the server issued.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) session: usize,
    /// Its place among the tokens of its session.
    pub(super) generation: usize,
    pub(super) child: Option<usize>,
    pub(super) requested_at: u64,
    pub(super) stored_at: Option<u64>,
    /// The instances that read it out of an answer of the server.
    pub(super) read_by: Vec<Life>,
    sends: Vec<Send>,
    /// When a browser began to present it while it was current, and when such a presentation ended first.
    pub(super) shown_from: Option<u64>,
    pub(super) current_at: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Send {
    by: Life,
    at: u64,
    is_unclear: bool,
}

impl Token {
    pub(super) fn new(text: &str, session: usize, generation: usize, requested_at: u64) -> Self {
        Self {
            text: text.to_owned(),
            session,
            generation,
            child: None,
            requested_at,
            stored_at: None,
            read_by: Vec::new(),
            sends: Vec::new(),
            shown_from: None,
            current_at: None,
        }
    }
}

pub(super) fn digest(refresh: &str) -> Digest {
    TokenPair::from_refresh_token(refresh).digest(&Key::new("any", "any"))
}

/// A sending of a token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendId {
    token: usize,
    send: usize,
}

impl Observer {
    /// The instance sends the token. The server has not answered it yet, or the first answer is excused.
    pub(crate) fn sent(&self, by: Life, text: &str) -> SendId {
        let now = self.now();
        let mut log = self.log();
        *log.counts.entry("exchanges").or_default() += 1;
        let Some(token) = log.texts.get(text).copied() else {
            self.break_locked(
                &mut log,
                format!("{by} sends a token that was never issued"),
            );
            return SendId { token: 0, send: 0 };
        };
        self.note_locked(&mut log, || format!("{by} sends r{token}"));
        self.judge_second_sending(&mut log, token, by);
        self.judge_need(&mut log, token, by);
        let sends = &mut log.tokens[token].sends;
        sends.push(Send {
            by,
            at: now,
            is_unclear: false,
        });
        let send = sends.len() - 1;
        SendId { token, send }
    }

    /// No spent token is sent, but for a cause that no client can avoid.
    fn judge_second_sending(&self, log: &mut Log, token: usize, by: Life) {
        let now = self.now();
        let it = &log.tokens[token];
        let Some(child) = it.child else { return };
        let session = &log.sessions[it.session];
        let is_lost = |send: &Send| send.is_unclear || log.dead.contains(&send.by);
        let is_stored = log.tokens[child].stored_at.is_some();
        let is_old = it.sends.iter().any(|send| now >= send.at + LEASE);
        let cause = if session.set_back.is_some() {
            "a spent token was sent: the store was set back beneath the session"
        } else if !self.scenario.is_shared && session.lives.len() > 1 {
            "a spent token was sent: another instance without this store had sent it"
        } else if !is_stored && it.sends.iter().any(is_lost) {
            "a spent token was sent: the first answer was lost"
        } else if !is_stored && is_old {
            "a spent token was sent: its holder was silent for longer than a lease"
        } else {
            self.break_locked(
                log,
                format!("B5 {by} sends r{token}, which r{child} has replaced"),
            );
            return;
        };
        self.excuse(log, cause);
    }

    /// A session that no browser has presented since its pair was requested is left alone.
    fn judge_need(&self, log: &mut Log, token: usize, by: Life) {
        let it = &log.tokens[token];
        let session = &log.sessions[it.session];
        // A pair counts from the first sending of its predecessor, or from the lease of an instance that has died.
        let slack = if self.scenario.is_calm() {
            0
        } else {
            2 * LEASE
        };
        let is_used = session.visits > 0 || session.presented_at + slack >= it.requested_at;
        if it.generation > 0 && !is_used {
            self.break_locked(
                log,
                format!("B5 {by} rotates r{token}, which no browser uses"),
            );
        }
    }

    /// The server has decided about the token.
    pub(crate) fn decided(&self, by: Life, text: &str, answer: &Result<Issued, EndpointError>) {
        let mut log = self.log();
        let Some(token) = log.texts.get(text).copied() else {
            return;
        };
        let issued = answer.as_ref().ok().and_then(|it| it.refresh.as_ref());
        let session = log.tokens[token].session;
        let requested_at = log.tokens[token].sends.last().map_or(0, |send| send.at);
        let child =
            issued.map(|refresh| log.mint(refresh.expose(), session, Some(token), requested_at));
        let access = answer.as_ref().ok().and_then(|it| it.access.as_ref());
        let access = access.map(|access| (access.expose().to_owned(), session));
        log.accesses.extend(access);
        self.note_locked(&mut log, || match child {
            Some(child) => format!("the server answers r{token} of {by} with r{child}"),
            None => format!("the server refuses r{token} of {by}"),
        });
    }

    /// The instance has read the answer, or knows that there is none.
    pub(crate) fn answered(&self, id: SendId, answer: &Result<Issued, EndpointError>) {
        let mut log = self.log();
        let by = log.tokens[id.token].sends[id.send].by;
        match answer {
            Ok(issued) => {
                let refresh = issued.refresh.as_ref().map(RefreshToken::expose);
                let child = refresh.and_then(|refresh| log.texts.get(refresh).copied());
                if let Some(child) = child {
                    log.tokens[child].read_by.push(by);
                }
            }
            Err(EndpointError::Unknown { .. } | EndpointError::Unavailable { .. }) => {
                log.tokens[id.token].sends[id.send].is_unclear = true;
                self.note_locked(&mut log, || format!("{by} has no answer to r{}", id.token));
            }
            Err(_) => {}
        }
    }

    pub(crate) fn revoked(&self, by: Life, refresh: Option<&str>) {
        let mut log = self.log();
        let token = refresh.and_then(|refresh| log.texts.get(refresh).copied());
        self.note_locked(&mut log, || format!("{by} revokes r{token:?}"));
        let session = token.map(|token| log.tokens[token].session);
        if session.is_none_or(|session| log.sessions[session].left.is_none()) {
            self.break_locked(
                &mut log,
                format!("B6 {by} revokes a session that no user left"),
            );
        }
    }

    /// The store has a record with this current token.
    pub(crate) fn stored(&self, digest: &Digest) {
        let now = self.now();
        let mut log = self.log();
        let Some(token) = log.digests.get(digest).copied() else {
            return;
        };
        if log.tokens[token].stored_at.is_none() {
            log.tokens[token].stored_at = Some(now);
            self.note_locked(&mut log, || format!("the store has r{token}"));
        }
    }

    /// The store has lost writes, of these tokens, and with `true` the token too.
    pub(crate) fn set_back(&self, lost: &[(Digest, bool)]) {
        let now = self.now();
        let mut log = self.log();
        for (digest, is_lost) in lost {
            let Some(token) = log.digests.get(digest).copied() else {
                continue;
            };
            let session = log.tokens[token].session;
            log.sessions[session].set_back = Some(now);
            if *is_lost {
                log.sessions[session].lost_at = log.sessions[session].tokens.len();
                log.tokens[token].stored_at = None;
            }
            self.note_locked(&mut log, || {
                format!("the store loses a write of s{session} with r{token}: {is_lost}")
            });
        }
    }
}
