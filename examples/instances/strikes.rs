//! Kills and pauses instances, at random moments and for random times.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::command::Random;
use crate::fleet::Fleet;
use crate::run::Run;

const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// One strike in so many is aimed: if all were aimed, no instance would ever rotate.
const AIMED_ONE_IN: u64 = 3;

/// How long a striker waits for a lease. A few leases come in a second, and no lease while another one is held.
const LEASE_WAIT: Duration = Duration::from_secs(1);

/// The delay between a lease and a strike at its holder: before the token is sent, during the exchange, before the pair is stored,
/// or later. The delay is a random time below the first value less the second, so it is zero in a third of the cases.
const AFTER_LEASE_MS: (u64, u64) = (60, 20);

fn span(random: &mut Random, limit: Duration) -> Duration {
    let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random.below(limit))
}

/// Strikes instances until a moment.
pub(crate) struct Striker {
    pub(crate) fleet: Arc<Mutex<Fleet>>,
    pub(crate) run: Arc<Run>,
    pub(crate) random: Random,
    pub(crate) aims: bool,
    pub(crate) until: Instant,
}

impl Striker {
    /// Kills an instance about once in `every`.
    pub(crate) async fn kill(mut self, every: Duration) -> anyhow::Result<()> {
        while let Some(victim) = self.victim(every, Fleet::numbers).await {
            self.fleet.lock().kill(victim)?;
        }
        Ok(())
    }

    /// Pauses an instance about once in `every`.
    pub(crate) async fn pause(mut self, every: Duration) -> anyhow::Result<()> {
        while let Some(victim) = self.victim(every, Fleet::running).await {
            let span = span(&mut self.random, LONGEST_PAUSE);
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

    /// Waits for the next strike, half to one and a half times `every` after the last one. `None` at the end of the run.
    async fn victim(&mut self, every: Duration, of: fn(&Fleet) -> Vec<u64>) -> Option<u64> {
        loop {
            let moment = Instant::now() + every / 2 + span(&mut self.random, every);
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
            // Without a candidate, this strike is omitted.
            if let Some(victim) = instances.get(usize::try_from(place).ok()?) {
                return Some(*victim);
            }
        }
    }

    /// The instance that leases a token next, unless it takes the lease of another one over: a few strikes in a row at such
    /// instances would take longer than callers wait.
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
