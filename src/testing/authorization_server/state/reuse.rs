//! What a token that was consumed before brings when it is presented again.

use super::super::rules::{GraceAnswer, Reuse};
use super::{Fate, Refusal, State};
use crate::clock::Timestamp;
use crate::endpoint::Issued;
use crate::token::{AccessToken, RefreshToken};

impl State {
    /// A consumed token, presented again.
    pub(super) fn reuse(
        &mut self,
        token: &str,
        family: usize,
        first_use: Timestamp,
        answer: Issued,
        now: Timestamp,
    ) -> Result<Issued, Refusal> {
        let successor = answer.refresh.as_ref().map_or("", RefreshToken::expose);
        match self.rules.reuse {
            Reuse::Refuse => Err(Refusal::InvalidGrant),
            Reuse::Grace {
                window,
                answer: GraceAnswer::SamePair,
            } if now.since(first_use) < window && !self.is_consumed(successor) => Ok(answer),
            Reuse::Grace {
                window,
                answer: GraceAnswer::Fork,
            } if now.since(first_use) < window => {
                self.counters.rotations += 1;
                Ok(self.new_pair(family, now))
            }
            Reuse::Grace {
                window,
                answer: GraceAnswer::LastWins,
            } if now.since(first_use) < window && !self.is_used(successor) => {
                self.counters.rotations += 1;
                self.bury(successor);
                self.revoke_access(answer.access.as_ref().map_or("", AccessToken::expose));
                let answer = self.new_pair(family, now);
                self.consume(token, first_use, answer.clone());
                Ok(answer)
            }
            Reuse::RevokeFamily | Reuse::Grace { .. } => {
                self.families[family].revoked = true;
                self.counters.families_revoked += 1;
                Err(Refusal::InvalidGrant)
            }
        }
    }

    fn is_consumed(&self, token: &str) -> bool {
        self.refresh
            .get(token)
            .is_some_and(|held| matches!(held.fate, Fate::Consumed { .. }))
    }

    fn is_used(&self, token: &str) -> bool {
        let came_with = self.refresh.get(token).map(|held| &held.access);
        let access_used = came_with
            .and_then(|access| self.access.get(access))
            .is_some_and(|access| access.used);
        access_used || self.is_consumed(token)
    }
}
