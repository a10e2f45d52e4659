//! User code that panics ends no process, no timer and no rotation, wherever it is called from.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evertoken::clock::{Clock, Coarse, Timestamp};
use evertoken::testing::{AuthorizationServer, InProcessEndpoint, TestClock};
use evertoken::{
    BackgroundTimer, BuildError, EndpointError, Grant, Issued, Key, OnRequest, ServerProfile,
    TokenEndpoint, TokenManager, TokenPair, async_trait,
};

use crate::support::{HOUR, SECOND, World, callers, loaded};

/// Panics in the method that the test names.
#[derive(Debug, Clone)]
struct Panicking {
    inner: InProcessEndpoint,
    can_sign_in: Arc<AtomicBool>,
    method: &'static str,
}

impl Panicking {
    fn new(inner: InProcessEndpoint, method: &'static str) -> Self {
        Self {
            inner,
            can_sign_in: Arc::default(),
            method,
        }
    }

    fn panic_in(&self, method: &str) {
        assert_ne!(self.method, method, "a bug of the user's");
    }
}

#[async_trait]
impl TokenEndpoint for Panicking {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        self.inner.exchange(grant).await
    }

    fn first_pair(&self) -> Option<TokenPair> {
        self.panic_in("first_pair");
        None
    }

    fn can_sign_in(&self) -> bool {
        assert!(
            !self.can_sign_in.load(Ordering::SeqCst),
            "a bug of the user's"
        );
        false
    }

    fn profile(&self) -> ServerProfile {
        self.panic_in("profile");
        self.inner.profile()
    }

    fn timeout(&self) -> Duration {
        self.panic_in("timeout");
        self.inner.timeout()
    }

    fn key(&self) -> Key {
        self.panic_in("key");
        self.inner.key()
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_panics_when_it_is_asked_whether_it_can_sign_in_stops_no_timer() {
    let world = World::new(600 * SECOND);
    let endpoint = Panicking::new(world.server.endpoint(), "");
    let panics = Arc::clone(&endpoint.can_sign_in);
    let tokens = loaded(world.builder_at(endpoint, BackgroundTimer::default())).await;
    world.clock.advance(100 * SECOND).await;
    panics.store(true, Ordering::SeqCst);
    world.clock.advance(2 * HOUR).await;
    world.assert_exchanges(15);
    let token = tokens.token().await.unwrap();
    assert!(world.is_live(&token));
}

/// Its first call panics with a lock held, so that every later one panics too: a rotation that tears down a task asks
/// it whether it can sign in, and a second panic there would abort the process.
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
            assert_ne!(*calls, 1, "a bug of the user's, with a lock held");
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
fn an_endpoint_that_panics_in_every_method_is_an_error_and_the_process_lives_on() {
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
        // The rotation goes with its runtime, in the middle of its wait.
        tokio::time::timeout(SECOND, asking).await
    });
    assert!(error.is_err(), "{error:?}");
    runtime.shutdown_timeout(Duration::from_secs(10));
}

#[tokio::test]
async fn an_endpoint_that_panics_while_a_manager_is_built_is_named() {
    let world = World::new(600 * SECOND);
    for method in ["profile", "timeout", "key", "first_pair"] {
        let endpoint = Panicking::new(world.server.endpoint(), method);
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
        assert!(!self.1.load(Ordering::SeqCst), "a bug of the user's");
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
async fn a_clock_that_panics_stands_still_until_it_works_again() {
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
async fn a_panic_during_a_rotation_leaves_an_answer_for_every_waiter() {
    let world = World::new(600 * SECOND);
    let endpoint = Panicking::new(world.server.endpoint(), "");
    let panics = Arc::clone(&endpoint.can_sign_in);
    let tokens = loaded(world.builder_at(endpoint, OnRequest::default())).await;
    world.clock.advance(600 * SECOND).await;
    panics.store(true, Ordering::SeqCst);
    let callers = callers(&tokens, 10);
    for caller in callers {
        assert!(world.is_live(&caller.await.unwrap().unwrap()));
    }
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
