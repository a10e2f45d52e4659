//! A spend: which token was sent, under which lease, and what the server and the instance made of it.

use evertoken::{EndpointError, Issued, RefreshToken};

use super::{Log, NodeId, Observer, parts};
use crate::scenario::Strategy;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SendId(usize);

#[derive(Debug, Default)]
pub(crate) struct Sends {
    pub(super) all: Vec<Send>,
    leases: Vec<Leased>,
}

#[derive(Debug)]
pub(super) struct Send {
    pub(super) by: NodeId,
    /// The token; `None` for a sign-in.
    pub(super) token: Option<usize>,
    /// The number of the lease under which it was sent.
    pub(super) number: Option<u64>,
    pub(super) at: u64,
    pub(super) ended: bool,
    /// What the instance made of the answer, and when.
    pub(super) read: Option<(Read, u64)>,
    pub(super) is_unspent: bool,
    /// The server committed, and the instance has not read the answer yet.
    committed: bool,
    was_committed: bool,
}

/// What an answer means to the instance that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Issued,
    Dead,
    /// The token is not spent.
    Unspent,
    /// A page, or the answer of a gateway.
    Unavailable,
    Silence,
}

/// A lease that an instance wrote.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) by: NodeId,
    pub(super) token: Option<usize>,
    pub(super) number: u64,
    pub(super) at: u64,
    pub(super) is_doubtful: bool,
}

impl Sends {
    pub(super) fn any_of(&self, token: usize) -> bool {
        self.all.iter().any(|send| send.token == Some(token))
    }

    /// Whether the server has issued a pair for it.
    pub(super) fn was_spent(&self, token: usize) -> bool {
        let mut sends = self.all.iter();
        sends.any(|send| send.token == Some(token) && send.was_committed)
    }

    /// Whether an instance has read the server's verdict that the token is dead.
    pub(super) fn is_known_dead(&self, token: usize) -> bool {
        let is_dead = |send: &Send| matches!(send.read, Some((Read::Dead, _)));
        let mut sends = self.all.iter();
        sends.any(|send| send.token == Some(token) && is_dead(send))
    }

    /// What was last sent under this lease.
    pub(super) fn under(&self, by: NodeId, token: Option<usize>, number: u64) -> Option<&Send> {
        let mut sends = self.all.iter().rev();
        sends.find(|it| it.by == by && it.token == token && it.number == Some(number))
    }

    /// The last sending of this token by the instance.
    pub(super) fn last(&self, by: NodeId, token: Option<usize>) -> Option<&Send> {
        let mut sends = self.all.iter().rev();
        sends.find(|it| it.by == by && it.token == token)
    }

    pub(super) fn leased(&mut self, lease: Leased) {
        self.leases.push(lease);
    }

    pub(super) fn lease_of(&self, by: NodeId, token: Option<usize>) -> Option<&Leased> {
        let mut leases = self.leases.iter().rev();
        leases.find(|lease| lease.by == by && lease.token == token)
    }
}

impl Observer {
    /// The request leaves for the server.
    pub(crate) fn sent(&self, by: NodeId, refresh: Option<&RefreshToken>) -> SendId {
        let now = self.now();
        let mut log = self.log();
        let token = refresh.map(|refresh| log.texts[refresh.expose()]);
        self.note_locked(&mut log, || match token {
            Some(token) => format!("{by} sends r{token}"),
            None => format!("{by} signs in"),
        });
        let problem = if self.scenario.coordinated {
            self.judge_coordinated(&log, by, token, now)
        } else {
            judge_alone(&log, by, token)
        };
        let problem = problem.or_else(|| self.judge_again(&log, by, token));
        if let Some(problem) = problem {
            let name = token.map_or("the credentials".to_owned(), |token| format!("r{token}"));
            self.break_locked(&mut log, format!("O1 {by} sends {name}: {problem}"));
        }
        let lease = log.sends.lease_of(by, token);
        let number = lease.map(|lease| lease.number);
        log.sends.all.push(Send {
            by,
            token,
            number,
            at: now,
            ended: false,
            read: None,
            is_unspent: false,
            committed: false,
            was_committed: false,
        });
        SendId(log.sends.all.len() - 1)
    }

    /// What the server did with the request.
    pub(crate) fn decided(&self, id: SendId, truth: &Result<Issued, EndpointError>) {
        let mut log = self.log();
        let send = &log.sends.all[id.0];
        let (by, token) = (send.by, send.token);
        let Ok(issued) = truth else {
            if let (Some(token), Err(EndpointError::Rejected { .. })) = (token, truth) {
                log.tokens[token].was_refused = true;
            }
            self.note_locked(&mut log, || format!("the server refuses {by}"));
            // The rules permitted this loss, or the observer has already reported it.
            let others = log.sends.all.iter().enumerate();
            let is_spent =
                |(at, it): (usize, &Send)| at != id.0 && it.token == token && it.was_committed;
            if others.into_iter().any(is_spent) {
                self.cause_locked(&mut log, "a spent token reached the server again");
            }
            return;
        };
        let (access, refresh) = parts(issued);
        if let Some(access) = access.filter(|it| log.accesses.contains_key(*it)) {
            let lease = log.sends.lease_of(by, token);
            // An instance that finds the pair expired would end the session as idle.
            let ends_idle = self.scenario.nodes[by.node] == Strategy::EndsIdle;
            // No client assumes a higher age than this.
            let ttl = self.scenario.access_ttl * 1_000;
            let is_old = self.now() + ttl / 2 > log.accesses[access];
            if ends_idle || is_old || !lease.is_some_and(|lease| lease.is_doubtful) {
                log.repeated.insert(access.to_owned());
                self.cause_locked(&mut log, "the server repeated a pair unexpectedly");
            }
        }
        self.lives(&mut log, access);
        let brought = self.mint(&mut log, refresh, token);
        log.sends.all[id.0].committed = true;
        log.sends.all[id.0].was_committed = true;
        self.note_locked(&mut log, || {
            format!("the server answers {by} with r{brought:?}")
        });
    }

    /// The instance reads the answer.
    pub(crate) fn answered(&self, id: SendId, answer: &Result<Issued, EndpointError>) {
        let now = self.now();
        let mut log = self.log();
        let send = &mut log.sends.all[id.0];
        send.ended = true;
        let (by, token) = (send.by, send.token);
        let read = match answer {
            Ok(_) => Read::Issued,
            Err(EndpointError::Rejected { .. }) => Read::Dead,
            Err(EndpointError::Page { .. } | EndpointError::Unavailable { .. }) => {
                Read::Unavailable
            }
            Err(EndpointError::Unknown { .. }) => Read::Silence,
            Err(_) => Read::Unspent,
        };
        send.read = Some((read, now));
        send.is_unspent |= read == Read::Unspent;
        match answer {
            Ok(issued) => {
                send.committed = false;
                log.failed.remove(&by);
                let (_, refresh) = parts(issued);
                let refresh = refresh.filter(|text| !text.is_empty());
                let name = refresh.and_then(|it| log.texts.get(it).copied());
                // The server kept the token, so the token is good, whatever became of it before.
                if name.is_none() || name == token {
                    let all = log.sends.all.iter().enumerate();
                    let is_done = |it: &Send| {
                        it.ended || log.is_dead(it.by) || self.was_slept_through(&log, it)
                    };
                    let done = all.filter(|(_, it)| it.token == token && is_done(it));
                    let done: Vec<_> = done.map(|(at, _)| at).collect();
                    for at in done {
                        log.sends.all[at].is_unspent = true;
                    }
                }
                if let Some(name) = name {
                    log.tokens[name].read_by = Some(by);
                }
                self.note_locked(&mut log, || format!("{by} reads r{name:?}"));
            }
            Err(error) => {
                self.note_locked(&mut log, || format!("{by} reads: {error}"));
                if read != Read::Dead || token.is_none() {
                    self.failed_locked(&mut log, by, token, error);
                }
            }
        }
    }

    /// The instance no longer waits for the answer.
    pub(crate) fn gave_up(&self, id: SendId) {
        let now = self.now();
        let mut log = self.log();
        if !log.sends.all[id.0].ended {
            log.sends.all[id.0].ended = true;
            log.sends.all[id.0].read = Some((Read::Silence, now));
            let by = log.sends.all[id.0].by;
            self.note_locked(&mut log, || format!("{by} gives up"));
        }
    }

    /// Counts the committed answers that no living instance has read.
    pub(crate) fn count_unread(&self) {
        let mut log = self.log();
        let unread = log.sends.all.iter().filter(|send| send.committed).count();
        for _ in 0..unread {
            self.cause_locked(&mut log, "a committed answer was not read");
        }
    }
}

/// Without coordination, a single instance still spends a token only once.
fn judge_alone(log: &Log, by: NodeId, token: Option<usize>) -> Option<String> {
    let mut earlier = log.sends.all.iter();
    let same = earlier.any(|send| send.by == by && send.token == token && !send.ended);
    same.then(|| "an exchange of its own is still under way".to_owned())
}
