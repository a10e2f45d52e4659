//! Turns a strategy's [`Plan`] into moments, with the clamps that keep any plan safe. Pure.
//!
//! Strategies may ask for anything; here is what they get. Nothing is earlier than the shortest
//! interval, or a window wider than the lifetime would rotate without end. Waiting starts a leeway
//! before expiry, so that a token does not die on its way. Jitter moves early times earlier, never
//! later, and is drawn once for a token.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::strategy::{OnExpiry, Plan, WhileRotating};
use crate::token::{Lifetime, Validity};

/// A token with less left than this, or than a tenth of its lifetime if that is less, counts as expired: it
/// would die on its way.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// The manager's share in a schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacing {
    pub(crate) leeway: Duration,
    pub(crate) shortest_interval: Duration,
    /// The share of an early time, 0 to 1, by which this token's is moved earlier.
    pub(crate) jitter: f64,
}

/// When things are due for one pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    sent_at: Timestamp,
    /// The wall clock at `sent_at`, since the Unix epoch.
    sent_wall: Duration,
    advisory_from: Option<Timestamp>,
    mandatory_from: Option<Timestamp>,
    pub(crate) wake_at: Option<Timestamp>,
    /// When the access token expires at the server.
    dies_at: Option<Timestamp>,
    /// From here on it is not served: a little before that.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) refresh_expires_at: Option<Timestamp>,
    pub(crate) ending: Option<Ending>,
    /// Another rotation is not worth trying before.
    pub(crate) shortest_interval: Duration,
    pub(crate) while_rotating: WhileRotating,
    pub(crate) on_expiry: OnExpiry,
}

/// When the session is over that is not rotated any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) at: Timestamp,
    /// Whether rotating would not put it off.
    pub(crate) is_final: bool,
}

/// What a request has to do at some moment, were nothing else going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Nothing,
    /// Start a rotation and go on.
    Advisory,
    /// Wait for a rotation; the token is still valid.
    Mandatory,
    /// The token has expired.
    Expired,
}

impl Schedule {
    pub(crate) fn new(
        plan: &Plan,
        life: &Lifetime,
        pacing: Pacing,
        can_refresh: bool,
        sent_at: Timestamp,
        sent_wall: Duration,
    ) -> Self {
        let total = life.access.total();
        let dies_at = total.map(|total| sent_at + total);
        let last_moment = total.map_or(LAST_MOMENT, |total| LAST_MOMENT.min(total / 10));
        // A token that has exactly so much left is good.
        let last_moment = last_moment.saturating_sub(Duration::from_nanos(1));
        let expires_at = dies_at.map(|end| end.before(last_moment));
        let refresh_expires_at = life.refresh.total().map(|total| sent_at + total);
        let shortest_interval = total.map_or(pacing.shortest_interval, |total| {
            pacing.shortest_interval.min(total / 10)
        });
        let leeway = total.map_or(Duration::ZERO, |total| pacing.leeway.min(total / 10));
        let at = |age: Duration| sent_at + age.max(shortest_interval);
        let early = |age: Duration| at(age.saturating_sub(age.mul_f64(pacing.jitter)));
        let never = life.access == Validity::Never;
        let planned = |age: Option<Duration>| age.filter(|_| !never);
        let safe = |age: Duration| total.map_or(age, |total| age.min(total.saturating_sub(leeway)));
        Self {
            sent_at,
            sent_wall,
            advisory_from: planned(plan.advisory_from).map(early),
            mandatory_from: planned(plan.mandatory_from).map(|age| at(safe(age))),
            wake_at: planned(plan.wake_at).map(early),
            dies_at,
            expires_at,
            refresh_expires_at,
            ending: ending(plan, life, can_refresh, dies_at, refresh_expires_at),
            shortest_interval,
            while_rotating: plan.while_rotating,
            on_expiry: plan.on_expiry,
        }
    }

    /// What is due at `now`, with the wall clock at `wall`.
    ///
    /// A wall clock that has gone further than ours (a virtual machine was paused, say) makes a
    /// rotation due, but only our own clock makes a token expired: a step may be an error.
    pub(crate) fn due(&self, now: Timestamp, wall: Duration) -> Due {
        let past = |moment: Option<Timestamp>, now| moment.is_some_and(|moment| now >= moment);
        if past(self.expires_at, now) {
            return Due::Expired;
        }
        let late = self.at_the_latest(now, wall);
        if past(self.mandatory_from, late) {
            Due::Mandatory
        } else if past(self.advisory_from, late) {
            Due::Advisory
        } else {
            Due::Nothing
        }
    }

    /// The later of what both clocks say.
    pub(crate) fn at_the_latest(&self, now: Timestamp, wall: Duration) -> Timestamp {
        now.max(self.sent_at + wall.saturating_sub(self.sent_wall))
    }

    /// The next moment after `now` at which something else is due.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        [self.advisory_from, self.mandatory_from, self.expires_at]
            .into_iter()
            .flatten()
            .filter(|moment| *moment > now)
            .min()
    }

    /// The next moment after `now` from which a failed rotation would hurt.
    pub(crate) fn next_need(&self, now: Timestamp) -> Option<Timestamp> {
        [self.mandatory_from, self.expires_at]
            .into_iter()
            .flatten()
            .filter(|moment| *moment > now)
            .min()
    }

    /// How long a caller whose token is valid waits for a newer one: while he need not have one, until
    /// he would; after that, for half of what is left. Nobody who came with a valid token leaves
    /// without one.
    pub(crate) fn patience(&self, now: Timestamp) -> Duration {
        match (self.mandatory_from, self.expires_at) {
            (Some(need), _) if now < need => need.since(now),
            (_, Some(end)) => end.since(now) / 2,
            (_, None) => Duration::MAX,
        }
    }

    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        now.since(self.sent_at)
    }

    /// What is left of the access token; `None` if that is unknown or without end.
    pub(crate) fn remaining(&self, now: Timestamp) -> Option<Duration> {
        self.dies_at.map(|end| end.since(now))
    }
}

fn ending(
    plan: &Plan,
    life: &Lifetime,
    can_refresh: bool,
    dies_at: Option<Timestamp>,
    refresh_expires_at: Option<Timestamp>,
) -> Option<Ending> {
    if life.access == Validity::Never {
        return None;
    }
    if plan.on_expiry == OnExpiry::End || !can_refresh {
        let is_final = !can_refresh;
        return dies_at.map(|at| Ending { at, is_final });
    }
    // Both tokens are served, or sent, to their end.
    refresh_expires_at.map(|at| Ending {
        at: dies_at.map_or(at, |end| end.max(at)),
        is_final: life.is_last_of_fixed_session(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000);
    const WALL: Duration = Duration::from_secs(1_700_000_000);
    const PACING: Pacing = Pacing {
        leeway: Duration::from_secs(10),
        shortest_interval: Duration::from_secs(1),
        jitter: 0.0,
    };

    fn schedule(plan: impl Fn(&Lifetime) -> Plan, access: Validity) -> Schedule {
        let life = Lifetime::new(access);
        Schedule::new(&plan(&life), &life, PACING, true, START, WALL)
    }

    fn due_at(schedule: &Schedule, age: Duration) -> Due {
        schedule.due(START + age, WALL + age)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn waiting_starts_a_leeway_before_expiry_and_a_tenth_of_the_lifetime_at_most() {
        let long = schedule(Plan::on_request, seconds(600).into());
        assert_eq!(due_at(&long, seconds(589)), Due::Nothing);
        assert_eq!(due_at(&long, seconds(590)), Due::Mandatory);
        assert_eq!(due_at(&long, seconds(600)), Due::Expired);
        let short = schedule(Plan::on_request, seconds(20).into());
        assert_eq!(due_at(&short, seconds(17)), Due::Nothing);
        assert_eq!(due_at(&short, seconds(18)), Due::Mandatory);
    }

    #[test]
    fn a_token_that_never_expires_is_never_due_whatever_the_plan() {
        let greedy = |life: &Lifetime| {
            Plan::on_request(life)
                .advisory_from(Duration::ZERO)
                .mandatory_from(Duration::ZERO)
                .wake_at(Duration::ZERO)
        };
        let schedule = schedule(greedy, Validity::Never);
        assert_eq!(due_at(&schedule, seconds(1_000_000)), Due::Nothing);
        assert_eq!(schedule.wake_at, None);
    }

    #[test]
    fn a_wall_clock_that_ran_ahead_makes_a_rotation_due_but_no_token_expired() {
        let schedule = schedule(Plan::on_request, seconds(600).into());
        assert_eq!(
            schedule.due(START + seconds(5), WALL + seconds(7_200)),
            Due::Mandatory
        );
        assert_eq!(
            schedule.due(START + seconds(5), WALL - seconds(7_200)),
            Due::Nothing
        );
    }

    proptest! {
        #[test]
        fn no_plan_rotates_without_end(
            total in 1_u64..100_000_000, background in 0_u64..200_000_000, first in 0_u64..200_000_000,
            wake in 0_u64..200_000_000, jitter in 0.0..0.5_f64,
        ) {
            let ms = Duration::from_millis;
            let life = Lifetime::new(ms(total).into());
            let plan = Plan::on_request(&life).advisory_from(ms(background)).mandatory_from(ms(first)).wake_at(ms(wake));
            let pacing = Pacing { jitter, ..PACING };
            let schedule = Schedule::new(&plan, &life, pacing, true, START, WALL);
            let shortest = seconds(1).min(ms(total) / 10);
            let just_before = shortest.saturating_sub(Duration::from_nanos(1));
            prop_assert_eq!(due_at(&schedule, just_before), if shortest.is_zero() { Due::Expired } else { Due::Nothing });
            prop_assert!(schedule.wake_at.is_some_and(|at| at >= START + shortest));
            prop_assert!(due_at(&schedule, ms(total)) == Due::Expired);
            let leeway = seconds(10).min(ms(total) / 10);
            prop_assert!(due_at(&schedule, ms(total) - leeway) >= Due::Mandatory);
        }
    }
}
