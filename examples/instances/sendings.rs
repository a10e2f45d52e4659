//! Which refresh tokens were sent more than once, and why. It reads no clock.

use std::collections::HashMap;

use evertoken::protocol::Digest;

use crate::message::Micros;

#[derive(Debug)]
struct Sending {
    instance: u64,
    token: Digest,
    at: Micros,
    /// Its lease says that the token may have been sent before.
    is_second: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Sendings {
    sent: Vec<Sending>,
    /// By token, which instance read a clear answer to it and when: a pair, or that the token is dead.
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

    /// Tokens that were sent again after an unclear answer, or by an instance that took a lease over.
    pub(crate) fn second(&self) -> u64 {
        let second = self.sent.iter().filter(|sending| sending.is_second);
        second.count() as u64
    }

    /// Tokens that came again after a clear answer was read: sent as if for the first time, or by the instance that
    /// has read it. An instance that takes a lease over cannot know what another one has read and not stored.
    pub(crate) fn replays(&self) -> u64 {
        self.sent
            .iter()
            .filter(|sending| self.is_replay(sending))
            .count() as u64
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

    fn sendings() -> (Sendings, Digest) {
        let (mut sendings, token) = (Sendings::default(), Digest::of("a"));
        sendings.sent(1, token, 100, false);
        (sendings, token)
    }

    #[test]
    fn a_token_that_is_sent_again_before_an_answer_was_read_is_no_replay() {
        let (mut sendings, token) = sendings();
        sendings.sent(1, token, 200, true);
        sendings.sent(2, token, 300, true);
        assert_eq!((sendings.second(), sendings.replays()), (2, 0));
    }

    #[test]
    fn an_instance_that_takes_over_cannot_know_what_was_read_before_a_kill() {
        let (mut sendings, token) = sendings();
        sendings.answered(1, token, 150);
        sendings.sent(2, token, 300, true);
        assert_eq!((sendings.second(), sendings.replays()), (1, 0));
    }

    #[test]
    fn a_token_that_comes_again_after_its_answer_was_read_is_a_replay() {
        for (instance, is_second) in [(1, true), (1, false), (2, false)] {
            let (mut sendings, token) = sendings();
            // Instances are heard in any order.
            sendings.sent(instance, token, 300, is_second);
            sendings.answered(1, token, 150);
            assert_eq!(sendings.replays(), 1, "{instance} {is_second}");
            assert_eq!(sendings.second(), u64::from(is_second));
        }
    }

    #[test]
    fn each_token_is_counted_by_itself() {
        let (mut sendings, token) = sendings();
        sendings.answered(1, token, 150);
        sendings.sent(1, Digest::of("b"), 200, false);
        assert_eq!((sendings.second(), sendings.replays()), (0, 0));
    }
}
