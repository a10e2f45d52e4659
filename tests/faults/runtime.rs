//! A manager whose runtime has shut down reports that, and what to do about it.

use std::time::Duration;

use crate::support::loaded;
use evertoken::testing::AuthorizationServer;
use evertoken::{BuildError, EndpointError, Error, TokenManager, TokenPair};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// A manager without an access token, on a runtime that has shut down.
fn orphan() -> (TokenManager, AuthorizationServer) {
    let server = AuthorizationServer::builder().build();
    let first = server.issue().refresh.unwrap();
    let runtime = runtime();
    let build = async {
        let seed = TokenPair::from_refresh_token(first);
        TokenManager::builder(server.endpoint()).seed(seed).build()
    };
    let tokens = runtime.block_on(build).unwrap();
    runtime.shutdown_timeout(Duration::from_secs(10));
    (tokens, server)
}

#[test]
fn a_runtime_that_has_shut_down_is_an_error_of_its_own_and_not_retryable() {
    let (tokens, server) = orphan();
    runtime().block_on(async {
        for _ in 0..3 {
            for error in [
                tokens.token().await.unwrap_err(),
                tokens.rotate().await.unwrap_err(),
                tokens.replace(server.issue()).await.unwrap_err(),
                tokens.try_token().unwrap_err(),
            ] {
                assert!(matches!(error, Error::RuntimeGone), "{error}");
                assert!(!error.is_retryable() && !error.needs_sign_in());
                assert!(error.to_string().contains("build the manager"), "{error}");
            }
        }
        tokens.shutdown().await.unwrap();
    });
    assert_eq!(server.exchanges(), 0);
}

#[test]
fn a_logout_without_a_runtime_does_not_report_a_timeout() {
    let (tokens, _server) = orphan();
    let logout = runtime().block_on(tokens.logout());
    let stored = logout.stored.unwrap_err();
    let source = std::error::Error::source(&stored).unwrap().to_string();
    assert!(source.contains("has shut down"), "{source}");
    let Err(EndpointError::Unknown { source, .. }) = logout.revoked else {
        panic!("{:?}", logout.revoked);
    };
    assert!(source.to_string().contains("has shut down"), "{source}");
}

#[test]
fn a_valid_token_is_served_without_a_runtime() {
    let server = AuthorizationServer::builder().build();
    let first = runtime();
    let tokens = first.block_on(async {
        loaded(TokenManager::builder(server.endpoint()).seed(server.issue())).await
    });
    first.shutdown_timeout(Duration::from_secs(10));
    runtime().block_on(async {
        tokens.token().await.unwrap();
        let error = tokens.rotate().await.unwrap_err();
        assert!(matches!(error, Error::RuntimeGone), "{error}");
        tokens.token().await.unwrap();
    });
}

#[test]
fn a_runtime_without_a_timer_is_refused_when_the_manager_is_built() {
    let server = AuthorizationServer::builder().build();
    let bare = Builder::new_current_thread().build().unwrap();
    let built = bare.block_on(async {
        TokenManager::builder(server.endpoint())
            .seed(server.issue())
            .build()
    });
    assert!(matches!(built, Err(BuildError::NoTimer)), "{built:?}");
}
