//! The rules for pauses after failed attempts: how long a pause is, which instances keep it, and what ends it. An
//! action of the user ends every pause.

use evertoken::{CoolDown, EndpointError};

use super::{Log, NodeId, Observer, View};
use crate::scenario::Resend;

/// An attempt that brought no pair.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) token: Option<usize>,
    /// When the instance read the failure.
    pub(super) at: u64,
    /// Whether the access token had expired by then.
    was_over: bool,
    /// The version of the record at that time.
    version: Option<u64>,
    /// How many sign-ins and logouts users had made by then.
    begins: (u32, u32),
    /// The pause that the server asked for, in milliseconds.
    asked: u64,
    /// Whether the token may be sent again, so that a pause precedes the second sending.
    is_resent: bool,
    /// Whether the server refused the credentials of a sign-in.
    refuses_sign_in: bool,
}

/// The allowance for rounding, in milliseconds.
const SLACK: u64 = 50;

impl Observer {
    /// Whether the user has logged this instance out and not signed in anew since.
    pub(crate) fn is_out(&self, by: NodeId) -> bool {
        let log = self.log();
        // Another instance, which can sign in by itself, never learned of a logout that the store lost.
        let is_lost = self.scenario.sign_in && log.has_failed_over();
        log.out.get(&by) == Some(&log.begins) && !log.is_stray && !is_lost
    }

    /// The instance is about to send, or would send if it reached the server. `was_out` is whether it was logged out
    /// when it decided to send.
    pub(crate) fn attempts(&self, by: NodeId, refresh: Option<&str>, was_out: bool) {
        let now = self.now();
        let mut log = self.log();
        let token = refresh.map(|refresh| log.texts[refresh]);
        if let Some(problem) = self.judge_pause(&log, by, token, now) {
            self.break_locked(&mut log, format!("O8 {by} {problem}"));
        }
        if was_out {
            self.break_locked(&mut log, format!("O6 {by} sends after its logout"));
        }
    }

    fn judge_pause(&self, log: &Log, by: NodeId, token: Option<usize>, now: u64) -> Option<String> {
        let record = log.record.as_ref();
        let pause = record.and_then(|record| record.not_before.as_ref());
        let until = pause.map_or(0, |pause| pause.until.saturating_sub(self.epoch()));
        let lease = log.sends.lease_of(by, token);
        let is_lost = lease.is_some_and(|lease| log.failed_over_since(lease.at));
        // A pause of a session that replaced this instance's session does not bind the instance.
        let written = record.and_then(|record| record.lease.as_ref());
        let number = lease.map(|lease| lease.number);
        let is_current = written.map(|lease| lease.number) == number;
        if self.scenario.coordinated && now < until && is_current && !is_lost {
            return Some(format!(
                "sends {} ms before the record permits",
                until - now
            ));
        }
        let failed = log.failed.get(&by)?;
        if failed.begins != log.done_by_users() {
            return None;
        }
        let least = failed.asked.max(millis(CoolDown::default().expired));
        let is_early = failed.was_over && now + SLACK < failed.at + least;
        // The instance was about to do something else instead, and then the store had lost its lease.
        let leased_from = failed
            .at
            .saturating_sub(self.scenario.longest_lease() * 1_000);
        let is_lost = !failed.is_resent && log.failed_over_since(leased_from);
        // Another instance may have succeeded.
        let is_same = failed.version == record.map(|record| record.version);
        if failed.token == token && is_same && is_early && !is_lost {
            return Some(format!("sends {} ms after a failure", now - failed.at));
        }
        let asked = log.asked.get(&by.node).copied().unwrap_or(0);
        if token.is_none() && is_same && failed.refuses_sign_in && asked < failed.at {
            return Some("signs in again although it was refused and no caller asked".to_owned());
        }
        None
    }

    /// Whether another way follows at once on the last failure of an instance, or a pause that may be cut short.
    pub(super) fn has_no_pause(&self, log: &Log, by: NodeId, token: Option<usize>) -> bool {
        let failed = log.failed.get(&by);
        let failed = failed.filter(|failed| failed.token == token);
        failed.is_some_and(|failed| !failed.is_resent || !failed.was_over)
    }

    /// An attempt has failed before it reached the server, after this many milliseconds.
    pub(crate) fn unreached(&self, by: NodeId, refresh: Option<&str>, error: &EndpointError) {
        let mut log = self.log();
        let token = refresh.map(|refresh| log.texts[refresh]);
        self.note_locked(&mut log, || format!("{by} does not reach the server"));
        self.failed_locked(&mut log, by, token, error);
    }

    pub(super) fn failed_locked(
        &self,
        log: &mut Log,
        by: NodeId,
        token: Option<usize>,
        error: &EndpointError,
    ) {
        let now = self.now();
        let asked = error.retry_after().map_or(0, millis);
        let refuses = match error {
            EndpointError::Rejected { .. }
            | EndpointError::Refused { .. }
            | EndpointError::UserNeeded { .. } => true,
            EndpointError::Page { quote, .. } => matches!(quote.status, Some(400 | 401)),
            _ => false,
        };
        let failed = Failed {
            token,
            at: now,
            was_over: self.is_over(log, now),
            version: log.record.as_ref().map(|record| record.version),
            begins: log.done_by_users(),
            asked,
            is_resent: self.permits(error),
            refuses_sign_in: token.is_none() && refuses,
        };
        log.failed.insert(by, failed);
    }

    /// Whether the profile permits sending the token again after this error.
    fn permits(&self, error: &EndpointError) -> bool {
        let is_silence = matches!(error, EndpointError::Unknown { .. });
        match self.scenario.resend {
            _ if !error.is_unclear() => true,
            _ if self.scenario.sign_in && is_silence => false,
            Resend::Always => true,
            Resend::WhenUnavailable => !is_silence,
            Resend::Never => false,
        }
    }

    /// Whether the record's access token has expired for every client.
    fn is_over(&self, log: &Log, now: u64) -> bool {
        let record = log.record.as_ref();
        let access = record.and_then(View::access);
        // A pair without an access token is renewed at the time at which that token would be due.
        access.is_some_and(|access| {
            let ends_at = log.accesses.get(access).copied().unwrap_or(0);
            ends_at <= now && !log.repeated.contains(access)
        })
    }

    /// What a write does to the pause.
    pub(super) fn pause_problems(
        &self,
        log: &Log,
        by: NodeId,
        old: &View,
        new: &View,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let pause = new.not_before.as_ref();
        let brought = new.refresh().and_then(|refresh| log.texts.get(refresh));
        let is_new = brought.is_some_and(|name| !log.tokens[*name].was_stored);
        if is_new && new.version > old.version && pause.is_some() {
            problems.push("commits a pair and leaves the pause in the record".to_owned());
        }
        let (Some(failed), Some(pause)) = (log.failed.get(&by), pause) else {
            return problems;
        };
        if Some(pause) == old.not_before.as_ref() || failed.begins != log.done_by_users() {
            return problems;
        }
        // The store time that the instance knows from its last answer may be behind by this much.
        let lag = log.lags.get(&by).copied().unwrap_or(0) + SLACK;
        let until = pause.until.saturating_sub(self.epoch()) + lag;
        let is_resent = failed.token.is_some() && failed.is_resent;
        let count = pause.failures;
        // The user has acted since the rotation of the instance began.
        if count == 0 {
            return problems;
        }
        let usual = millis(CoolDown::default().expired);
        let doubled = usual << count.saturating_sub(1).min(10);
        let least = doubled.min(millis(CoolDown::default().longest));
        // Another instance may succeed, and goes first.
        let lead = u64::from(pause.class == "not_sent") * least / 10;
        let least = least - lead;
        if failed.was_over && is_resent && until < failed.at + least {
            let short = failed.at + least - until;
            problems.push(format!(
                "makes the pause after failure {count} {short} ms too short"
            ));
        }
        problems
    }

    /// The store has answered the instance. The answer was on its way for `lag` milliseconds.
    pub(crate) fn loaded(&self, by: NodeId, lag: u64) {
        let mut log = self.log();
        let most = log.lags.entry(by).or_default();
        *most = lag.max(*most);
    }

    /// A caller uses the instance.
    pub(crate) fn asked(&self, node: usize) {
        let now = self.now();
        self.log().asked.insert(node, now);
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
