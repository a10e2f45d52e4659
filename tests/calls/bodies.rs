//! Bodies that are read once: a way that builds the body anew repeats the call, and a way that got a built body returns the
//! 401.

use evertoken::TokenManager;
use tokio::time::timeout;

use crate::recorder::Recorder;
use crate::ways::{Body, Call, Way, ways};
use crate::world::{ACCESS_TTL, SECOND, World, slow_api};

ways! {
    #[tokio::test(start_paused = true)]
    building ways:
    a_form_that_is_built_anew_is_repeated_after_a_401,
    a_stream_that_is_built_anew_is_repeated_after_a_401,
}

ways! {
    #[tokio::test(start_paused = true)]
    given ways:
    the_401_of_a_built_form_is_returned_and_the_next_call_succeeds,
    the_401_of_a_built_stream_is_returned_and_the_next_call_succeeds,
}

const FILE: &str = "all of the file";

fn form() -> Body {
    Body::Form(FILE)
}

fn stream() -> Body {
    Body::Stream(&["all ", "of the", " file"])
}

/// An API that records each call and asks the server about its token, and a manager with a token that has expired at the
/// server.
async fn with_stale_token() -> (World, Recorder, TokenManager) {
    let world = World::new().await;
    let believed = world.server.issue().expires_in(100 * ACCESS_TTL);
    let (api, permits) = slow_api(&world.server, &believed).await;
    permits.add_permits(1);
    world.clock.advance(ACCESS_TTL).await;
    let tokens = world.builder(&believed).origin(api.origin());
    (world, api, tokens.build().unwrap())
}

/// Each call carried the whole file.
fn assert_whole(api: &Recorder, calls: usize) {
    let seen = api.seen();
    assert_eq!(seen.len(), calls);
    for seen in seen {
        let body = String::from_utf8(seen.body.to_vec()).unwrap();
        assert_eq!(body.matches(FILE).count(), 1, "{body}");
    }
}

fn post(api: &Recorder, body: Body) -> Call {
    Call::new(http::Method::POST, api.url("/files"), body)
}

async fn repeated<W: Way>(body: Body) {
    let (world, api, tokens) = with_stale_token().await;
    let answer = W::new(&tokens).call(post(&api, body)).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(world.server.exchanges(), 1);
    assert_whole(&api, 2);
}

async fn returned<W: Way>(body: Body) {
    let (world, api, tokens) = with_stale_token().await;
    let way = W::new(&tokens);
    assert_eq!(way.status(post(&api, body.clone())).await, 401);
    assert_whole(&api, 1);
    // The rotation starts although no caller asks for a token.
    timeout(SECOND, world.server.arrived(1)).await.unwrap();
    assert_eq!(way.status(post(&api, body)).await, 200);
    assert_eq!(world.server.exchanges(), 1);
    assert_whole(&api, 2);
}

async fn a_form_that_is_built_anew_is_repeated_after_a_401<W: Way>() {
    repeated::<W>(form()).await;
}

async fn a_stream_that_is_built_anew_is_repeated_after_a_401<W: Way>() {
    repeated::<W>(stream()).await;
}

async fn the_401_of_a_built_form_is_returned_and_the_next_call_succeeds<W: Way>() {
    returned::<W>(form()).await;
}

async fn the_401_of_a_built_stream_is_returned_and_the_next_call_succeeds<W: Way>() {
    returned::<W>(stream()).await;
}
