//! When a browser presented the session in this process.

use std::time::Duration;

use super::State;
use crate::clock::Timestamp;
use crate::token::{Digest, PairId};

/// The presentations of a session in this process.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    /// When the user signed in.
    pub(crate) began: Timestamp,
    /// When a browser presented the session last.
    pub(crate) at: Timestamp,
    /// The token that was brought last, if it is not the one that is held.
    pub(crate) replaced: Option<Digest>,
    /// The pair that was held, and presented, and when that happened first.
    current: Option<(PairId, Timestamp)>,
    /// The pair and the moment that the record knows of, or is about to.
    noted: Option<(PairId, Timestamp)>,
}

impl State {
    /// A browser presents the session. `is_current` is whether it brings the pair that is held, and `replaced` is the token that it
    /// brings in place of that.
    ///
    /// Returns whether the record has to know of it: the first presentation of a pair, and one in each `interval`.
    pub(crate) fn presented(
        &mut self,
        is_current: bool,
        replaced: Option<Digest>,
        began: Timestamp,
        interval: Option<Duration>,
        now: Timestamp,
    ) -> bool {
        let held = self.pair_id();
        let new = || Presence {
            began,
            at: now,
            replaced: None,
            current: None,
            noted: None,
        };
        let presence = self.presence.get_or_insert_with(|| Box::new(new()));
        presence.at = presence.at.max(now);
        if is_current || replaced.is_some() {
            presence.replaced = replaced;
        }
        presence.began = presence.began.min(began);
        let Some(held) = held else { return false };
        let is_first = is_current && presence.current.is_none_or(|(of, _)| of != held);
        if is_first {
            presence.current = Some((held, now));
        }
        let is_noted = presence.noted.is_some_and(|(of, at)| {
            let is_long_ago = interval.is_some_and(|interval| now.since(at) >= interval);
            (of == held || !is_first) && !is_long_ago
        });
        if !is_noted {
            presence.noted = Some((held, now));
        }
        !is_noted
    }

    /// The record could not be told of this presentation, so the next one has to be noted.
    pub(crate) fn not_noted(&mut self) {
        if let Some(presence) = &mut self.presence {
            presence.noted = None;
        }
    }

    pub(crate) fn presence(&self) -> Option<&Presence> {
        self.presence.as_deref()
    }

    /// When a browser presented this pair first, as far as this process knows.
    pub(crate) fn presented_at(&self, pair_id: PairId) -> Option<Timestamp> {
        let (of, at) = self.presence.as_ref()?.current?;
        (of == pair_id).then_some(at)
    }

    /// Whether no browser has presented the session since the pair that is held was requested. The timer leaves such a session
    /// alone: a browser that is gone does not need the pairs of a whole night.
    pub(crate) fn is_unattended(&self) -> bool {
        let requested = self.held().map(|held| held.committed.sent_at);
        let presence = self.presence.as_ref().zip(requested);
        presence.is_some_and(|(presence, requested)| presence.at < requested)
    }
}
