//! No newer pair is overwritten, and a claim is what it says: every write is judged against what it replaced.

use evertoken::Record;

use super::view::State;
use super::{Log, NodeId, Observer, View};

impl Observer {
    /// The instance's write was applied.
    pub(crate) fn swapped(&self, by: NodeId, next: &Record) {
        let now = self.now();
        let next = View::of(next);
        let mut log = self.log();
        self.note_locked(&mut log, || format!("{by} writes {}", next.show(&self.key)));
        let old = log.record.take();
        for problem in self.problems(&mut log, by, old.as_ref(), &next, now) {
            self.break_locked(&mut log, format!("O3 {by} {problem}"));
        }
        if let Some(name) = self.current(&log, &next) {
            log.tokens[name].was_stored = true;
            let is_news = old.as_ref().is_none_or(|old| old.state != State::LoggedOut);
            if next.state == State::LoggedOut && is_news {
                let family = log.tokens[name].family;
                log.left.push(family);
            }
        }
        if let Some(problem) = self.another_session(&mut log, &next) {
            self.break_locked(&mut log, format!("O3 {by} {problem}"));
        }
        log.record = Some(next);
    }

    /// A lineage is one sign-in: no pair of another gets into it.
    fn another_session(&self, log: &mut Log, next: &View) -> Option<&'static str> {
        let current = self.current(log, next)?;
        let family = log.tokens[current].family;
        let first = *log.families.entry(next.lineage.clone()).or_insert(family);
        (first != family).then_some("writes a pair into another session")
    }

    /// Whether the instance lands a pair by this write.
    pub(crate) fn is_landing(&self, by: NodeId, next: &Record) -> bool {
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
        let mut problems = self.claims(log, by, old, new, now);
        let Some(old) = old else {
            return problems;
        };
        if new.next_number < old.next_number {
            problems.push("takes the next number back".to_owned());
        }
        if new.version < old.version {
            problems.push(format!("takes version {} back", old.version));
        }
        if new.committed_number < old.committed_number {
            problems.push("takes the committed number back".to_owned());
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
                problems.push("falls back on a pair that is spent".to_owned());
            }
            if new.version == old.version {
                problems.push("writes another pair under the same version".to_owned());
            }
        }
        if old.state == State::LoggedOut && new.state != State::LoggedOut && log.begins == 0 {
            problems.push("undoes a logout".to_owned());
        }
        problems
    }

    fn claims(
        &self,
        log: &mut Log,
        by: NodeId,
        old: Option<&View>,
        new: &View,
        now: u64,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let before = old.and_then(|old| old.binding(&self.key));
        let written = new.claim.as_ref();
        let same = |one: &super::view::Claim| before.is_some_and(|it| it.number == one.number);
        if let Some(claim) = written.filter(|claim| !same(claim)) {
            let owner = *log.owners.entry(claim.owner.clone()).or_insert(by);
            if owner != by && old.is_none_or(|old| old.claim != new.claim) {
                problems.push(format!("writes a claim of {owner}'s"));
            }
            if owner == by {
                let token = log.names.get(&claim.digest).copied();
                let is_doubtful = claim.doubtful.is_some();
                log.sends.claimed(by, token, now, is_doubtful);
            }
        }
        let (Some(old), Some(before)) = (old, before) else {
            return problems;
        };
        let holder = log.owners.get(&before.owner).copied();
        let goes_on =
            new.state == State::Active && new.version == old.version && new.lineage == old.lineage;
        let is_old = self
            .current(log, old)
            .is_some_and(|it| self.is_old(&log.tokens[it]));
        let goes_on = goes_on && !is_old;
        if goes_on && before.doubtful.is_some() && written.is_none_or(|it| it.doubtful.is_none()) {
            // A sign-in that may have worked may be done again.
            if before.digest == old.digest && old.pair.is_some() {
                problems.push("wipes a doubt".to_owned());
            }
        }
        if goes_on && holder != Some(by) && !written.is_some_and(same) {
            let patience = self.scenario.quarantine * 1_000 * (1 << before.resorts);
            let is_stale = before.released || now >= before.since_ms(self) + patience;
            if !is_stale && !log.failed_over_since(before.since_ms(self)) {
                problems.push(format!("takes the live claim of {holder:?}"));
            }
            // Nobody is harmed by a second sign-in.
            let is_refresh = before.digest == old.digest && old.pair.is_some();
            if written.is_some_and(|it| it.doubtful.is_none()) && is_refresh {
                problems.push("takes a stale claim for a free one".to_owned());
            }
        }
        if let Some(claim) = written.filter(|claim| claim.digest == new.digest) {
            let profile = self.scenario.profile();
            if claim.resorts > profile.last_resorts * u32::from(profile.last_resort) {
                problems.push("goes beyond the last resort".to_owned());
            }
            let may_replay = !profile.replay_window.is_zero();
            if claim.replays > profile.replays * u32::from(may_replay) {
                problems.push("replays too often".to_owned());
            }
        }
        problems
    }
}

impl super::view::Claim {
    /// As the observer counts.
    fn since_ms(&self, observer: &Observer) -> u64 {
        self.since.saturating_sub(observer.epoch())
    }
}
