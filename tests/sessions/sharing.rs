//! Which managers share a session, and that no other one does.

use std::error::Error as _;

use evertoken::clock::Clock;
use evertoken::{
    Coordination, EndpointError, Error, Grant, Issued, Key, MemoryStore, OnSeedConflict, Sessions,
    StaticToken, TokenEndpoint, TokenPair, async_trait,
};
use futures_util::future::join_all;

use crate::support::{HOUR, MINUTE, TTL, call, served, settle};
use crate::tenants::Service;

#[tokio::test(start_paused = true)]
async fn managers_of_equal_keys_share_one_pair_and_one_rotation() {
    let service = Service::new();
    let one = service.signed_in("diku").await;
    let two = service.manager("diku");
    service.clock.advance(TTL).await;
    let tokens = served([call(&one), call(&two)]).await;
    assert_eq!(tokens[0].pair_id(), tokens[1].pair_id());
    assert_eq!(service.tenants.exchanges(), 1);
    assert_eq!(one.status().rotations, two.status().rotations);
    assert_eq!(service.sessions.in_memory(), 1);
}

/// Different sessions rotate at the same time: none waits for another one.
#[tokio::test(start_paused = true)]
async fn n18_different_sessions_rotate_in_parallel() {
    let service = Service::new();
    let names: Vec<_> = (0..10).map(|number| format!("tenant {number}")).collect();
    let managers = join_all(names.iter().map(|name| service.signed_in(name))).await;
    service.clock.advance(TTL).await;
    let hold = service.tenants.hold().await;
    let callers: Vec<_> = managers.iter().map(call).collect();
    settle().await;
    assert_eq!(service.tenants.exchanges(), 10, "all of them are under way");
    drop(hold);
    served(callers).await;
    assert_eq!(service.tenants.exchanges(), 10);
}

#[tokio::test(start_paused = true)]
async fn two_tenants_never_get_each_others_token_also_while_the_rotations_of_one_fail() {
    let service = Service::new();
    for tenant in ["one", "two"] {
        drop(service.signed_in(tenant).await);
    }
    let start = service.clock.now();
    let (mut got, mut failed) = ([0, 0], 0);
    for round in 0_u64.. {
        if service.clock.now().since(start) > 3 * HOUR {
            break;
        }
        let is_down = round % 40 < 20;
        let error = is_down.then(|| EndpointError::unavailable(503, None));
        service.tenants.answer("two", error);
        let (one, two) = (service.manager("one"), service.manager("two"));
        let (of_one, of_two) = tokio::join!(one.token(), two.token());
        assert!(of_one.unwrap().expose().starts_with("a one "));
        got[0] += 1;
        match of_two {
            Ok(token) => {
                assert!(token.expose().starts_with("a two "));
                got[1] += 1;
            }
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                failed += 1;
            }
        }
        drop((one, two));
        service.clock.advance(MINUTE).await;
    }
    assert!(
        got[0] > 100 && got[1] > 50 && failed > 5,
        "{got:?} {failed}"
    );
    assert!(service.tenants.exchanges_of("one") > 10);
    service.tenants.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn the_first_pair_of_an_endpoint_is_the_pair_of_no_tenant() {
    let clock = evertoken::testing::TestClock::new();
    let builder = Sessions::builder(StaticToken::new("static")).clock(clock);
    let sessions = builder.build().unwrap();
    let own = sessions.manager(sessions.key());
    assert_eq!(own.token().await.unwrap().expose(), "static");
    let of_tenant = sessions.manager(sessions.key().tenant("diku"));
    let error = of_tenant.token().await.unwrap_err();
    assert!(matches!(error, Error::NoSession), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_store_one_memory_store_holds_every_session() {
    let service = Service::new();
    for tenant in ["one", "two"] {
        drop(service.signed_in(tenant).await);
    }
    settle().await;
    assert_eq!(service.sessions.in_memory(), 0);
    for tenant in ["one", "two"] {
        assert_eq!(service.request(tenant).await, format!("a {tenant} 1"));
    }
    assert_eq!(service.tenants.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_goes_on_with_its_managers_when_the_last_handle_is_dropped() {
    for coordination in [Coordination::Lease, Coordination::None] {
        let service = Service::with(|builder| builder.coordination(coordination));
        let tokens = service.signed_in("diku").await;
        let Service {
            clock,
            tenants,
            sessions,
        } = service;
        drop(sessions);
        clock.advance(TTL).await;
        assert_eq!(tokens.token().await.unwrap().expose(), "a diku 2");
        assert_eq!(tenants.exchanges(), 1);
    }
}

/// A manager that was shut down answers so. The next manager of its key continues the session.
#[tokio::test(start_paused = true)]
async fn a_manager_that_is_shut_down_does_not_take_the_next_one_of_its_key_along() {
    let service = Service::new();
    let tokens = service.signed_in("diku").await;
    tokens.shutdown().await.unwrap();
    assert!(matches!(tokens.token().await, Err(Error::ShutDown)));
    assert_eq!(service.request("diku").await, "a diku 1");
    assert!(matches!(tokens.token().await, Err(Error::ShutDown)));
    drop(tokens);
    settle().await;
    assert_eq!(service.sessions.in_memory(), 0);
}

/// The manager that was shut down knows of a session that another one continues, and has no part in it.
#[tokio::test(start_paused = true)]
async fn a_manager_that_was_shut_down_does_not_log_out_the_session_that_another_one_continues() {
    let service = Service::new();
    let over = service.signed_in("diku").await;
    over.shutdown().await.unwrap();
    let tokens = service.manager("diku");
    assert_eq!(tokens.token().await.unwrap().expose(), "a diku 1");
    let logout = over.logout().await;
    let source = logout.stored.unwrap_err();
    let source = source.source().and_then(|it| it.downcast_ref::<Error>());
    assert!(matches!(source, Some(Error::ShutDown)), "{source:?}");
    service.clock.advance(TTL).await;
    assert_eq!(tokens.token().await.unwrap().expose(), "a diku 2");
}

/// An endpoint with this first pair, whose key does not name it.
#[derive(Debug)]
struct FirstPair(&'static str);

#[async_trait]
impl TokenEndpoint for FirstPair {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        panic!("nothing is exchanged here");
    }

    fn first_pair(&self) -> Option<TokenPair> {
        Some(TokenPair::new(self.0).expires_in(TTL))
    }

    fn key(&self) -> Key {
        Key::new("https://id.example.org/token", "service")
    }
}

/// The store has another session than the seed's, and keeps it. After the logout the seed would count for a new session.
#[tokio::test(start_paused = true)]
async fn a_seed_that_was_kept_out_does_not_undo_a_logout_when_the_session_is_loaded_again() {
    let clock = evertoken::testing::TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let builder = |token| {
        let builder = Sessions::builder(FirstPair(token)).clock(clock.clone());
        builder
            .store(store.clone())
            .on_seed_conflict(OnSeedConflict::Keep)
    };
    let another = builder("another").build().unwrap();
    let own = another.manager(another.key());
    assert_eq!(own.token().await.unwrap().expose(), "another");
    let sessions = builder("seed").build().unwrap();
    let own = sessions.manager(sessions.key());
    assert_eq!(own.token().await.unwrap().expose(), "another");
    assert!(own.logout().await.stored.is_ok());
    drop(own);
    settle().await;
    assert_eq!(sessions.in_memory(), 0);
    let error = sessions.manager(sessions.key()).token().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
}
