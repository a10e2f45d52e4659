//! What happens in one run, as data. A run depends on its scenario alone.

use std::time::Duration;

use evertoken::testing::{AuthorizationServer, AuthorizationServerBuilder, GraceAnswer, Reuse};
use evertoken::{BackgroundTimer, OptimisticEarly, SessionPolicy};

/// How long a replaced pair is accepted after the current one was presented, in seconds.
pub(crate) const RETIRED_FOR: u64 = 30;

/// For how long after its first use a server with a grace window answers a token again, in seconds.
pub(crate) const WINDOW: u64 = 60;

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// A second use ends the session.
    Strict,
    /// A second use gets the same pair for a while.
    Grace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    OnRequest,
    BackgroundTimer,
    OptimisticEarly,
}

/// What a browser holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A `BrowserPair`.
    Copy,
    /// A `SessionId`.
    Id,
}

/// What the user of a tab does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Load,
    Fetch,
    Reload,
    /// Requests at once.
    Storm(usize),
    /// A request that is aborted after this many milliseconds.
    Abort(u64),
    /// A request, and the end of the tab after this many milliseconds. Another tab takes its place.
    CloseTab(u64),
    SignIn,
    LogOut,
    /// Presents a cookie that the browser had this many cookies ago, as one does who has copied the jar. The jar gets nothing.
    Stale(usize),
    /// Presents the pair of another browser under the id of this one. The jar gets nothing.
    Mixed(usize),
    /// Presents the pair without its id. The jar gets nothing.
    Bare,
}

/// The way of the requests of one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Net {
    /// The instance that gets them, if the browser does not stay at one.
    pub(crate) node: usize,
    pub(crate) way_ms: u64,
    /// How long the service works between the token and the head of its answer.
    pub(crate) work_ms: u64,
    pub(crate) back_ms: u64,
    pub(crate) is_lost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// When it happens, in milliseconds.
    pub(crate) at: u64,
    pub(crate) act: Act,
    pub(crate) net: Net,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Browser {
    /// The instance at which a browser stays that stays at one.
    pub(crate) home: usize,
    pub(crate) tabs: Vec<Vec<Step>>,
}

/// A moment in a call of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    BeforeExchange,
    AfterExchange,
    BeforeSwap,
    AfterSwap,
}

impl Point {
    pub(crate) const ALL: [Self; 4] = [
        Self::BeforeExchange,
        Self::AfterExchange,
        Self::BeforeSwap,
        Self::AfterSwap,
    ];
}

/// How the next exchange fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    LostBefore,
    LostAfter,
    Unavailable,
}

/// What goes wrong. Spans are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The instance dies without a shutdown, and starts anew after this span.
    Kill(usize, u64),
    /// The same, when the instance comes to the point next.
    KillAt(usize, Point, u64),
    /// The instance is shut down properly, and starts anew after this span.
    Restart(usize, u64),
    StoreDown(u64),
    StoreSlow {
        ms: u64,
        span: u64,
    },
    /// The store loses its last writes, of whatever sessions.
    SetBack(usize),
    Unreachable(u64),
    Answer(Answer),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scenario {
    /// The seed of tokio's scheduler.
    pub(crate) seed: u64,
    pub(crate) server: Server,
    pub(crate) form: Form,
    pub(crate) strategy: Strategy,
    /// Whether the instances share a store. Otherwise each has its own, which dies with it, and none takes leases.
    pub(crate) is_shared: bool,
    /// Whether a browser stays at one instance while that runs.
    pub(crate) is_sticky: bool,
    /// Whether the service drops the work on a request that was aborted.
    pub(crate) cancels: bool,
    pub(crate) nodes: usize,
    pub(crate) access_ttl: u64,
    pub(crate) kept_for: u64,
    pub(crate) latency_ms: u64,
    pub(crate) store_latency_ms: u64,
    pub(crate) browsers: Vec<Browser>,
    /// Each fault with its time in milliseconds.
    pub(crate) faults: Vec<(u64, Fault)>,
    /// The length in seconds; after that all faults heal.
    pub(crate) length: u64,
}

impl Scenario {
    /// Whether nothing goes wrong but what browsers do.
    pub(crate) fn is_calm(&self) -> bool {
        self.faults.is_empty() && self.is_shared
    }

    pub(crate) fn rules(&self) -> AuthorizationServerBuilder {
        let reuse = match self.server {
            Server::Strict => Reuse::RevokeFamily,
            Server::Grace => Reuse::Grace {
                window: seconds(WINDOW),
                answer: GraceAnswer::SamePair,
            },
        };
        AuthorizationServer::builder()
            .access_ttl(seconds(self.access_ttl))
            .refresh_ttl(seconds(30 * 86_400))
            .reuse(reuse)
    }

    pub(crate) fn policy(&self) -> SessionPolicy {
        let policy = SessionPolicy::new().retired_for(seconds(RETIRED_FOR));
        match self.strategy {
            Strategy::OnRequest => policy,
            Strategy::BackgroundTimer => policy.strategy(BackgroundTimer::default()),
            Strategy::OptimisticEarly => policy.strategy(OptimisticEarly::default()),
        }
    }
}
