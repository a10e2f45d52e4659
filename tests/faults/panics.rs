//! A panic in user code does not end the process, a timer or a rotation, whichever task it happens in.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::clock::{Clock, Coarse, Timestamp};
use evertoken::testing::{
    AuthorizationServer, CallFault, EndpointCall, FaultyEndpoint, InProcessEndpoint, TestClock,
};
use evertoken::{
    BackgroundTimer, BuildError, EndpointError, Grant, Issued, Key, OnRequest, TokenEndpoint,
    TokenManager, TokenPair, async_trait,
};

use crate::support::{HOUR, SECOND, World, callers, loaded};

#[tokio::test(start_paused = true)]
async fn a_panic_in_can_sign_in_does_not_stop_the_timer() {
    let world = World::new(600 * SECOND);
    let endpoint = FaultyEndpoint::new(world.server.endpoint());
    let tokens = loaded(world.builder_at(endpoint.clone(), BackgroundTimer::default())).await;
    world.clock.advance(100 * SECOND).await;
    endpoint.fail_always(EndpointCall::CanSignIn, Some(CallFault::PanicBefore));
    world.clock.advance(2 * HOUR).await;
    world.assert_exchanges(15);
    let token = tokens.token().await.unwrap();
    assert!(world.is_live(&token));
}

/// An endpoint whose first call panics with a lock held, so that every later call panics too. A rotation that is
/// dropped with its runtime asks the endpoint whether it can sign in, and a second panic there would abort the
/// process.
#[derive(Debug)]
struct Poisoned {
    inner: InProcessEndpoint,
    calls: Mutex<u32>,
}

#[async_trait]
impl TokenEndpoint for Poisoned {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            assert_ne!(*calls, 1, "a bug in user code, with a lock held");
        }
        self.inner.exchange(grant).await
    }

    fn can_sign_in(&self) -> bool {
        *self.calls.lock().unwrap() > 1_000
    }

    fn key(&self) -> Key {
        self.inner.key()
    }
}

#[test]
fn an_endpoint_that_panics_in_every_method_is_an_error_and_does_not_end_the_process() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = AuthorizationServer::builder().build();
    let seed = TokenPair::from_refresh_token(server.issue().refresh.unwrap());
    let endpoint = Poisoned {
        inner: server.endpoint(),
        calls: Mutex::new(0),
    };
    let error = runtime.block_on(async {
        let builder = TokenManager::builder(endpoint).seed(seed);
        let tokens = builder.build().unwrap();
        let asking = tokio::spawn(async move { tokens.rotate().await });
        // The rotation is dropped with its runtime, while it waits.
        tokio::time::timeout(SECOND, asking).await
    });
    assert!(error.is_err(), "{error:?}");
    runtime.shutdown_timeout(Duration::from_secs(10));
}

#[tokio::test]
async fn an_endpoint_that_panics_while_a_manager_is_built_is_named() {
    let world = World::new(600 * SECOND);
    for (call, method) in [
        (EndpointCall::Profile, "profile"),
        (EndpointCall::Timeout, "timeout"),
        (EndpointCall::Key, "key"),
        (EndpointCall::FirstPair, "first_pair"),
    ] {
        let endpoint = FaultyEndpoint::new(world.server.endpoint());
        endpoint.fail_always(call, Some(CallFault::PanicBefore));
        let built = TokenManager::builder(endpoint).build();
        let Err(BuildError::Panicked { name, .. }) = &built else {
            panic!("{method}: {built:?}");
        };
        assert_eq!(*name, format!("TokenEndpoint::{method}"));
    }
}

/// A clock that panics while the flag is set.
#[derive(Debug, Clone)]
struct Broken(TestClock, Arc<AtomicBool>);

impl Broken {
    fn check(&self) {
        assert!(!self.1.load(Ordering::SeqCst), "a bug in user code");
    }
}

impl Clock for Broken {
    fn now(&self) -> Timestamp {
        self.check();
        self.0.now()
    }

    fn wall(&self) -> Duration {
        self.check();
        self.0.wall()
    }

    fn coarse(&self) -> Coarse {
        self.check();
        self.0.coarse()
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_panics_counts_as_stopped_until_it_works_again() {
    let world = World::new(600 * SECOND);
    let is_broken = Arc::new(AtomicBool::new(false));
    let clock = Broken(world.clock.clone(), Arc::clone(&is_broken));
    let builder = world.builder(BackgroundTimer::default()).clock(clock);
    let tokens = loaded(builder).await;
    let first = tokens.token().await.unwrap();
    is_broken.store(true, Ordering::SeqCst);
    world.clock.advance(60 * SECOND).await;
    assert_eq!(tokens.token().await.unwrap().expose(), first.expose());
    is_broken.store(false, Ordering::SeqCst);
    world.clock.advance(HOUR).await;
    assert!(world.is_live(&tokens.token().await.unwrap()));
    world.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn a_panic_during_a_rotation_gives_every_waiter_an_answer() {
    let world = World::new(600 * SECOND);
    let endpoint = FaultyEndpoint::new(world.server.endpoint());
    let tokens = loaded(world.builder_at(endpoint.clone(), OnRequest::default())).await;
    world.clock.advance(600 * SECOND).await;
    endpoint.fail_always(EndpointCall::CanSignIn, Some(CallFault::PanicBefore));
    let callers = callers(&tokens, 10);
    world.assert_all_live(callers).await;
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_panics_while_a_manager_is_built_is_named() {
    let world = World::new(600 * SECOND);
    let clock = Broken(world.clock.clone(), Arc::new(AtomicBool::new(true)));
    let built = world.builder(OnRequest::default()).clock(clock).build();
    let Err(BuildError::Panicked { name, .. }) = &built else {
        panic!("{built:?}");
    };
    assert_eq!(*name, "Clock::now");
}
