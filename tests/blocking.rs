//! Callers on threads outside any runtime. Time is real here: a thread that blocks cannot be paused.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::testing::AuthorizationServer;
use evertoken::{EndpointError, Error, OnRequest, StaticToken, TokenManager, TokenPair};
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

/// No test waits for longer; a deadlock does.
const PATIENCE: Duration = Duration::from_secs(30);

fn many_threads() -> Runtime {
    let mut runtime = RuntimeBuilder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap()
}

fn one_thread() -> Runtime {
    let mut runtime = RuntimeBuilder::new_current_thread();
    runtime.enable_all().build().unwrap()
}

/// A server that takes this number of milliseconds for an exchange.
fn slow_server(latency: u64) -> AuthorizationServer {
    let latency = Duration::from_millis(latency);
    AuthorizationServer::builder().latency(latency).build()
}

/// The pair of a manager whose first use needs an exchange.
fn refresh_alone(server: &AuthorizationServer) -> TokenPair {
    TokenPair::from_refresh_token(server.issue().refresh.unwrap())
}

/// A manager on this runtime whose first use needs an exchange.
fn unused(runtime: &Runtime, server: &AuthorizationServer) -> TokenManager {
    let _guard = runtime.enter();
    TokenManager::builder(server.endpoint())
        .strategy(OnRequest::default())
        .seed(refresh_alone(server))
        .build()
        .unwrap()
}

/// A manager on this runtime whose callers wait for 300 ms at most.
fn impatient(runtime: &Runtime, server: &AuthorizationServer, first: TokenPair) -> TokenManager {
    let _guard = runtime.enter();
    let endpoint = server.endpoint().with_timeout(Duration::from_millis(100));
    let builder = TokenManager::builder(endpoint).seed(first);
    builder.wait(Duration::from_millis(300)).build().unwrap()
}

/// Runs it on a thread of its own, for as long as a test is patient.
fn outside<T: Send + 'static>(code: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(code()));
    receiver.recv_timeout(PATIENCE).expect("no deadlock")
}

#[test]
fn a_thread_gets_a_quiet_token_at_once_and_waits_for_a_rotation() {
    let server = slow_server(50);
    let runtime = many_threads();
    let tokens = unused(&runtime, &server);
    let (first, second) = outside(move || (tokens.blocking_token(), tokens.blocking_token()));
    assert_eq!(first.unwrap().expose(), second.unwrap().expose());
    assert_eq!(server.exchanges(), 1);
}

#[test]
fn many_threads_share_one_exchange() {
    let server = slow_server(100);
    let runtime = many_threads();
    let tokens = unused(&runtime, &server);
    let threads = [(); 64].map(|()| {
        let tokens = tokens.clone();
        thread::spawn(move || tokens.blocking_token())
    });
    let seen = threads.map(|thread| thread.join().unwrap().unwrap().expose().to_owned());
    assert_eq!(HashSet::from(seen).len(), 1);
    assert_eq!((server.exchanges(), server.replays()), (1, 0));
}

/// As rayon does it: a fixed pool takes one record after the other, and each asks anew.
#[test]
fn a_pool_of_threads_imports_across_many_expiries_without_a_failure() {
    const RECORDS: usize = 400;
    let server = AuthorizationServer::builder()
        .access_ttl(Duration::from_millis(300))
        .build();
    let runtime = many_threads();
    let tokens = unused(&runtime, &server);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::SeqCst) < RECORDS {
                    tokens.blocking_token().unwrap();
                    thread::sleep(Duration::from_millis(10));
                }
            });
        }
    });
    assert_eq!((server.replays(), server.families_revoked()), (0, 0));
    // A second of work and a lifetime of 300 ms.
    assert!(server.exchanges() >= 3, "{}", server.exchanges());
}

#[test]
fn a_blocking_call_inside_a_runtime_is_refused_even_with_a_valid_token() {
    let runtime = many_threads();
    let endpoint = StaticToken::new("sesame");
    let tokens = runtime.block_on(async { TokenManager::builder(endpoint).build().unwrap() });
    let refused = |answer: Result<_, Error>| matches!(answer, Err(Error::InsideRuntime));
    assert!(refused(runtime.block_on(async { tokens.blocking_token() })));
    let clone = tokens.clone();
    assert!(outside(move || clone.blocking_token()).is_ok());
    assert!(refused(runtime.block_on(async { tokens.blocking_token() })));
    // The same on another runtime, and on a thread that the runtime keeps for blocking.
    let other = RuntimeBuilder::new_current_thread().build().unwrap();
    assert!(refused(other.block_on(async { tokens.blocking_token() })));
    let clone = tokens.clone();
    let blocking = runtime.spawn_blocking(move || clone.blocking_token());
    assert!(refused(runtime.block_on(blocking).unwrap()));
    let answer = other.block_on(async { tokens.blocking_token() });
    let error = answer.unwrap_err();
    assert!(!error.is_retryable() && !error.needs_sign_in());
    // What the error says to do there works.
    let blocking =
        runtime.spawn_blocking(move || tokio::runtime::Handle::current().block_on(tokens.token()));
    let token = runtime.block_on(blocking).unwrap().unwrap();
    assert_eq!(token.expose(), "sesame");
}

#[test]
fn on_a_runtime_of_one_thread_it_works_while_that_is_driven() {
    let server = slow_server(50);
    let runtime = one_thread();
    let tokens = unused(&runtime, &server);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    thread::spawn(move || sender.send(tokens.blocking_token()));
    let token = runtime.block_on(async { tokio::time::timeout(PATIENCE, receiver).await });
    assert!(token.expect("no deadlock").unwrap().is_ok());
    assert_eq!(server.exchanges(), 1);
}

#[test]
fn the_deadline_of_a_blocking_call_holds_on_a_runtime_that_is_not_driven() {
    let server = AuthorizationServer::builder().build();
    let runtime = one_thread();
    let tokens = impatient(&runtime, &server, server.issue());
    let (error, waited) = outside(move || {
        let start = SystemClock.now();
        let error = tokens.blocking_token().unwrap_err();
        (error, SystemClock.now().since(start))
    });
    let Error::TimedOut { after, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(after, Duration::from_millis(300));
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}

#[test]
fn a_server_that_hangs_keeps_a_thread_no_longer_than_its_deadline() {
    let server = AuthorizationServer::builder().build();
    let runtime = many_threads();
    let tokens = impatient(&runtime, &server, refresh_alone(&server));
    let _hold = server.hold();
    // The next attempt lies behind the deadline.
    let error = outside(move || tokens.blocking_token()).unwrap_err();
    let endpoint = error.endpoint();
    assert!(
        matches!(endpoint, Some(EndpointError::Unknown { .. })),
        "{error}"
    );
    assert_eq!(server.exchanges(), 1);
}

#[test]
fn a_blocking_call_reports_at_once_that_the_runtime_is_gone() {
    let server = AuthorizationServer::builder().build();
    let runtime = many_threads();
    let tokens = unused(&runtime, &server);
    runtime.shutdown_timeout(PATIENCE);
    let error = outside(move || tokens.blocking_token()).unwrap_err();
    assert!(matches!(error, Error::RuntimeGone), "{error}");
}

#[test]
fn a_runtime_that_goes_while_a_thread_waits_wakes_it() {
    let server = AuthorizationServer::builder().build();
    let runtime = many_threads();
    let tokens = unused(&runtime, &server);
    let _hold = server.hold();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(tokens.blocking_token()));
    runtime.block_on(server.arrived(1));
    runtime.shutdown_background();
    let answer = receiver.recv_timeout(PATIENCE).expect("no deadlock");
    assert!(matches!(answer, Err(Error::RuntimeGone)), "{answer:?}");
}

#[test]
fn a_blocking_call_reports_a_shutdown_and_a_logout() {
    let server = AuthorizationServer::builder().build();
    let runtime = many_threads();
    let tokens = unused(&runtime, &server);
    runtime.block_on(tokens.logout());
    let clone = tokens.clone();
    let error = outside(move || clone.blocking_token()).unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
    runtime.block_on(tokens.shutdown()).unwrap();
    let error = outside(move || tokens.blocking_token()).unwrap_err();
    assert!(matches!(error, Error::ShutDown), "{error}");
    assert_eq!(server.exchanges(), 0);
}

/// Runs a future on this thread, as an executor does that is none of tokio's.
fn drive<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn any_executor_may_drive_what_a_caller_awaits() {
    let server = slow_server(50);
    let runtime = many_threads();
    let tokens = unused(&runtime, &server);
    let (next, third) = (server.issue(), tokens.clone());
    outside(move || {
        drive(async {
            assert!(third.token().await.is_ok());
            assert!(third.rotate().await.is_ok());
            assert!(third.replace(next).await.is_ok());
            assert!(third.logout().await.is_complete());
            assert!(third.shutdown().await.is_ok());
        });
    });
    assert_eq!(server.exchanges(), 2);
}
