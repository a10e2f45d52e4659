//! The one pause that doubles: between two attempts at something that has failed.

use std::time::Duration;

/// Pauses from a first to a longest one, each twice as long as the one before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// The pause before the next attempt. The pause after that attempt is twice as long.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2);
        pause
    }

    /// The pause after the `failures`-th failure in a row, counted from 1.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.next.saturating_mul(factor).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_stay_there() {
        let [first, longest] = [1, 6].map(Duration::from_secs);
        let mut backoff = Backoff::new(first, longest);
        let counted: Vec<_> = (1..=5).map(|failures| backoff.after(failures)).collect();
        let walked: Vec<_> = (1..=5).map(|_| backoff.next_pause()).collect();
        assert_eq!(counted, [1, 2, 4, 6, 6].map(Duration::from_secs));
        assert_eq!(walked, counted);
        assert_eq!(Backoff::new(first, longest).after(u32::MAX), longest);
        assert_eq!(Backoff::new(longest, first).next_pause(), first);
    }
}
