//! The rules for writes: a newer pair is not overwritten, and a lease states the truth. Every write is judged against
//! the record that it replaced.

use evertoken::protocol::Record;

use super::spends::{Leased, Read, Send};
use super::view::{By, Lease, State};
use super::{Left, Log, NodeId, Observer, View};
use crate::scenario::Resend;

/// The shortest pause after a failure, in milliseconds.
const SHORTEST_PAUSE: u64 = 2_000;

/// A machine certainly notices a sleep that is longer than this, in milliseconds.
const LONG_SLEEP: u64 = 6_000;

impl Observer {
    /// The store applied the instance's write.
    pub(crate) fn swapped(&self, by: NodeId, next: &Record) {
        let now = self.now();
        let next = View::of(next);
        let mut log = self.log();
        self.note_locked(&mut log, || format!("{by} writes {}", next.show(&self.key)));
        let old = log.record.take();
        for problem in self.problems(&mut log, by, old.as_ref(), &next, now) {
            self.break_locked(&mut log, format!("O3 {by} {problem}"));
        }
        if let Some(problem) = self.end_problem(&log, old.as_ref(), &next) {
            self.break_locked(&mut log, format!("O5 {by} {problem}"));
        }
        let pauses = old
            .as_ref()
            .map(|old| self.pause_problems(&log, by, old, &next));
        for problem in pauses.into_iter().flatten() {
            self.break_locked(&mut log, format!("O8 {by} {problem}"));
        }
        if let Some(name) = self.current(&log, &next) {
            log.tokens[name].was_stored = true;
            let is_news = old.as_ref().is_none_or(|old| old.state != State::LoggedOut);
            if next.state == State::LoggedOut && is_news {
                let family = log.tokens[name].family;
                log.left.push(Left {
                    family,
                    by,
                    at: now,
                });
            }
        }
        if let Some(problem) = self.another_session(&mut log, &next) {
            self.break_locked(&mut log, format!("O3 {by} {problem}"));
        }
        log.record = Some(next);
    }

    /// The instance knows that the store applied its write.
    pub(crate) fn wrote(&self, by: NodeId, next: &Record) {
        let sign_ins = View::of(next).sign_ins;
        let mut log = self.log();
        let most = log.written_sign_ins.entry(by).or_default();
        *most = sign_ins.max(*most);
    }

    /// A session ends only by a verdict of the server, or where the profile forbids finding out.
    fn end_problem(&self, log: &Log, old: Option<&View>, new: &View) -> Option<&'static str> {
        if old.is_some_and(|old| old.state == new.state) {
            return None;
        }
        match &new.state {
            State::Rejected { digest } => {
                let token = log.names.get(digest);
                let is_dead = token.is_some_and(|token| log.sends.is_known_dead(*token));
                (!is_dead).then_some("calls a token dead that the server did not")
            }
            State::OutcomeUnknown { .. } => {
                let may_send = self.scenario.resend == Resend::Always && !self.scenario.sign_in;
                may_send.then_some("ends a session whose token it may send")
            }
            _ => None,
        }
    }

    /// A family is one sign-in: a pair of another family does not enter it.
    fn another_session(&self, log: &mut Log, next: &View) -> Option<&'static str> {
        let current = self.current(log, next)?;
        let family = log.tokens[current].family;
        let first = *log.families.entry(next.family.clone()).or_insert(family);
        (first != family).then_some("writes a pair into another session")
    }

    /// Whether the instance commits a pair with this write.
    pub(crate) fn is_commit(&self, by: NodeId, next: &Record) -> bool {
        let next = View::of(next);
        let log = self.log();
        let brought = self.current(&log, &next).map(|name| &log.tokens[name]);
        brought.is_some_and(|it| it.read_by == Some(by) && !it.was_stored)
    }

    fn current(&self, log: &Log, view: &View) -> Option<usize> {
        let refresh = view.refresh()?;
        log.texts.get(refresh).copied()
    }

    fn problems(
        &self,
        log: &mut Log,
        by: NodeId,
        old: Option<&View>,
        new: &View,
        now: u64,
    ) -> Vec<String> {
        let mut problems = self.leases(log, by, old, new, now);
        let Some(old) = old else {
            return problems;
        };
        if new.next_number < old.next_number {
            problems.push("lowers the next lease number".to_owned());
        }
        // After a failover the store may continue a session that was replaced. That session then gives way again.
        let is_same = new.family == old.family || !log.has_failed_over();
        if new.version < old.version && is_same {
            problems.push(format!("lowers the version from {}", old.version));
        }
        if new.committed_number < old.committed_number && new.family == old.family {
            problems.push("lowers the committed number".to_owned());
        }
        if new.sign_ins < old.sign_ins {
            problems.push("lowers the count of sign-ins".to_owned());
        }
        // A rotation of the previous session that is under way is committed or noted there, and then gives way.
        let is_commit = self
            .current(log, new)
            .is_some_and(|name| !log.tokens[name].was_stored);
        // An end does not continue the session either, so only an active record counts. Without coordination, a doubt
        // note does not announce a sending.
        let is_remark = !self.scenario.coordinated && new.digest == old.digest;
        let is_excused = is_commit || is_remark;
        let seen = log.written_sign_ins.get(&by).copied().unwrap_or(0);
        if new.sign_ins < seen && new.state == State::Active && new.pair.is_some() && !is_excused {
            problems.push(format!("goes back to sign-in {} from {seen}", new.sign_ins));
        }
        if let (Some(before), Some(after)) = (self.current(log, old), self.current(log, new))
            && before != after
        {
            let is_spent = log.sends.was_spent(after);
            let (before, after) = (&log.tokens[before], &log.tokens[after]);
            let is_older = before.family == after.family && after.generation < before.generation;
            if is_older && !before.was_refused {
                problems.push("overwrites a newer pair".to_owned());
            } else if is_older && is_spent {
                problems.push("falls back to a spent pair".to_owned());
            }
            if new.version == old.version && is_same {
                problems.push("writes another pair under the same version".to_owned());
            }
        }
        if old.state == State::LoggedOut && new.state != State::LoggedOut && log.begins == 0 {
            problems.push("undoes a logout".to_owned());
        }
        problems
    }

    fn leases(
        &self,
        log: &mut Log,
        by: NodeId,
        old: Option<&View>,
        new: &View,
        now: u64,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let before = old.and_then(|old| old.binding(&self.key));
        let written = new.lease.as_ref();
        let same = |one: &Lease| before.is_some_and(|it| it.number == one.number);
        if let Some(lease) = written.filter(|lease| !same(lease)) {
            let owner = *log.owners.entry(lease.owner.clone()).or_insert(by);
            if owner != by && old.is_none_or(|old| old.lease != new.lease) {
                problems.push(format!("writes a lease of {owner}"));
            }
            if owner == by {
                log.sends.leased(Leased {
                    by,
                    token: log.names.get(&lease.digest).copied(),
                    number: lease.number,
                    at: now,
                    is_doubtful: lease.doubtful.is_some(),
                });
            }
        }
        let (Some(old), Some(before)) = (old, before) else {
            return problems;
        };
        let holder = log.owners.get(&before.owner).copied();
        let is_alive =
            new.state == State::Active && new.version == old.version && new.family == old.family;
        let is_old = self
            .current(log, old)
            .is_some_and(|it| self.is_old(&log.tokens[it]));
        let goes_on = is_alive && !is_old;
        if goes_on && before.doubtful.is_some() && written.is_none_or(|it| it.doubtful.is_none()) {
            // A sign-in that may have worked may be repeated.
            if before.digest == old.digest && old.pair.is_some() {
                problems.push("wipes a doubt".to_owned());
            }
        }
        if goes_on && holder != Some(by) && !written.is_some_and(same) {
            if !self.is_stale(before, by, now) && !log.failed_over_since(before.since_ms(self)) {
                problems.push(format!("takes over the live lease of {holder:?}"));
            }
            // A second sign-in does not harm a session.
            let is_refresh = before.digest == old.digest && old.pair.is_some();
            if written.is_some_and(|it| it.doubtful.is_none()) && is_refresh {
                problems.push("takes over a stale lease without a doubt".to_owned());
            }
        }
        if is_alive {
            let token = log.names.get(&before.digest).copied();
            let sent = holder.and_then(|holder| log.sends.under(holder, token, before.number));
            if written.is_some_and(|lease| lease.digest == before.digest) {
                problems.extend(self.renewal(log, by, holder, before, new, sent, now));
            }
            if holder == Some(by)
                && written.is_none_or(same)
                && self.is_without_pause(log, sent, new, now)
            {
                problems.push("releases its lease after a failure without a pause".to_owned());
            }
        }
        problems
    }

    /// Whether another instance may take the lease over.
    fn is_stale(&self, lease: &Lease, by: NodeId, now: u64) -> bool {
        let duration = lease
            .duration
            .max(self.scenario.lease_duration_of(by.node) * 1_000);
        lease.released || now >= lease.since_ms(self) + duration
    }

    /// A lease on the same token that replaces `before`, or `before` itself with a doubt note.
    #[allow(clippy::too_many_arguments)]
    fn renewal(
        &self,
        log: &Log,
        by: NodeId,
        holder: Option<NodeId>,
        before: &Lease,
        new: &View,
        sent: Option<&Send>,
        now: u64,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let is_own = |lease: &&Lease| log.owners.get(&lease.owner) == Some(&by);
        let Some(lease) = new.lease.as_ref().filter(is_own) else {
            return problems;
        };
        let lease_duration = self.scenario.lease_duration_of(by.node) * 1_000;
        if lease.duration < lease_duration {
            problems.push("writes a lease that is shorter than its lease_duration".to_owned());
        }
        let read = sent.and_then(|sent| sent.read).map(|(read, _)| read);
        let is_new = lease.number != before.number;
        if !is_new {
            // The note that the token of the lease may be spent, with the cause.
            if lease.doubtful.is_some() && before.doubtful.is_none() || lease.by != before.by {
                // Without coordination a token is sent although other instances hold leases on it.
                let beside = log.sends.last(by, log.names.get(&lease.digest).copied());
                let beside = beside.filter(|_| !self.scenario.coordinated);
                let read = beside.map_or(read, |sent| sent.read.map(|(read, _)| read));
                let is_right = match read {
                    // The note could not be stored in time.
                    _ if lease.released && lease.by.is_none() => true,
                    Some(Read::Unavailable) => lease.by == Some(By::Unavailable),
                    Some(Read::Silence) => lease.by == Some(By::Silence),
                    _ => true,
                };
                if !is_right {
                    problems.push(format!("notes {:?} as the cause of a doubt", lease.by));
                }
            }
            let pause = new.not_before.as_ref().map_or(0, |pause| pause.until);
            let is_remark = lease.doubtful.is_some() && lease.since != before.since;
            if is_remark && lease.since + lease.duration < pause + lease_duration {
                problems.push("lets its lease go stale in its own pause".to_owned());
            }
            if lease.sendings != before.sendings {
                problems.push("counts a sending that did not happen".to_owned());
            }
            return problems;
        }
        // After an answer that left the token unspent, the token may be leased like one that was never sent.
        let is_lost = sent.is_none_or(|sent| sent.is_unspent || log.failed_over_since(sent.at));
        if is_lost || before.digest == self.key.digest().to_string() {
            return problems;
        }
        if lease.doubtful.is_some() && lease.sendings != before.sendings + 1 {
            problems.push(format!(
                "counts {} sendings after {}",
                lease.sendings, before.sendings
            ));
        }
        if lease.doubtful.is_some() && lease.by != Some(By::Silence) {
            problems.push("notes an answer before it sends again".to_owned());
        }
        let is_unclear = matches!(read, Some(Read::Unavailable | Read::Silence));
        if holder == Some(by) && is_unclear && !self.is_stale(before, by, now) {
            let at = sent.map_or(now, |sent| sent.at);
            if before.doubtful.is_none() && !log.has_trouble_since(by, at) {
                problems.push("sends again without a doubt note before the pause".to_owned());
            }
            if log.slept_long_since(at, LONG_SLEEP) {
                problems.push("sends again soon although its machine slept".to_owned());
            }
        }
        problems
    }

    /// Whether the holder of a lease does not write a pause after its failure, because an older pause continues.
    fn is_without_pause(&self, log: &Log, sent: Option<&Send>, new: &View, now: u64) -> bool {
        let Some(sent) = sent.filter(|sent| !log.failed_over_since(sent.at)) else {
            return false;
        };
        let (is_failure, at) = match sent.read {
            Some((Read::Unspent | Read::Unavailable | Read::Silence, at)) => {
                (now < at + SHORTEST_PAUSE, at)
            }
            _ => (false, 0),
        };
        let lag = log.lags.get(&sent.by).copied().unwrap_or(0) + 1_000;
        let is_kept = new
            .not_before
            .as_ref()
            .is_some_and(|pause| pause.until.saturating_sub(self.epoch()) + lag >= at);
        is_failure && !is_kept && !self.has_no_pause(log, sent.by, sent.token)
    }
}

impl Lease {
    /// The start of the lease on the observer's time scale, in milliseconds.
    fn since_ms(&self, observer: &Observer) -> u64 {
        self.since.saturating_sub(observer.epoch())
    }
}
