//! One spend: what was sent, under which claim, and what became of it.

use evertoken::{EndpointError, Issued, RefreshToken};

use super::{Log, NodeId, Observer, parts};
use crate::scenario::Strategy;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SendId(usize);

#[derive(Debug, Default)]
pub(crate) struct Sends {
    all: Vec<Send>,
    claims: Vec<Claimed>,
}

#[derive(Debug)]
struct Send {
    by: NodeId,
    /// `None` for a sign-in.
    token: Option<usize>,
    at: u64,
    ended: bool,
    is_unspent: bool,
    /// The server committed, and nobody has read it yet.
    committed: bool,
    was_committed: bool,
}

/// A claim that was written.
#[derive(Debug)]
struct Claimed {
    by: NodeId,
    token: Option<usize>,
    at: u64,
    is_doubtful: bool,
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

    pub(super) fn claimed(&mut self, by: NodeId, token: Option<usize>, at: u64, is_doubtful: bool) {
        self.claims.push(Claimed {
            by,
            token,
            at,
            is_doubtful,
        });
    }
}

impl Observer {
    /// The grant leaves for the server.
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
        if let Some(problem) = problem {
            let name = token.map_or("the credentials".to_owned(), |token| format!("r{token}"));
            self.break_locked(&mut log, format!("O1 {by} sends {name}: {problem}"));
        }
        log.sends.all.push(Send {
            by,
            token,
            at: now,
            ended: false,
            is_unspent: false,
            committed: false,
            was_committed: false,
        });
        SendId(log.sends.all.len() - 1)
    }

    fn judge_coordinated(
        &self,
        log: &Log,
        by: NodeId,
        token: Option<usize>,
        now: u64,
    ) -> Option<String> {
        let claims = log.sends.claims.iter().rev();
        let mut claims = claims.filter(|claim| claim.by == by && claim.token == token);
        let Some(claim) = claims.next() else {
            return Some("it never claimed it".to_owned());
        };
        let window = (self.scenario.quarantine - self.scenario.timeout - 5) * 1_000;
        if now - claim.at >= window.max(1) && claim.at != now {
            return Some(format!("its claim is {} ms old", now - claim.at));
        }
        let earlier = log.sends.all.iter().filter(|send| send.token == token);
        for send in earlier.filter(|send| !send.is_unspent) {
            if log.failed_over_since(send.at.saturating_sub(self.scenario.quarantine * 1_000)) {
                continue;
            }
            if !send.ended && !log.is_dead(send.by) && !self.was_slept_through(log, send) {
                return Some(format!("{}'s exchange is still under way", send.by));
            }
            if token.is_some() && !claim.is_doubtful {
                return Some(format!(
                    "{} may have spent it, and its claim is plain",
                    send.by
                ));
            }
        }
        None
    }

    /// Nobody can tell an exchange from one that is over whose machine has slept since.
    fn was_slept_through(&self, log: &Log, send: &Send) -> bool {
        let is_over = self.now() - send.at >= (self.scenario.timeout + 5) * 1_000;
        is_over && log.sleeps.iter().any(|at| *at >= send.at)
    }

    /// What the server did.
    pub(crate) fn decided(&self, id: SendId, truth: &Result<Issued, EndpointError>) {
        let mut log = self.log();
        let send = &log.sends.all[id.0];
        let (by, token) = (send.by, send.token);
        let Ok(issued) = truth else {
            if let (Some(token), Err(EndpointError::Rejected { .. })) = (token, truth) {
                log.tokens[token].was_refused = true;
            }
            self.note_locked(&mut log, || format!("the server refuses {by}"));
            // The rules allowed it, or that was said already: it came after a last resort, or was one.
            let others = log.sends.all.iter().enumerate();
            let is_spent =
                |(at, it): (usize, &Send)| at != id.0 && it.token == token && it.was_committed;
            if others.into_iter().any(is_spent) {
                self.cause_locked(&mut log, "a spent token came a second time");
            }
            return;
        };
        let (access, refresh) = parts(issued);
        if let Some(access) = access.filter(|it| log.accesses.contains_key(*it)) {
            let mut claims = log.sends.claims.iter().rev();
            let claim = claims.find(|claim| claim.by == by && claim.token == token);
            // To find the pair expired would be to take the session for idle.
            let ends_idle = self.scenario.nodes[by.node] == Strategy::EndsIdle;
            if ends_idle || !claim.is_some_and(|claim| claim.is_doubtful) {
                log.repeated.insert(access.to_owned());
                self.cause_locked(&mut log, "a pair came again unexpectedly");
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
        let mut log = self.log();
        let send = &mut log.sends.all[id.0];
        send.ended = true;
        let by = send.by;
        match answer {
            Ok(issued) => {
                send.committed = false;
                let (_, refresh) = parts(issued);
                let refresh = refresh.filter(|text| !text.is_empty());
                let name = refresh.and_then(|it| log.texts.get(it).copied());
                // The token goes on to be good, whatever became of it before.
                let token = log.sends.all[id.0].token;
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
                send.is_unspent |= matches!(
                    error,
                    EndpointError::NotSent { .. }
                        | EndpointError::Later { .. }
                        | EndpointError::Refused { .. }
                );
                let what = kind(error);
                self.note_locked(&mut log, || format!("{by} reads: {what}"));
            }
        }
    }

    /// The instance does not wait for the answer any more.
    pub(crate) fn gave_up(&self, id: SendId) {
        let mut log = self.log();
        if !log.sends.all[id.0].ended {
            log.sends.all[id.0].ended = true;
            let by = log.sends.all[id.0].by;
            self.note_locked(&mut log, || format!("{by} gives up"));
        }
    }

    /// How often the server committed what nobody alive has read.
    pub(crate) fn count_unread(&self) {
        let mut log = self.log();
        let unread = log.sends.all.iter().filter(|send| send.committed).count();
        for _ in 0..unread {
            self.cause_locked(&mut log, "a committed answer was not read");
        }
    }
}

/// Without coordination, one instance alone still spends a token once.
fn judge_alone(log: &Log, by: NodeId, token: Option<usize>) -> Option<String> {
    let mut earlier = log.sends.all.iter();
    let same = earlier.any(|send| send.by == by && send.token == token && !send.ended);
    same.then(|| "an exchange of its own is still under way".to_owned())
}

fn kind(error: &EndpointError) -> &'static str {
    match error {
        EndpointError::NotSent { .. } => "not sent",
        EndpointError::Later { .. } => "later",
        EndpointError::Refused { .. } => "misconfigured",
        EndpointError::Rejected { .. } => "rejected",
        _ => "unknown",
    }
}
