//! Kills instances and stops them, at moments and for times that are drawn.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::fleet::Fleet;
use crate::run::Run;

const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// If all were, nobody would ever rotate.
const AIMED_ONE_IN: u64 = 3;

/// How long a lease is waited for: a few come in a second, and none while a lease is held.
const LEASE_WAIT: Duration = Duration::from_secs(1);

/// How long after a lease the one who made it is struck: before the token is sent, while it is, before the
/// pair is stored, or after that. At once in a third of the cases.
const AFTER_LEASE_MS: (u64, u64) = (60, 20);

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (bits ^ (bits >> 31)) % limit.max(1)
    }

    fn span(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(limit))
    }
}

/// Who strikes, and until when.
pub(crate) struct Striker {
    pub(crate) fleet: Arc<Mutex<Fleet>>,
    pub(crate) run: Arc<Run>,
    pub(crate) random: Random,
    pub(crate) aims: bool,
    pub(crate) until: Instant,
}

impl Striker {
    /// Kills one every so often.
    pub(crate) async fn kill(mut self, every: Duration) -> anyhow::Result<()> {
        while let Some(victim) = self.victim(every, Fleet::numbers).await {
            self.fleet.lock().kill(victim)?;
        }
        Ok(())
    }

    /// Stops one every so often, for a while.
    pub(crate) async fn pause(mut self, every: Duration) -> anyhow::Result<()> {
        while let Some(victim) = self.victim(every, Fleet::running).await {
            let span = self.random.span(LONGEST_PAUSE);
            if !self.fleet.lock().pause(victim)? {
                continue;
            }
            let fleet = Arc::clone(&self.fleet);
            let until = self.until;
            tokio::spawn(async move {
                sleep_until((Instant::now() + span).min(until)).await;
                fleet.lock().resume(victim)
            });
        }
        Ok(())
    }

    /// Waits for the next moment: half to one and a half times `every` after the last. `None` when it is over.
    async fn victim(&mut self, every: Duration, of: fn(&Fleet) -> Vec<u64>) -> Option<u64> {
        loop {
            let moment = Instant::now() + every / 2 + self.random.span(every);
            sleep_until(moment.min(self.until)).await;
            if self.aims
                && self.random.below(AIMED_ONE_IN) == 0
                && let Some(candidate) = self.candidate().await
            {
                return Some(candidate);
            }
            if Instant::now() >= self.until {
                return None;
            }
            let instances = of(&self.fleet.lock());
            let place = self.random.below(instances.len() as u64);
            // If all are stopped, it is for another time.
            if let Some(victim) = instances.get(usize::try_from(place).ok()?) {
                return Some(*victim);
            }
        }
    }

    /// Which instance leases a token next. None that takes another's lease over: a few of those in a row are struck for
    /// longer than callers wait.
    async fn candidate(&mut self) -> Option<u64> {
        let mut leases = self.run.leases.subscribe();
        leases.mark_unchanged();
        let wait_until = self.until.min(Instant::now() + LEASE_WAIT);
        timeout_at(wait_until, leases.changed()).await.ok()?.ok()?;
        let candidate = *leases.borrow();
        let (within, at_once) = AFTER_LEASE_MS;
        let after = self.random.below(within).saturating_sub(at_once);
        sleep(Duration::from_millis(after)).await;
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let drawn = || {
            let mut random = Random(7);
            [(); 8].map(|()| random.below(1_000))
        };
        assert_eq!(drawn(), drawn());
        assert_eq!(Random(7).below(0), 0);
    }
}
