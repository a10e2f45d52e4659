//! Turns a strategy's [`Plan`] into moments, and clamps them so that every plan is safe. The module is pure: it does
//! no I/O and reads no clock.
//!
//! A plan may hold any times. Every moment lies at least the shortest interval after the request, because a window
//! that is wider than the lifetime would rotate without end. Waiting starts a leeway before expiry, so that a token
//! does not expire on its way to the API. Jitter moves early times earlier, never later, and is drawn once for each
//! token.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::strategy::{OnExpiry, Plan, WhileRotating};
use crate::token::{Lifetime, Validity};

/// The shortest remaining lifetime of a usable token; a tenth of the lifetime if that is less. A token with less left
/// counts as expired, because it would expire on its way to the API.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// The manager's settings for a schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacing {
    pub(crate) leeway: Duration,
    pub(crate) shortest_interval: Duration,
    /// The share of an early time, 0 to 1, by which the time is moved earlier for this token.
    pub(crate) jitter: f64,
}

/// The moments of one pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    sent_at: Timestamp,
    /// The wall clock's time at `sent_at`, since the Unix epoch.
    sent_wall: Duration,
    advisory_from: Option<Timestamp>,
    mandatory_from: Option<Timestamp>,
    pub(crate) wake_at: Option<Timestamp>,
    /// The moment when the access token expires at the server.
    dies_at: Option<Timestamp>,
    /// The moment, a little before `dies_at`, from which callers do not get the token.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) refresh_expires_at: Option<Timestamp>,
    pub(crate) ending: Option<Ending>,
    /// The shortest time between two rotations, for this pair.
    pub(crate) shortest_interval: Duration,
    pub(crate) while_rotating: WhileRotating,
    pub(crate) on_expiry: OnExpiry,
}

/// The end of a session that is not rotated any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) at: Timestamp,
    /// Whether a rotation could not postpone the end.
    pub(crate) is_final: bool,
}

/// The duty of a request at one moment, if no rotation is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Nothing,
    /// Start a rotation and use the current token.
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
        // At most a tenth of the lifetime.
        let capped = |span: Duration| total.map_or(span, |total| span.min(total / 10));
        // A token with exactly that lifetime left is still usable.
        let last_moment = capped(LAST_MOMENT).saturating_sub(Duration::from_nanos(1));
        let expires_at = dies_at.map(|end| end.before(last_moment));
        let refresh_expires_at = life.refresh.total().map(|total| sent_at + total);
        let shortest_interval = capped(pacing.shortest_interval);
        let leeway = capped(pacing.leeway);
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

    /// The duty at `now`, with the wall clock at `wall`.
    ///
    /// A wall clock that ran ahead of the monotonic clock (while a virtual machine was paused, for example) makes a
    /// rotation due. Only the monotonic clock makes a token expire, because a step of the wall clock may be an error.
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

    /// The later of the readings of both clocks.
    pub(crate) fn at_the_latest(&self, now: Timestamp, wall: Duration) -> Timestamp {
        now.max(self.sent_at + wall.saturating_sub(self.sent_wall))
    }

    /// The next moment after `now` at which the duty changes.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let advisory = self.advisory_from.filter(|moment| *moment > now);
        advisory.into_iter().chain(self.next_need(now)).min()
    }

    /// The next moment after `now` from which callers suffer from a failed rotation.
    pub(crate) fn next_need(&self, now: Timestamp) -> Option<Timestamp> {
        let needs = [self.mandatory_from, self.expires_at].into_iter().flatten();
        needs.filter(|moment| *moment > now).min()
    }

    /// The longest wait of a caller with a valid token for a newer one: until the newer token is needed, and after
    /// that, half of the remaining lifetime. A caller that came with a valid token always leaves with one.
    pub(crate) fn longest_wait(&self, now: Timestamp) -> Duration {
        match (self.mandatory_from, self.expires_at) {
            (Some(need), _) if now < need => need.since(now),
            (_, Some(end)) => end.since(now) / 2,
            (_, None) => Duration::MAX,
        }
    }

    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        now.since(self.sent_at)
    }

    /// The remaining lifetime of the access token; `None` if the lifetime is unknown or without end.
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
    // Callers get the access token to its end, and the refresh token is sent to its end.
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
    fn waiting_starts_a_leeway_or_a_tenth_of_the_lifetime_before_expiry() {
        let long = schedule(Plan::on_request, seconds(600).into());
        assert_eq!(due_at(&long, seconds(589)), Due::Nothing);
        assert_eq!(due_at(&long, seconds(590)), Due::Mandatory);
        assert_eq!(due_at(&long, seconds(600)), Due::Expired);
        let short = schedule(Plan::on_request, seconds(20).into());
        assert_eq!(due_at(&short, seconds(17)), Due::Nothing);
        assert_eq!(due_at(&short, seconds(18)), Due::Mandatory);
    }

    #[test]
    fn a_token_without_expiry_is_never_due_under_any_plan() {
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
    fn a_wall_clock_that_ran_ahead_makes_a_rotation_due_but_does_not_expire_a_token() {
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
        fn every_plan_leaves_a_pause_between_rotations(
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
