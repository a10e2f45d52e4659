//! When a browser presented the session in this process, and which of its pairs.

use std::time::Duration;

use super::{HeldPair, State};
use crate::clock::Timestamp;
use crate::record::browser::Shown;

/// The presentations of a session in this process.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    /// When the user signed in.
    pub(crate) began: Timestamp,
    /// When a browser presented the session last.
    pub(crate) at: Timestamp,
    /// The newest pair that was brought; `None` if only the id was.
    pub(crate) shown: Option<Shown<Timestamp>>,
    /// The last moment that the record knows of, or is about to.
    noted: Option<Timestamp>,
}

impl State {
    /// A browser presents the session at `now`, with the pair of this version if it brings one.
    ///
    /// Returns whether the record has to know of it: the first presentation of a pair, and one in each `interval`.
    pub(crate) fn presented(
        &mut self,
        version: Option<u64>,
        began: Timestamp,
        interval: Option<Duration>,
        now: Timestamp,
    ) -> bool {
        let current = self.held().map_or(0, |held| held.pair_id.version);
        let new = || Presence {
            began,
            at: now,
            shown: None,
            noted: None,
        };
        let presence = self.presence.get_or_insert_with(|| Box::new(new()));
        presence.at = presence.at.max(now);
        presence.began = presence.began.min(began);
        let brought = version.map(|version| Shown {
            version,
            before: 0,
            current,
            at: now,
        });
        let is_first = match (&mut presence.shown, brought) {
            (_, None) => false,
            (Some(shown), Some(brought)) => shown.advance(brought),
            (shown @ None, brought) => {
                *shown = brought;
                true
            }
        };
        let is_long_ago = |at| interval.is_some_and(|interval| now.since(at) >= interval);
        let needs_note = is_first || presence.noted.is_none_or(is_long_ago);
        if needs_note {
            presence.noted = Some(now);
        }
        needs_note
    }

    /// This presentation could not be noted in the record, so the next one has to be noted.
    pub(crate) fn not_noted(&mut self) {
        if let Some(presence) = &mut self.presence {
            presence.noted = None;
        }
    }

    pub(crate) fn presence(&self) -> Option<&Presence> {
        self.presence.as_deref()
    }

    /// Whether the browser may still hold the pair of this version, as far as this process knows.
    pub(crate) fn accepts_replaced(
        &self,
        version: u64,
        retired_for: Duration,
        now: Timestamp,
    ) -> bool {
        let Some(held) = self.held() else {
            return false;
        };
        let shown = self.presence().and_then(|presence| presence.shown);
        let accepts = |shown: Shown<Timestamp>| {
            let age = now.since(shown.at);
            shown.accepts(version, held.pair_id.version, age, retired_for)
        };
        // No browser has shown a newer pair here.
        shown.map_or(!retired_for.is_zero(), accepts)
    }

    /// Another sign-in takes the place of the one that was presented.
    pub(super) fn forget_presence(&mut self, next: &HeldPair) {
        let is_other = |held: &HeldPair| held.pair_id.family != next.pair_id.family;
        if self.held().is_some_and(is_other) {
            self.presence = None;
        }
    }

    /// Whether no browser has presented the session since the pair that is held was requested. The timer leaves such a session
    /// alone: a browser that is gone does not need the pairs of a whole night.
    pub(crate) fn is_unattended(&self) -> bool {
        let requested = self.held().map(|held| held.committed.sent_at);
        let presence = self.presence.as_ref().zip(requested);
        presence.is_some_and(|(presence, requested)| presence.at < requested)
    }
}
