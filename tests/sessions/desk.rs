//! A token endpoint that counts how many exchanges it has at a time, and answers when a test says so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::TestClock;
use evertoken::{
    Builder, EndpointError, Grant, Issued, Key, OnRequest, Sessions, TokenEndpoint, TokenManager,
    TokenPair, async_trait,
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::support::{SECOND, TTL};

/// What the endpoint does for one session in place of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Misfortune {
    Fails(EndpointError),
    Panics,
    Hangs,
}

#[derive(Debug, Clone)]
pub(crate) struct Desk {
    seen: Arc<Mutex<Seen>>,
    answers: Arc<Semaphore>,
    /// How long an exchange takes.
    took: Duration,
    signs_in: bool,
}

#[derive(Debug, Default)]
struct Seen {
    inside: usize,
    most: usize,
    /// The sessions in the order of their exchanges.
    order: Vec<String>,
    misfortunes: HashMap<String, Misfortune>,
    spent: Vec<String>,
}

/// An exchange that is under way, until it is answered or given up.
struct Inside(Arc<Mutex<Seen>>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.lock().inside -= 1;
    }
}

impl Desk {
    /// An endpoint that answers at once.
    pub(crate) fn open() -> Self {
        Self::of(Semaphore::MAX_PERMITS, Duration::ZERO)
    }

    /// An endpoint that answers as often as [`answer`](Self::answer) says.
    pub(crate) fn closed() -> Self {
        Self::of(0, Duration::ZERO)
    }

    /// An endpoint that takes this long for an exchange.
    pub(crate) fn slow(took: Duration) -> Self {
        Self::of(Semaphore::MAX_PERMITS, took)
    }

    fn of(answers: usize, took: Duration) -> Self {
        Self {
            seen: Arc::default(),
            answers: Arc::new(Semaphore::new(answers)),
            took,
            signs_in: false,
        }
    }

    pub(crate) fn signing_in(self) -> Self {
        Self {
            signs_in: true,
            ..self
        }
    }

    pub(crate) fn answer(&self, times: usize) {
        self.answers.add_permits(times);
    }

    pub(crate) fn befall(&self, name: &str, misfortune: impl Into<Option<Misfortune>>) {
        let mut seen = self.seen.lock();
        match misfortune.into() {
            Some(misfortune) => seen.misfortunes.insert(name.to_owned(), misfortune),
            None => seen.misfortunes.remove(name),
        };
    }

    /// How many exchanges are under way.
    pub(crate) fn inside(&self) -> usize {
        self.seen.lock().inside
    }

    /// How many exchanges were under way at a time at most.
    pub(crate) fn most(&self) -> usize {
        self.seen.lock().most
    }

    pub(crate) fn order(&self) -> Vec<String> {
        self.seen.lock().order.clone()
    }

    /// Checks that no token was spent twice.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        let mut spent = self.seen.lock().spent.clone();
        let count = spent.len();
        spent.sort();
        spent.dedup();
        assert_eq!(spent.len(), count);
    }

    /// `Sessions` at this endpoint with this many places, on one clock.
    pub(crate) fn sessions(
        &self,
        clock: &TestClock,
        places: usize,
        describe: impl FnOnce(Builder<Sessions>) -> Builder<Sessions>,
    ) -> Sessions {
        let builder = Sessions::builder(self.clone()).clock(clock.clone());
        let builder = builder.strategy(OnRequest::default()).jitter(0.0);
        let builder = builder.exchanges_at_once(places);
        describe(builder).build().unwrap()
    }
}

/// A pair of this session whose access token lives this long.
pub(crate) fn pair(name: &str, life: Option<Duration>) -> TokenPair {
    let pair = TokenPair::new(format!("a {name} 1")).refresh_token(format!("r {name} 1"));
    match life {
        Some(life) => pair.expires_in(life),
        None => pair,
    }
}

/// A manager of a session that has begun with this pair.
pub(crate) async fn begun(
    sessions: &Sessions,
    name: &str,
    life: impl Into<Option<Duration>>,
) -> TokenManager {
    let tokens = sessions.manager(sessions.key().tenant(name));
    tokens.replace(pair(name, life.into())).await.unwrap();
    tokens
}

#[async_trait]
impl TokenEndpoint for Desk {
    async fn exchange(&self, grant: Grant<'_>) -> Result<Issued, EndpointError> {
        let (name, number) = match grant {
            Grant::Refresh { token, .. } => {
                let text = token.expose().strip_prefix("r ").unwrap();
                let (name, number) = text.rsplit_once(' ').unwrap();
                (name.to_owned(), number.parse::<u64>().unwrap())
            }
            _ => ("sign-in".to_owned(), 0),
        };
        let misfortune = {
            let mut seen = self.seen.lock();
            seen.inside += 1;
            seen.most = seen.most.max(seen.inside);
            seen.order.push(name.clone());
            seen.misfortunes.get(&name).cloned()
        };
        let _inside = Inside(Arc::clone(&self.seen));
        tokio::task::yield_now().await;
        match misfortune {
            Some(Misfortune::Fails(error)) => return Err(error),
            Some(Misfortune::Panics) => panic!("in the endpoint"),
            Some(Misfortune::Hangs) => std::future::pending().await,
            None => {}
        }
        if !self.took.is_zero() {
            tokio::time::sleep(self.took).await;
        }
        self.answers.acquire().await.unwrap().forget();
        if number > 0 {
            self.seen.lock().spent.push(format!("{name} {number}"));
        }
        let number = number + 1;
        Ok(Issued::new(format!("a {name} {number}"))
            .refresh_token(format!("r {name} {number}"))
            .expires_in(TTL))
    }

    fn can_sign_in(&self) -> bool {
        self.signs_in
    }

    fn timeout(&self) -> Duration {
        20 * SECOND
    }

    fn key(&self) -> Key {
        Key::new("https://id.example.org/token", "service")
    }
}
