//! The pause after a failed attempt, which all instances keep: none of them sends before it is over, and their callers
//! learn what they wait for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::clock::StoreTime;

/// Until when no instance sends, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotBefore {
    pub(crate) until: StoreTime,
    pub(crate) class: Class,
    /// The server's error code, or the HTTP status, where there is one.
    #[serde(default)]
    pub(crate) code: Option<String>,
    /// How many attempts in a row have failed; the pause doubles with them.
    #[serde(default)]
    pub(crate) failures: u32,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    NotSent,
    Later,
    UserNeeded,
    Refused,
    SignInRefused,
    Page,
    Unavailable,
    /// No answer that can be read, or a word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Record {
    /// How many attempts in a row have failed, as far as instances could store it.
    pub(crate) fn failures(&self) -> u32 {
        self.not_before.as_ref().map_or(0, |pause| pause.failures)
    }

    /// What is left of the pause at `now`; `longest` at the most, because a store's clock may be set back.
    pub(crate) fn pause_left(
        &self,
        now: StoreTime,
        longest: Duration,
    ) -> Option<(Duration, &NotBefore)> {
        let pause = self.not_before.as_ref()?;
        let left = pause.until.since(now).min(longest);
        (!left.is_zero()).then_some((left, pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testkit::{NOW, active};

    #[test]
    fn a_pause_is_kept_to_its_end_and_no_longer_than_any_pause_lasts() {
        let mut record = active();
        let hour = Duration::from_secs(3_600);
        assert_eq!(record.pause_left(NOW, hour), None);
        record.not_before = Some(NotBefore {
            until: NOW.after(2 * hour),
            class: Class::Page,
            code: None,
            failures: 3,
        });
        assert_eq!(record.failures(), 3);
        let left = |now| record.pause_left(now, hour).map(|(left, _)| left);
        assert_eq!(left(NOW), Some(hour));
        assert_eq!(
            left(NOW.after(2 * hour - Duration::from_secs(1))),
            Some(Duration::from_secs(1))
        );
        assert_eq!(left(NOW.after(2 * hour)), None);
    }
}
