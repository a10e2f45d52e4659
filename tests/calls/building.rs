//! What the builder accepts, and in which runtime.

use evertoken::testing::{AuthorizationServer, TestClock};
use evertoken::{BuildError, MemoryStore, OAuth2, TokenEndpoint, TokenManager, TokenStore};

use crate::world::{ACCESS_TTL, World};

#[tokio::test(start_paused = true)]
async fn a_boxed_store_and_a_boxed_endpoint_behave_as_their_contents() {
    let clock = TestClock::new();
    let server = AuthorizationServer::builder()
        .clock(clock.clone())
        .access_ttl(ACCESS_TTL)
        .sign_in(true)
        .build();
    let inner = MemoryStore::with_clock(clock.clone());
    let manager = || {
        let endpoint: Box<dyn TokenEndpoint> = Box::new(server.endpoint());
        let store: Box<dyn TokenStore> = Box::new(inner.clone());
        let builder = TokenManager::builder(endpoint).store(store);
        builder.clock(clock.clone()).build().unwrap()
    };
    let tokens = manager();
    // The endpoint can sign in, and its pair is stored.
    let token = tokens.token().await.unwrap();
    assert_eq!((server.sign_ins(), server.exchanges()), (1, 0));
    let other = manager();
    assert_eq!(other.token().await.unwrap().expose(), token.expose());
    clock.advance(ACCESS_TTL).await;
    let token = tokens.token().await.unwrap();
    assert_eq!(other.token().await.unwrap().expose(), token.expose());
    assert_eq!((server.sign_ins(), server.exchanges()), (1, 1));
    assert!(tokens.logout().await.is_complete());
    assert!(server.revocations() > 0);
}

/// Everything that an endpoint reports about itself.
#[test]
fn a_boxed_endpoint_reports_what_its_content_reports() {
    let plain = || {
        OAuth2::new("https://id.example.org/token", "importer")
            .unwrap()
            .client_secret("secret")
            .sign_in_as_client()
            .timeout(std::time::Duration::from_secs(7))
    };
    let boxed: Box<dyn TokenEndpoint> = Box::new(plain());
    // The calls go through the trait, and not to the content of the box.
    fn said(endpoint: &impl TokenEndpoint) -> String {
        let key = endpoint.key();
        format!(
            "{key:?} {:?} {:?} {} {:?}",
            endpoint.profile(),
            endpoint.timeout(),
            endpoint.can_sign_in(),
            endpoint.first_pair(),
        )
    }
    assert_eq!(said(&boxed), said(&plain()));
    assert!(said(&boxed).contains("7s"), "{}", said(&boxed));
}

#[tokio::test(start_paused = true)]
async fn a_manager_on_the_systems_clock_is_refused_while_time_is_paused() {
    let server = AuthorizationServer::builder().build();
    let build = || TokenManager::builder(server.endpoint()).build();
    for _ in 0..100 {
        let error = build().unwrap_err();
        assert!(matches!(error, BuildError::PausedTime), "{error}");
        assert!(error.to_string().contains("`.clock(..)`"), "{error}");
    }
    tokio::time::resume();
    build().unwrap();
    tokio::time::pause();
    assert!(matches!(build(), Err(BuildError::PausedTime)));
}

#[tokio::test(start_paused = true)]
async fn a_manager_on_a_clock_of_the_test_is_built_while_time_is_paused() {
    let world = World::new().await;
    let tokens = world.builder(&world.first).build();
    tokens.unwrap().token().await.unwrap();
}

async fn is_built_a_hundred_times() {
    let server = AuthorizationServer::builder().build();
    for _ in 0..100 {
        TokenManager::builder(server.endpoint()).build().unwrap();
    }
}

#[tokio::test]
async fn a_manager_on_the_systems_clock_is_built_while_time_goes_on() {
    is_built_a_hundred_times().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_on_the_systems_clock_is_built_in_a_runtime_of_many_threads() {
    is_built_a_hundred_times().await;
}
