//! The effect of a logout on its manager, on the other managers of the store, and on the next start: no session is
//! left.

use evertoken::clock::Clock;
use evertoken::testing::{AccessCheck, GraceAnswer, Reuse};
use evertoken::{Event, OnRequest};

use crate::support::{SECOND, World, built, drain, settle};
use crate::world::{Site, assert_logged_out, leave, refresh};

/// A logout neither waits nor refreshes, even with an expired access token.
#[tokio::test(start_paused = true)]
async fn q10_logout_neither_waits_nor_refreshes_even_with_an_expired_token() {
    for expired in [false, true] {
        let (site, tokens) = Site::managed().await;
        if expired {
            site.expire().await;
        }
        let mut events = tokens.subscribe();
        let start = site.clock.now();
        let logout = tokens.logout().await;
        assert_eq!(site.clock.now(), start);
        assert!(logout.is_complete(), "{logout:?}");
        site.assert_exchanges(0);
        assert_eq!(site.server.revocations(), 1);
        assert_eq!(site.endpoint.revoked(), [refresh(&site.first)]);
        site.assert_over_and_revoked().await;
        assert_logged_out(&tokens).await;
        settle().await;
        let events = drain(&mut events);
        assert!(
            matches!(events.as_slice(), [Event::Ended { .. }]),
            "{events:?}"
        );
        site.assert_exchanges(0);
    }
}

/// No caller gets a token from the moment of the logout on.
#[tokio::test(start_paused = true)]
async fn q10_no_caller_gets_a_token_from_the_moment_of_the_logout_on() {
    let (site, tokens) = Site::managed().await;
    let (others, world) = (tokens.clone(), site.clock.clone());
    // The logout takes effect before the first call of the store.
    site.probe.at(0, move || async move {
        assert_logged_out(&others).await;
        world.advance(SECOND).await;
        assert_logged_out(&others).await;
    });
    tokens.logout().await;
    assert!(!site.probe.is_pending());
}

/// Another instance finds the logout at its next load, and a restarted one at its first.
#[tokio::test(start_paused = true)]
async fn q10_another_instance_and_a_restarted_one_find_the_logout_in_the_store() {
    let (site, here, there) = Site::shared_by_two().await;
    here.logout().await;
    // The other instance gets no notice: it serves its token until its next load.
    assert!(there.token().await.is_ok());
    site.expire().await;
    assert_logged_out(&there).await;
    // The restarted process gets the seed again.
    let next = site.started();
    assert_logged_out(&next).await;
    for _ in 0..100 {
        site.clock.advance(SECOND).await;
        assert_logged_out(&there).await;
        assert_logged_out(&next).await;
    }
    site.assert_exchanges(0);
    // The instance that logged out and the instance that held a copy each revoke once, and the tokens are not revoked
    // again.
    assert_eq!(site.server.revocations(), 2);
}

/// A logout before the first use covers the seed.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_before_the_first_use_covers_the_seed() {
    let site = Site::new();
    let tokens = site.started();
    let logout = tokens.logout().await;
    assert!(logout.is_complete(), "{logout:?}");
    assert_logged_out(&tokens).await;
    site.assert_over_and_revoked().await;
    assert_logged_out(&site.started()).await;
    site.assert_exchanges(0);
}

/// A logout before the first use revokes the pair that an earlier process stored.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_before_the_first_use_revokes_the_pair_of_an_earlier_process() {
    let (site, before) = Site::managed().await;
    before.rotate().await.unwrap();
    before.shutdown().await.unwrap();
    let tokens = site.started();
    assert!(tokens.logout().await.is_complete());
    site.assert_over_and_revoked().await;
    assert_logged_out(&tokens).await;
    site.assert_exchanges(1);
}

/// A second logout, and one of another instance, change nothing.
#[tokio::test(start_paused = true)]
async fn q10_a_second_logout_and_one_of_another_instance_change_nothing() {
    let (site, here, there) = Site::shared_by_two().await;
    let mut events = here.subscribe();
    let (first, second) = tokio::join!(here.logout(), here.logout());
    assert!(first.is_complete() && second.is_complete());
    assert!(here.logout().await.is_complete());
    assert!(there.logout().await.is_complete());
    assert_eq!(drain(&mut events).len(), 1);
    assert_logged_out(&here).await;
    assert_logged_out(&there).await;
    site.assert_over_and_revoked().await;
}

/// A logout stands still at each of its points in turn. Its future is dropped, and the last handle too if `is_last`.
async fn dropped_at_every_point(is_last: bool) {
    // The points of a logout: two of a load, two of a swap, two of the revocation, two of the clearing.
    for point in 0..8 {
        let (site, tokens) = Site::managed().await;
        let (sender, gone) = tokio::sync::oneshot::channel();
        site.probe.at(point, || async { gone.await.unwrap() });
        let leaving = leave(&tokens);
        let tokens = (!is_last).then_some(tokens);
        settle().await;
        assert!(!site.probe.is_pending(), "{point}");
        leaving.abort();
        settle().await;
        if let Some(tokens) = &tokens {
            assert_logged_out(tokens).await;
        }
        sender.send(()).unwrap();
        settle().await;
        if let Some(tokens) = &tokens {
            assert_logged_out(tokens).await;
        }
        site.assert_over_and_revoked().await;
    }
}

/// A logout goes on when its future is dropped.
#[tokio::test(start_paused = true)]
async fn q10_dropping_the_future_does_not_stop_the_logout() {
    dropped_at_every_point(false).await;
}

/// A logout under way goes on when the last handle is dropped.
#[tokio::test(start_paused = true)]
async fn q10_a_logout_goes_on_when_the_last_handle_is_dropped() {
    dropped_at_every_point(true).await;
}

/// A logout revokes the refresh token, and the access token where the server does so.
#[tokio::test(start_paused = true)]
async fn t4_a_logout_revokes_the_refresh_token_and_the_access_token_by_the_servers_rule() {
    let grace = Reuse::Grace {
        window: 60 * SECOND,
        answer: GraceAnswer::SamePair,
    };
    for reuse in [Reuse::RevokeFamily, grace, Reuse::Refuse] {
        let world = World::with(|server| server.reuse(reuse));
        let tokens = world.manager(OnRequest::default()).await;
        let token = tokens.rotate().await.unwrap();
        assert!(world.is_live(&token));
        tokens.logout().await;
        // This server ends the whole family (RFC 7009 section 2.1) in every mode.
        assert_eq!(
            world.server.check(token.expose()),
            AccessCheck::Revoked,
            "{reuse:?}"
        );
        // The first refresh token is dead.
        let thief = built(world.builder(OnRequest::default()));
        assert!(thief.rotate().await.unwrap_err().needs_sign_in());
    }
}

/// An import with a session of its own goes on when the user logs out.
#[tokio::test(start_paused = true)]
async fn i4_an_import_with_its_own_session_goes_on_when_the_user_logs_out() {
    let (site, user) = Site::managed().await;
    // The import has its own sign-in, and its own record in the store that both share.
    let own = site.server.issue();
    let key = user.key().clone().label("import");
    let import = built(site.builder().key(key).seed(own));
    let mut failures = 0;
    for minute in 0..60 {
        if minute == 25 {
            assert!(user.logout().await.is_complete());
        }
        match import.token().await {
            Ok(token) if site.is_live(&token) => {}
            _ => failures += 1,
        }
        site.clock.advance(60 * SECOND).await;
    }
    assert_eq!(failures, 0);
    assert_logged_out(&user).await;
    // The import rotates at 600, 1200, ..., 3000 s; no request falls into the leeway before.
    site.assert_exchanges(5);
}
