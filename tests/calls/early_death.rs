//! Tokens that die long before their stated expiry: each call succeeds nevertheless.

use std::time::Duration;

use evertoken::testing::{Answer, InProcessEndpoint};
use evertoken::{
    EndpointError, Grant, Issued, Rejection, TokenEndpoint, TokenManager, async_trait,
};
use http::Method;

use crate::ways::{Body, Call, Way, ways};
use crate::world::{SECOND, World};

ways! {
    #[tokio::test(start_paused = true)]
    every way:
    every_call_succeeds_though_tokens_die_long_before_their_expiry,
}

ways! {
    #[tokio::test(start_paused = true)]
    ways that follow redirects within origins:
    every_call_behind_a_redirect_succeeds_though_tokens_die_long_before_their_expiry,
}

/// An endpoint that reports a lifetime of one hour for each token.
#[derive(Debug)]
struct Overstating(InProcessEndpoint);

#[async_trait]
impl TokenEndpoint for Overstating {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let issued = self.0.exchange(grant).await?;
        Ok(issued.expires_in(Duration::from_secs(3_600)))
    }
}

async fn every_call_succeeds_though_tokens_die_long_before_their_expiry<W: Way>() {
    every_call_succeeds::<W>("/records").await;
}

/// The client does not report the redirects that it follows.
async fn every_call_behind_a_redirect_succeeds_though_tokens_die_long_before_their_expiry<
    W: Way,
>() {
    every_call_succeeds::<W>("/moved").await;
}

async fn every_call_succeeds<W: Way>(path: &str) {
    const CALLS: u64 = 300;
    let world = World::of(|server| server.access_ttl(3 * SECOND)).await;
    let to_records = Answer::status(307).header("location", "/records");
    world.api.answer_path("/moved", to_records);
    let tokens = TokenManager::builder(Overstating(world.server.endpoint()))
        .clock(world.clock.clone())
        .seed(world.first.clone())
        .origin(world.http.origin())
        .build()
        .unwrap();
    let way = W::new(&tokens);
    // A safe method is repeated after a redirect as well.
    let call = Call::new(Method::GET, world.url(path), Body::Text("record"));
    let mut succeeded = 0;
    for _ in 0..CALLS {
        succeeded += u64::from(way.status(call.clone()).await == 200);
        world.clock.advance(SECOND).await;
    }
    assert_eq!((succeeded, world.api.records()), (CALLS, CALLS));
    // One token for every three seconds, and one 401 for each token except the first, whose lifetime is known.
    let (_, unauthorized, exchanges) = world.counts();
    assert_eq!((exchanges, unauthorized), (99, 98));
    assert_eq!(world.server.replays(), 0);
}

/// A hand-written loop has to report each acceptance for this reason.
#[tokio::test(start_paused = true)]
async fn a_rejection_soon_after_another_counts_only_if_a_token_was_accepted_in_between() {
    for (is_accepted, expected) in [(true, Rejection::Rotating), (false, Rejection::TooSoon)] {
        let world = World::new().await;
        let first = world.tokens.token().await.unwrap();
        assert_eq!(world.tokens.reject(&first), Rejection::Rotating);
        let second = world.tokens.token().await.unwrap();
        if is_accepted {
            world.tokens.accepted(&second);
        }
        // Longer than the shortest interval between two rotations, and shorter than the pause after a rejection.
        world.clock.advance(SECOND * 3 / 2).await;
        assert_eq!(world.tokens.reject(&second), expected);
    }
}

/// The acceptance of a replaced token says nothing about the current token.
#[tokio::test(start_paused = true)]
async fn the_late_acceptance_of_an_old_token_does_not_make_the_next_rejection_count() {
    let world = World::new().await;
    let first = world.tokens.token().await.unwrap();
    assert_eq!(world.tokens.reject(&first), Rejection::Rotating);
    let second = world.tokens.token().await.unwrap();
    world.tokens.accepted(&first);
    world.clock.advance(SECOND * 3 / 2).await;
    assert_eq!(world.tokens.reject(&second), Rejection::TooSoon);
    assert_eq!(world.server.exchanges(), 1);
}
