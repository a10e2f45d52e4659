//! A sign-in and a logout at the same time: the later request holds.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use evertoken::{
    Error, Event, Lifetime, OnRequest, Plan, RefreshStrategy, TokenManager, TokenPair,
};
use tokio::task::JoinHandle;

use crate::support::{SECOND, drain, ended, loaded, settle, text};
use crate::world::{Site, assert_logged_out, is_logged_out, leave, refresh};

fn replace(tokens: &TokenManager, pair: TokenPair) -> JoinHandle<Result<(), Error>> {
    let tokens = tokens.clone();
    tokio::spawn(async move { tokens.replace(pair).await })
}

/// Asserts that every caller gets this pair, here and after a restart.
async fn assert_holds(site: &Site, tokens: &TokenManager, pair: &TokenPair) {
    let access = pair.access.as_ref().unwrap().expose();
    assert_eq!(text(&tokens.token().await), access);
    assert!(site.server.is_live_refresh(refresh(pair)));
    let next = site.started();
    assert_eq!(text(&next.token().await), access);
    assert_eq!(site.record().await["state"]["is"], "active");
}

/// Asserts that the pair is gone, here and after a restart.
async fn assert_gone(site: &Site, tokens: &TokenManager, pair: &TokenPair) {
    assert_logged_out(tokens).await;
    assert!(!site.server.is_live_refresh(refresh(pair)));
    site.assert_over().await;
    assert_logged_out(&site.started()).await;
}

/// A sign-in after a logout holds while an old rotation commits.
#[tokio::test(start_paused = true)]
async fn q10_a_new_sign_in_after_a_logout_holds_while_an_old_rotation_commits() {
    let (site, tokens) = Site::managed().await;
    site.expire().await;
    let (hold, caller) = site.call_in_flight(&tokens).await;
    tokens.logout().await;
    let second = site.server.issue();
    tokens.replace(second.clone()).await.unwrap();
    assert_holds(&site, &tokens, &second).await;
    drop(hold);
    // The caller asked before the logout, so both a token of the new session and an error are correct.
    let _ = caller.await.unwrap();
    site.clock.advance(SECOND).await;
    site.assert_revoked();
    assert_holds(&site, &tokens, &second).await;
}

/// Signs in with the first pair or another one, and logs out at this point of the sign-in. Returns what `replace`
/// returns.
async fn left_at(point: usize, is_first: bool) -> Result<(), Error> {
    let (site, tokens) = Site::managed().await;
    let pair = match is_first {
        true => site.first.clone(),
        false => site.server.issue(),
    };
    site.probe.at(point, {
        let tokens = tokens.clone();
        || async move {
            drop(leave(&tokens));
            settle().await;
        }
    });
    let replaced = replace(&tokens, pair.clone()).await.unwrap();
    assert!(!site.probe.is_pending());
    site.clock.advance(SECOND).await;
    assert_gone(&site, &tokens, &pair).await;
    replaced
}

/// A logout at any point of a sign-in holds.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_at_any_point_of_a_sign_in_holds() {
    // A sign-in has a load and a swap: two points each.
    for point in 0..4 {
        if let Err(error) = left_at(point, false).await {
            assert!(is_logged_out(&error), "point {point}: {error}");
        }
    }
}

/// A logout holds although the current pair is given again meanwhile.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_holds_while_the_current_pair_is_given_again() {
    // The given pair is current, so the store is only loaded: two points.
    for point in 0..2 {
        let error = left_at(point, true).await.unwrap_err();
        assert!(is_logged_out(&error), "point {point}: {error}");
    }
}

/// A strategy that logs out when it is called for the second time. At that time a pair is stored, and not published
/// yet.
#[derive(Debug, Default, Clone)]
struct LogsOut(Arc<OnceLock<TokenManager>>);

impl RefreshStrategy for LogsOut {
    fn plan(&self, life: &Lifetime) -> Plan {
        if let Some(tokens) = self.0.get() {
            let mut logout = Box::pin(tokens.logout());
            // One poll starts the logout, which continues in its own task.
            let _ = logout
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
        OnRequest::default().plan(life)
    }
}

/// A logout between the last swap of a sign-in and the publication of its pair holds.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_between_the_last_swap_of_a_sign_in_and_its_pair_holds() {
    let site = Site::new();
    let strategy = LogsOut::default();
    let tokens = loaded(site.builder().strategy(strategy.clone())).await;
    strategy.0.set(tokens.clone()).unwrap();
    let second = site.server.issue();
    let replaced = tokens.replace(second.clone()).await;
    assert!(is_logged_out(&replaced.unwrap_err()));
    site.clock.advance(SECOND).await;
    assert_gone(&site, &tokens, &second).await;
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_at_any_point_of_a_logout_holds() {
    // A logout has a load, a swap, a revocation and a swap: two points each.
    for point in 0..8 {
        let (site, tokens) = Site::managed().await;
        let second = site.server.issue();
        site.probe.at(point, {
            let (tokens, second) = (tokens.clone(), second.clone());
            move || async move {
                drop(replace(&tokens, second));
                settle().await;
            }
        });
        tokens.logout().await;
        assert!(!site.probe.is_pending());
        site.clock.advance(SECOND).await;
        assert_holds(&site, &tokens, &second).await;
        site.assert_revoked();
    }
}

#[tokio::test(start_paused = true)]
async fn the_later_of_a_sign_in_and_a_logout_holds() {
    for seed in 0..400 {
        let (site, tokens) = Site::managed().await;
        let second = site.server.issue();
        site.probe.scramble(seed);
        let logout_is_last = seed % 2 == 0;
        if logout_is_last {
            let replaced = replace(&tokens, second.clone());
            settle().await;
            tokio::time::sleep(3 * site.probe.draw()).await;
            tokens.logout().await;
            let _ = replaced.await.unwrap();
            site.clock.advance(SECOND).await;
            assert_gone(&site, &tokens, &second).await;
        } else {
            let left = leave(&tokens);
            settle().await;
            tokio::time::sleep(3 * site.probe.draw()).await;
            tokens.replace(second.clone()).await.unwrap();
            left.await.unwrap();
            site.clock.advance(SECOND).await;
            assert_holds(&site, &tokens, &second).await;
            site.assert_revoked();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_is_still_to_be_stored_gives_way_to_a_new_sign_in() {
    let (site, tokens) = Site::managed().await;
    site.store.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    site.store.set_down(false);
    let second = site.server.issue();
    tokens.replace(second.clone()).await.unwrap();
    site.clock.advance(30 * SECOND).await;
    assert_holds(&site, &tokens, &second).await;
    site.assert_revoked();
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_could_not_be_stored_leaves_the_logout_as_it_was() {
    let (site, tokens) = Site::managed().await;
    tokens.logout().await;
    site.store.set_down(true);
    let second = site.server.issue();
    assert!(matches!(
        tokens.replace(second.clone()).await,
        Err(Error::Store { .. })
    ));
    site.store.set_down(false);
    site.clock.advance(30 * SECOND).await;
    assert_logged_out(&tokens).await;
    site.assert_over().await;
}

/// Signs in at each point of a load or a rotation in turn, and returns the number of points.
async fn replaced_at_every_point(expire: bool, load: bool) -> usize {
    for point in 0.. {
        let site = Site::new();
        let tokens = site.started();
        if load {
            tokens.token().await.unwrap();
        }
        if expire {
            site.expire().await;
        }
        let second = site.server.issue();
        let mut events = tokens.subscribe();
        site.probe.at(point, {
            let (tokens, second) = (tokens.clone(), second.clone());
            move || async move { replace(&tokens, second).await.unwrap().unwrap() }
        });
        let answer = tokens.token().await;
        if site.probe.is_pending() {
            return point;
        }
        assert!(answer.is_ok(), "point {point}: {answer:?}");
        settle().await;
        let events = drain(&mut events);
        assert_holds(&site, &tokens, &second).await;
        // The replacement is the last event.
        let is_replaced = |event: &Event| matches!(event, Event::Replaced { .. });
        let replaced = events.iter().position(is_replaced);
        assert_eq!(
            replaced,
            Some(events.len() - 1),
            "point {point}: {events:?}"
        );
        site.assert_unharmed();
    }
    0
}

/// A sign-in at any point of a rotation replaces the pair.
#[tokio::test(start_paused = true)]
async fn r4_a_sign_in_at_any_point_of_a_rotation_replaces_the_pair() {
    assert_eq!(replaced_at_every_point(true, true).await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_at_any_point_of_the_first_load_replaces_the_pair() {
    // A start has a load, the swap of the seed, and a load: two points each.
    assert_eq!(replaced_at_every_point(false, false).await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_holds_while_the_logout_of_another_instance_is_loaded() {
    // A load has two points. The revocation after the load does not have a waiter.
    for point in 0..2 {
        let (site, here, there) = Site::shared_by_two().await;
        site.expire().await;
        here.logout().await;
        let second = site.server.issue();
        let mut events = there.subscribe();
        site.probe.at(point, {
            let (there, second) = (there.clone(), second.clone());
            move || async move { replace(&there, second).await.unwrap().unwrap() }
        });
        let _ = there.token().await;
        assert!(!site.probe.is_pending(), "point {point}");
        assert_holds(&site, &there, &second).await;
        assert_eq!(ended(&drain(&mut events)), 0, "point {point}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_is_not_stored_yet_stops_the_endpoints_own_sign_in() {
    let site = Site::with(|server| server.sign_in(true));
    let tokens = site.manager().await;
    site.store.set_down(true);
    assert!(!tokens.logout().await.is_complete());
    site.store.set_down(false);
    let token = tokens.sign_in().await.unwrap();
    assert!(site.is_live(&token));
    site.clock.advance(30 * SECOND).await;
    assert_eq!(tokens.token().await.unwrap().pair_id(), token.pair_id());
    assert_eq!(site.server.sign_ins(), 1);
    // The store still held the pair, so the server may get the revocation of the pair twice.
    let revoked = site.endpoint.revoked();
    assert!(revoked.iter().all(|it| it == refresh(&site.first)));
    site.assert_exchanges(0);
}
