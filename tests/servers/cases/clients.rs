//! A client that the server does not accept is a configuration error, and does not end the session.

use std::sync::Arc;

use evertoken::{EndpointError, OnRequest, TokenManager};

use super::cases;
use crate::judge::{CLIENT, Client, Judge, Kind, Rules};
use crate::world::{World, store};

cases![
    a_wrong_secret_is_an_error_and_the_session_continues_with_the_right_secret,
    invalid_requests_are_refused_in_the_servers_words,
];

const WRONG: Client = Client {
    id: CLIENT.id,
    secret: "wrong",
};

async fn a_wrong_secret_is_an_error_and_the_session_continues_with_the_right_secret(
    judge: Arc<Judge>,
) {
    let world = World::new(&judge, Rules::CALM).await;
    let token = &world.first.refresh_token;
    let answer = world.server.exchange_as(WRONG, token).await;
    assert_eq!(answer.outcome(), (401, "invalid_client"));
    let stranger = Client {
        id: "stranger",
        secret: "x",
    };
    let answer = world.server.exchange_as(stranger, token).await;
    assert_eq!(answer.outcome(), (401, "invalid_client"));

    let directory = tempfile::tempdir().unwrap();
    let start = |secret: &str| {
        let endpoint = world.endpoint().client_secret(secret);
        let builder = TokenManager::builder(endpoint).strategy(OnRequest::default());
        let builder = builder.store(store(&directory)).seed(world.first.pair());
        builder.build().unwrap()
    };
    let wrong = start(WRONG.secret);
    let error = wrong.rotate().await.unwrap_err();
    let answer = error.endpoint().unwrap();
    assert!(matches!(answer, EndpointError::Refused { .. }), "{error:?}");
    assert_eq!(answer.code(), Some("invalid_client"));
    assert!(!error.needs_sign_in(), "{error:?}");
    assert!(world.server.is_live_refresh(token).await);
    let served = wrong.token().await.unwrap();
    assert_eq!(served.expose(), world.first.access_token);

    // No instance sends a request before the pause ends, and no instance ends the session.
    tokio::time::sleep(error.retry_after().unwrap()).await;
    let right = start(CLIENT.secret);
    let next = right.rotate().await.unwrap();
    assert!(world.server.is_live_access(next.expose()).await);
    world.assert_exchanges(2, 1, 1);
}

async fn invalid_requests_are_refused_in_the_servers_words(judge: Arc<Judge>) {
    let server = judge.server(Rules::CALM).await;
    let client = Some(CLIENT);
    let without_token = server.ask(client, &[("grant_type", "refresh_token")]).await;
    assert_eq!(without_token.outcome(), (400, "invalid_request"));
    let without_grant = server.ask(client, &[("refresh_token", "x")]).await;
    let unknown_grant = server.ask(client, &[("grant_type", "x")]).await;
    assert_eq!(unknown_grant.outcome(), (400, "unsupported_grant_type"));
    let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let without_client = server.ask(None, &form).await;
    match (judge.is_embedded, judge.kind) {
        (false, Kind::OidcProvider) => {
            assert_eq!(without_grant.outcome(), (400, "invalid_request"));
            assert_eq!(without_client.outcome(), (400, "invalid_request"));
        }
        (false, Kind::Django) => {
            assert_eq!(without_grant.outcome(), (400, "unsupported_grant_type"));
            assert_eq!(without_client.outcome(), (401, "invalid_client"));
        }
        // The error is one of these two where the servers disagree.
        (true, _) => {
            assert_eq!(without_grant.outcome(), (400, "invalid_request"));
            assert_eq!(without_client.outcome(), (401, "invalid_client"));
        }
    }
}
