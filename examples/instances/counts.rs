//! What a run counts from the reports of its instances: how soon an instance adopts a pair that another one has committed, and
//! how often a refresh token was sent. This module reads no clock.

use std::collections::{HashMap, HashSet};

use evertoken::protocol::Digest;

use crate::messages::Micros;

#[derive(Debug)]
struct Adoption {
    version: u64,
    at: Micros,
    /// The start of the wait of the adopting instance, or its end of a pause. It could not adopt the pair before.
    from: Micros,
}

/// Adoptions of pairs by instances that did not commit them.
#[derive(Debug, Default)]
pub(crate) struct Adoptions {
    committed: HashMap<u64, Micros>,
    /// Pairs of sign-ins, which no instance committed.
    signed_in: HashSet<u64>,
    adopted: Vec<Adoption>,
    /// The last end of a pause, by instance.
    resumed: HashMap<u64, Micros>,
}

impl Adoptions {
    /// The pair is in the store, by the report of its committer or of another reader: a store may show a pair before it answers
    /// the committer. The earliest report counts.
    pub(crate) fn committed(&mut self, version: u64, at: Micros) {
        let first = self.committed.entry(version).or_insert(at);
        *first = at.min(*first);
    }

    /// The pair is of a sign-in.
    pub(crate) fn signed_in(&mut self, version: u64) {
        self.signed_in.insert(version);
    }

    /// An instance has adopted the pair after it had waited for so long.
    pub(crate) fn adopted(&mut self, instance: u64, version: u64, at: Micros, waited: Micros) {
        let resumed = self.resumed.get(&instance).copied().unwrap_or_default();
        let began = at.saturating_sub(waited);
        // A pause after the adoption does not count: its report can come after the end of the pause.
        let from = if resumed <= at {
            began.max(resumed)
        } else {
            began
        };
        self.adopted.push(Adoption { version, at, from });
        self.committed(version, at);
    }

    /// The pause of an instance has ended.
    pub(crate) fn resumed(&mut self, instance: u64, at: Micros) {
        self.resumed.insert(instance, at);
    }

    /// The time of each adoption, in ascending order.
    pub(crate) fn times(&self) -> Vec<Micros> {
        let time = |adoption: &Adoption| {
            let committed = self.committed.get(&adoption.version).copied();
            let from = adoption.from.max(committed.unwrap_or_default());
            adoption.at.saturating_sub(from)
        };
        let adopted = self.adopted.iter();
        let rotated = adopted.filter(|adoption| !self.signed_in.contains(&adoption.version));
        let mut times: Vec<_> = rotated.map(time).collect();
        times.sort_unstable();
        times
    }
}

/// The value that this share of the values does not exceed. The values are in ascending order.
pub(crate) fn quantile(values: &[Micros], share: f64) -> Option<Micros> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a run has a few thousand values"
    )]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

#[derive(Debug)]
struct Sending {
    instance: u64,
    token: Digest,
    at: Micros,
    /// The lease says that the token may have been sent before.
    is_second: bool,
}

/// Sendings of refresh tokens.
#[derive(Debug, Default)]
pub(crate) struct Sendings {
    sent: Vec<Sending>,
    /// For each token, the instances that read a clear answer and the times: a pair, or that the token is dead.
    answered: HashMap<Digest, Vec<(u64, Micros)>>,
}

impl Sendings {
    pub(crate) fn sent(&mut self, instance: u64, token: Digest, at: Micros, is_second: bool) {
        self.sent.push(Sending {
            instance,
            token,
            at,
            is_second,
        });
    }

    pub(crate) fn answered(&mut self, instance: u64, token: Digest, at: Micros) {
        let answers = self.answered.entry(token).or_default();
        answers.push((instance, at));
    }

    /// Sendings of a token after an unclear answer, or by an instance that took a lease over.
    pub(crate) fn second(&self) -> u64 {
        let second = self.sent.iter().filter(|sending| sending.is_second);
        second.count() as u64
    }

    /// Sendings of a token after a clear answer: as if for the first time, or by the instance that read the answer. An instance
    /// that takes a lease over cannot know an answer that another instance read and did not store.
    pub(crate) fn replays(&self) -> u64 {
        let again = self.sent.iter().filter(|sending| self.is_replay(sending));
        again.count() as u64
    }

    fn is_replay(&self, sending: &Sending) -> bool {
        let answers = self.answered.get(&sending.token);
        answers.into_iter().flatten().any(|(instance, at)| {
            *at < sending.at && (!sending.is_second || *instance == sending.instance)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adoption_counts_from_the_commit_or_from_the_start_of_the_wait() {
        let mut adoptions = Adoptions::default();
        adoptions.adopted(1, 2, 1_000, 900);
        adoptions.adopted(2, 2, 2_000, 50);
        adoptions.committed(2, 990);
        assert_eq!(adoptions.times(), [10, 50]);
    }

    #[test]
    fn the_earliest_report_of_a_pair_is_its_commit() {
        let mut adoptions = Adoptions::default();
        adoptions.committed(2, 990);
        adoptions.committed(2, 700);
        adoptions.committed(2, 800);
        adoptions.adopted(1, 2, 1_000, 900);
        assert_eq!(adoptions.times(), [300]);
        adoptions.adopted(2, 2, 690, 500);
        assert_eq!(adoptions.times(), [0, 310]);
    }

    #[test]
    fn the_pair_of_a_sign_in_is_not_an_adoption() {
        let mut adoptions = Adoptions::default();
        adoptions.signed_in(1);
        adoptions.adopted(1, 1, 1_000, 900);
        assert!(adoptions.times().is_empty());
    }

    #[test]
    fn an_adoption_counts_from_the_end_of_a_pause() {
        let mut adoptions = Adoptions::default();
        adoptions.committed(2, 100);
        adoptions.resumed(1, 950);
        adoptions.adopted(1, 2, 1_000, 900);
        adoptions.resumed(2, 1_050);
        adoptions.adopted(2, 2, 1_000, 900);
        assert_eq!(adoptions.times(), [50, 900]);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<_> = (1..=200).collect();
        assert_eq!(quantile(&values, 0.5), Some(100));
        assert_eq!(quantile(&values, 0.99), Some(198));
        assert_eq!(quantile(&values, 1.0), Some(200));
        assert_eq!(quantile(&[7], 0.5), Some(7));
        assert_eq!(quantile(&[], 0.5), None);
    }

    fn sendings() -> (Sendings, Digest) {
        let (mut sendings, token) = (Sendings::default(), Digest::of("a"));
        sendings.sent(1, token, 100, false);
        (sendings, token)
    }

    #[test]
    fn a_second_sending_before_an_answer_is_not_a_replay() {
        let (mut sendings, token) = sendings();
        sendings.sent(1, token, 200, true);
        sendings.sent(2, token, 300, true);
        assert_eq!((sendings.second(), sendings.replays()), (2, 0));
    }

    #[test]
    fn a_second_sending_by_an_instance_that_took_over_is_not_a_replay() {
        let (mut sendings, token) = sendings();
        sendings.answered(1, token, 150);
        sendings.sent(2, token, 300, true);
        assert_eq!((sendings.second(), sendings.replays()), (1, 0));
    }

    #[test]
    fn a_sending_after_the_answer_was_read_is_a_replay() {
        for (instance, is_second) in [(1, true), (1, false), (2, false)] {
            let (mut sendings, token) = sendings();
            // Reports of instances arrive in any order.
            sendings.sent(instance, token, 300, is_second);
            sendings.answered(1, token, 150);
            assert_eq!(sendings.replays(), 1, "{instance} {is_second}");
            assert_eq!(sendings.second(), u64::from(is_second));
        }
    }

    #[test]
    fn an_answer_counts_for_its_own_token_only() {
        let (mut sendings, token) = sendings();
        sendings.answered(1, token, 150);
        sendings.sent(1, Digest::of("b"), 200, false);
        assert_eq!((sendings.second(), sendings.replays()), (0, 0));
    }
}
