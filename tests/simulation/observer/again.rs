//! The rules for which instance may send a token, and which may send it again.

use super::spends::{Read, Send};
use super::{Log, NodeId, Observer};
use crate::scenario::Resend;

impl Observer {
    pub(super) fn judge_coordinated(
        &self,
        log: &Log,
        by: NodeId,
        token: Option<usize>,
        now: u64,
    ) -> Option<String> {
        let Some(lease) = log.sends.lease_of(by, token) else {
            return Some("its instance never leased the token".to_owned());
        };
        let window = self.scenario.lease_duration_of(by.node) - self.scenario.timeout - 5;
        if now - lease.at >= (window * 1_000).max(1) && lease.at != now {
            return Some(format!("under a lease that is {} ms old", now - lease.at));
        }
        let last = log.sends.under(by, token, lease.number);
        if last.is_some_and(|last| !self.may_be_forgotten(log, last)) {
            return Some(format!("a second time under lease {}", lease.number));
        }
        let earlier = log.sends.all.iter().filter(|send| send.token == token);
        for send in earlier.filter(|send| !send.is_unspent) {
            if self.may_be_forgotten(log, send) {
                continue;
            }
            // A user who signs in does not wait for a sign-in under way.
            if token.is_none() && log.begins > 0 {
                continue;
            }
            if !send.ended && !log.is_dead(send.by) && !self.was_slept_through(log, send) {
                return Some(format!("while the exchange of {} is under way", send.by));
            }
            if token.is_some() && !lease.is_doubtful {
                return Some(format!(
                    "{} may have spent it, and its lease has no doubt",
                    send.by
                ));
            }
        }
        None
    }

    /// The rules for a second sending that hold with and without coordination.
    pub(super) fn judge_again(
        &self,
        log: &Log,
        by: NodeId,
        token: Option<usize>,
    ) -> Option<String> {
        let token = token?;
        let sends = log.sends.all.iter();
        let earlier = sends.filter(|send| send.token == Some(token) && !send.is_unspent);
        for send in earlier.filter(|send| !self.may_be_forgotten(log, send)) {
            let is_own = send.by == by;
            // Without coordination, other instances may not know of the first sending.
            if !is_own && !self.scenario.coordinated {
                continue;
            }
            let read = send.read.map(|(read, _)| read);
            match read {
                Some(Read::Issued) if is_own => {
                    return Some("after it read a pair issued for the token".to_owned());
                }
                // Without coordination, other instances spend the session's tokens without a lease, so a dead token
                // does not show that the session is dead.
                Some(Read::Dead) if is_own && self.scenario.coordinated => {
                    return Some("after the server called the token dead".to_owned());
                }
                Some(Read::Issued | Read::Dead) => continue,
                _ => {}
            }
            let is_page = read == Some(Read::Unavailable);
            if self.scenario.sign_in && !is_page {
                return Some("again after silence, although its endpoint can sign in".to_owned());
            }
            match self.scenario.resend {
                Resend::Never => {
                    return Some("again, although the profile never permits it".to_owned());
                }
                Resend::WhenUnavailable if !is_page => {
                    return Some("again after silence, although the profile forbids it".to_owned());
                }
                _ => {}
            }
        }
        None
    }

    /// Whether the store may have lost what was known of the sending.
    fn may_be_forgotten(&self, log: &Log, send: &Send) -> bool {
        let leased_from = send
            .at
            .saturating_sub(self.scenario.longest_lease() * 1_000);
        log.failed_over_since(leased_from)
    }

    /// An instance whose machine has slept cannot distinguish an exchange under way from a finished one.
    pub(super) fn was_slept_through(&self, log: &Log, send: &Send) -> bool {
        let is_over = self.now() - send.at >= (self.scenario.timeout + 5) * 1_000;
        is_over && log.slept_since(send.at)
    }
}
