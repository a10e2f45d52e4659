//! A first pair that is rotated at once. The job's pair is then its own from the first request on.

use evertoken::testing::AccessCheck;
use evertoken::{OnRequest, RefreshToken, TokenPair};

use crate::support::{SECOND, World, built, rotate, served};

/// The first pair, or its refresh token alone.
fn first(world: &World, alone: bool) -> TokenPair {
    match alone {
        true => TokenPair::from_refresh_token(world.first.refresh.clone().unwrap()),
        false => world.first.clone(),
    }
}

/// A pair that a job rotates at once is the job's own after one exchange.
#[tokio::test(start_paused = true)]
async fn i12_a_pair_that_is_rotated_at_once_is_the_jobs_own_after_one_exchange() {
    for alone in [false, true] {
        let world = World::new(600 * SECOND);
        let tokens = built(
            world
                .builder(OnRequest::default())
                .seed(first(&world, alone)),
        );
        let own = tokens.rotate().await.unwrap();
        assert_ne!(own.expose(), world.first.access.as_ref().unwrap().expose());
        assert!(world.is_live(&own));
        // The copy that the other client holds is spent.
        let copy = world.first.refresh.as_ref().map(RefreshToken::expose);
        assert!(!world.server.is_live_refresh(copy.unwrap()));
        assert_eq!(tokens.token().await.unwrap().pair_id(), own.pair_id());
        world.assert_exchanges(1);
    }
}

/// Many callers that rotate the first pair at once share one exchange.
#[tokio::test(start_paused = true)]
async fn i12_many_callers_that_rotate_the_first_pair_share_one_exchange() {
    for alone in [false, true] {
        let world = World::with(|server| server.latency(SECOND));
        let tokens = built(
            world
                .builder(OnRequest::default())
                .seed(first(&world, alone)),
        );
        let callers: Vec<_> = (0..64).map(|_| rotate(&tokens)).collect();
        for token in served(callers).await {
            assert_eq!(token.pair_id().version, 2);
        }
        world.assert_exchanges(1);
    }
}

/// A restarted process rotates the stored pair once, and not the seed.
#[tokio::test(start_paused = true)]
async fn i12_a_restart_rotates_the_stored_pair_once() {
    for alone in [false, true] {
        let world = World::new(600 * SECOND);
        let mut versions = Vec::new();
        for start in 1..=4 {
            let tokens = built(
                world
                    .shared(OnRequest::default())
                    .seed(first(&world, alone)),
            );
            let token = tokens.rotate().await.unwrap();
            assert!(world.is_live(&token));
            versions.push(token.pair_id().version);
            world.assert_exchanges(start);
            tokens.shutdown().await.unwrap();
        }
        assert_eq!(versions, [2, 3, 4, 5]);
    }
}

/// A client that presents the other copy of a used token ends the session, and gets that as an error.
#[tokio::test(start_paused = true)]
async fn i12_a_client_that_presents_the_other_copy_ends_the_session_and_gets_that_error() {
    let world = World::new(600 * SECOND);
    let job = world.builder(OnRequest::default()).build().unwrap();
    let own = job.rotate().await.unwrap();
    // Another program has a store of its own in memory.
    let other = world.builder(OnRequest::default()).build().unwrap();
    assert!(other.rotate().await.unwrap_err().needs_sign_in());
    assert_eq!(world.server.check(own.expose()), AccessCheck::Revoked);
    assert!(job.rotate().await.unwrap_err().needs_sign_in());
    assert_eq!(world.server.families_revoked(), 1);
}
