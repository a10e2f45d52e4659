//! What a token that was consumed before brings when it is presented again.

use super::super::rules::{GraceAnswer, Reuse};
use super::{Fate, Refusal, State, Use};
use crate::clock::Timestamp;
use crate::endpoint::Issued;
use crate::token::{AccessToken, RefreshToken};

impl State {
    /// A consumed token, presented again.
    pub(super) fn reuse(
        &mut self,
        token: &str,
        family: usize,
        first: Use,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        let age = now.since(first.at);
        let successor = first.successor();
        match self.rules.reuse {
            Reuse::Linked { window } if age < window && !self.is_consumed(successor) => {
                Ok(first.answer)
            }
            Reuse::Renew { window, times }
                if age < window && first.again < times && !self.is_consumed(successor) =>
            {
                Ok(self.renew(token, family, first, now))
            }
            Reuse::Refuse | Reuse::Linked { .. } | Reuse::Renew { .. } => {
                Err(Refusal::InvalidGrant)
            }
            Reuse::Grace {
                window,
                answer: GraceAnswer::SamePair,
            } if age < window && !self.is_consumed(successor) => Ok(first.answer),
            Reuse::Grace {
                window,
                answer: GraceAnswer::Fork,
            } if age < window => {
                self.counters.rotations += 1;
                Ok(self.new_pair(family, now))
            }
            Reuse::Grace {
                window,
                answer: GraceAnswer::LastWins,
            } if age < window && !self.is_used(successor) => {
                Ok(self.renew(token, family, first, now))
            }
            Reuse::RevokeFamily | Reuse::Grace { .. } => {
                self.families[family].revoked = true;
                self.counters.families_revoked += 1;
                Err(Refusal::InvalidGrant)
            }
        }
    }

    /// Another pair for a consumed token; the one it brought before dies.
    fn renew(&mut self, token: &str, family: usize, first: Use, now: Timestamp) -> Issued {
        self.counters.rotations += 1;
        self.bury(first.successor());
        let access = first.answer.access.as_ref();
        self.revoke_access(access.map_or("", AccessToken::expose));
        let answer = self.new_pair(family, now);
        let renewed = Use {
            at: first.at,
            answer: answer.clone(),
            again: first.again + 1,
        };
        self.consume(token, renewed);
        answer
    }

    fn is_consumed(&self, token: &str) -> bool {
        self.refresh
            .get(token)
            .is_some_and(|held| matches!(held.fate, Fate::Consumed(_)))
    }

    fn is_used(&self, token: &str) -> bool {
        let came_with = self.refresh.get(token).map(|held| &held.access);
        let access_used = came_with
            .and_then(|access| self.access.get(access))
            .is_some_and(|access| access.used);
        access_used || self.is_consumed(token)
    }
}

impl Use {
    /// The refresh token it brought last.
    fn successor(&self) -> &str {
        self.answer
            .refresh
            .as_ref()
            .map_or("", RefreshToken::expose)
    }
}
