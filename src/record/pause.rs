//! The pause after a failed attempt. All instances keep it: no instance sends before it has ended, and each
//! instance's callers learn the failure that they wait for. Without it, each instance would repeat the failing
//! request at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::clock::StoreTime;

/// The moment before which no instance sends, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotBefore {
    pub(crate) until: StoreTime,
    pub(crate) class: Class,
    /// The server's error code, or the HTTP status, if there is one.
    #[serde(default)]
    pub(crate) code: Option<String>,
    /// How many attempts in a row have failed. The pause doubles with each.
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
    /// No answer that can be read, or a value that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Record {
    /// How many attempts in a row have failed, as far as instances could store the failures.
    pub(crate) fn failures(&self) -> u32 {
        self.not_before.as_ref().map_or(0, |pause| pause.failures)
    }

    /// The remaining pause at `now`, at most `longest`, because a store's clock may be set back.
    pub(crate) fn remaining_pause(
        &self,
        now: StoreTime,
        longest: Duration,
    ) -> Option<(Duration, &NotBefore)> {
        let pause = self.not_before.as_ref()?;
        let remaining = pause.until.since(now).min(longest);
        (!remaining.is_zero()).then_some((remaining, pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testkit::{NOW, active};

    #[test]
    fn a_pause_lasts_until_its_end_but_not_longer_than_the_longest_pause() {
        let mut record = active();
        let hour = Duration::from_secs(3_600);
        assert_eq!(record.remaining_pause(NOW, hour), None);
        record.not_before = Some(NotBefore {
            until: NOW.after(2 * hour),
            class: Class::Page,
            code: None,
            failures: 3,
        });
        assert_eq!(record.failures(), 3);
        let remaining = |now| {
            record
                .remaining_pause(now, hour)
                .map(|(remaining, _)| remaining)
        };
        assert_eq!(remaining(NOW), Some(hour));
        assert_eq!(
            remaining(NOW.after(2 * hour - Duration::from_secs(1))),
            Some(Duration::from_secs(1))
        );
        assert_eq!(remaining(NOW.after(2 * hour)), None);
    }
}
