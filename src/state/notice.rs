//! What is told of a session's end before it comes, and when.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::schedule::{Ending, Schedule};
use crate::settings::Settings;

/// Something to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The session ends at this moment, unless somebody rotates.
    Expiring { ends_at: Timestamp },
    /// It is about to end, and nothing can prolong it.
    Ending,
    /// It has ended, unless another instance knows better.
    Over,
}

/// What was told of the pair that is held.
#[derive(Debug, Default)]
pub(super) struct Notices {
    expiring: bool,
    over: bool,
}

impl Notices {
    pub(super) fn next(
        &self,
        schedule: &Schedule,
        settings: &Settings,
    ) -> Option<(Timestamp, Notice)> {
        let Ending {
            at: ends_at,
            is_final,
        } = schedule.ending?;
        // Not earlier than halfway: a warning that comes with the pair warns of nothing.
        let half = schedule.age(ends_at) / 2;
        let before = |span: Duration| ends_at.before(span.min(half));
        if !self.expiring {
            return Some((
                before(settings.expiring_before),
                Notice::Expiring { ends_at },
            ));
        }
        if self.over {
            return None;
        }
        if is_final {
            Some((before(settings.ended_before), Notice::Ending))
        } else {
            Some((ends_at, Notice::Over))
        }
    }

    pub(super) fn told(&mut self, notice: Notice) {
        match notice {
            Notice::Expiring { .. } => self.expiring = true,
            Notice::Ending | Notice::Over => self.over = true,
        }
    }
}
