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

/// What is to be told next of a pair whose end subscribers were `warned` of, or not. Once it has ended, it
/// is not asked for any more.
pub(super) fn next(
    schedule: &Schedule,
    warned: bool,
    settings: &Settings,
) -> Option<(Timestamp, Notice)> {
    let Ending {
        at: ends_at,
        is_final,
    } = schedule.ending?;
    // Not earlier than halfway: a warning that comes with the pair warns of nothing.
    let half = schedule.age(ends_at) / 2;
    let before = |span: Duration| ends_at.before(span.min(half));
    Some(if !warned {
        (
            before(settings.expiring_before),
            Notice::Expiring { ends_at },
        )
    } else if is_final {
        (before(settings.ended_before), Notice::Ending)
    } else {
        (ends_at, Notice::Over)
    })
}
