//! n17: what holds for browsers under every strategy, those of the crate and those of a user.

use std::time::Duration;

use evertoken::{
    BackgroundTimer, Lifetime, OnRequest, OptimisticEarly, PairRefusal, Plan, RefreshStrategy,
};

use crate::support::{Greedy, HOUR, HalfLife, MINUTE, SECOND, TTL, later, settle};
use crate::world::{GRACE, Service, answers, assert_refused, page, request};

/// A user's strategy: rotates by a timer at a third of the lifetime, and at requests from two thirds on.
#[derive(Debug, Clone, Copy)]
struct Thirds;

impl RefreshStrategy for Thirds {
    fn plan(&self, life: &Lifetime) -> Plan {
        Plan::on_request(life)
            .wake_at(life.at_fraction(1.0 / 3.0))
            .advisory_from(life.at_fraction(2.0 / 3.0))
    }
}

/// Two tabs of a browser with one jar, two instances, and every third answer lost.
async fn a_browser_with_two_tabs_that_loses_answers_stays_signed_in(
    strategy: impl RefreshStrategy,
) {
    let service = Service::of(2, page().strategy(strategy));
    let mut jar = service.cookie().await;
    let mut round = 0_usize;
    let start = evertoken::clock::Clock::now(&service.world.clock);
    while evertoken::clock::Clock::now(&service.world.clock).since(start) < 3 * HOUR {
        round += 1;
        let tabs = service.instances.iter().map(|it| request(it, &jar));
        let tabs: Vec<_> = tabs.collect();
        for presented in answers(tabs).await {
            assert!(service.world.is_live(presented.token()));
            if let Some(renewal) = presented.renewal().filter(|_| !round.is_multiple_of(3)) {
                jar = renewal;
            }
        }
        let pause = [7 * SECOND, 97 * SECOND, 11 * MINUTE][round % 3];
        service.pass(pause).await;
    }
    service.world.assert_unharmed();
}

/// All requests with an expired pair make one call, and the replaced pair is served until the new one was presented.
async fn one_call_and_a_grace(strategy: impl RefreshStrategy) {
    let service = Service::of(2, page().strategy(strategy));
    // The timers of the strategy are those of a session in memory: a suspended machine has none.
    let first = service.cookie().await;
    service.world.clock.suspend(TTL + SECOND);
    let hold = service.world.server.hold();
    let requests: Vec<_> = (0..20)
        .map(|number| request(&service.instances[number % 2], &first))
        .collect();
    service.world.server.arrived(1).await;
    settle().await;
    drop(hold);
    let answered = answers(requests).await;
    service.assert_exchanges(1);
    let second = answered[0].renewal().unwrap();
    for sessions in &service.instances {
        sessions.present(&first).await.unwrap();
    }
    service.instances[1].present(&second).await.unwrap();
    settle().await;
    service.pass(GRACE + SECOND).await;
    let fresh = service.node(page()).sessions;
    assert_refused(fresh.present(&first).await, PairRefusal::Retired);
    service.world.assert_unharmed();
}

/// A server that fails now and then signs no user out.
async fn failures_sign_nobody_out(strategy: impl RefreshStrategy) {
    let service = Service::of(2, page().strategy(strategy));
    let mut jar = service.cookie().await;
    for round in 0..200_usize {
        if round % 5 < 2 {
            service.world.server.fail_next(later(None));
        }
        service.world.server.set_reachable(round % 7 != 0);
        match service.instances[round % 2].present(&jar).await {
            Ok(presented) => jar = presented.renewal().unwrap_or(jar),
            Err(error) => assert!(!error.needs_sign_in(), "{error:?}"),
        }
        service.pass(Duration::from_secs(131)).await;
    }
    service.world.server.set_reachable(true);
    service.world.server.fail_always(None);
    service.pass(HOUR).await;
    while service.present(&jar).await.is_err() {
        service.pass(MINUTE).await;
    }
    assert_eq!(service.world.counts().replays, 0);
}

macro_rules! every {
    ($($name:ident: $strategy:expr;)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test(start_paused = true)]
            async fn n17_a_browser_with_two_tabs_that_loses_answers_stays_signed_in() {
                a_browser_with_two_tabs_that_loses_answers_stays_signed_in($strategy).await;
            }

            #[tokio::test(start_paused = true)]
            async fn n17_an_expired_pair_makes_one_call_and_is_served_for_a_grace() {
                one_call_and_a_grace($strategy).await;
            }

            #[tokio::test(start_paused = true)]
            async fn n17_a_server_that_fails_now_and_then_signs_nobody_out() {
                failures_sign_nobody_out($strategy).await;
            }
        })*
    };
}

every! {
    on_request: OnRequest::default();
    background_timer: BackgroundTimer::default();
    optimistic_early: OptimisticEarly::default();
    users_timer_and_window: Thirds;
    users_half_life: HalfLife;
    users_greedy: Greedy;
}
