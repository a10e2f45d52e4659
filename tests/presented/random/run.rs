//! One run: everything in it is drawn from the seed.

use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::{
    AccessCheck, AuthorizationServer, CallFault, FaultyStore, StoreCall, TestClock,
};
use evertoken::{BackgroundTimer, MemoryStore, OptimisticEarly, SessionPolicy, Sessions};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::browser::Browser;
use super::draw::{Draw, Fate};
use crate::ledger::{Ledger, Noted};
use crate::support::{MINUTE, SECOND, later};
use crate::world::page;

/// What happened in a run.
pub(super) struct Outcome {
    pub(super) history: Vec<String>,
    pub(super) problems: Vec<String>,
    /// Requests that were served, and those of them with a pair that was replaced by then.
    pub(super) served: u64,
    pub(super) replaced: u64,
}

pub(super) fn run(seed: u64) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true);
    // Only with this cfg does tokio draw from a seed, and a run replays exactly.
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    builder.build().unwrap().block_on(live(seed))
}

/// What the requests of a run share.
struct Shared {
    clock: TestClock,
    server: AuthorizationServer,
    ledger: Ledger,
    outcome: Mutex<Outcome>,
}

impl Shared {
    fn note(&self, what: &str) {
        let at = self.clock.wall().as_millis() - 1_700_000_000_000;
        let line = format!("{:>10}.{:03} {what}", at / 1_000, at % 1_000);
        self.outcome.lock().history.push(line);
    }

    fn problem(&self, what: String) {
        self.note(&what);
        self.outcome.lock().problems.push(what);
    }
}

struct Instance {
    sessions: Sessions,
    store: FaultyStore,
}

struct World {
    shared: Arc<Shared>,
    store: MemoryStore,
    policy: SessionPolicy,
    kept_for: Duration,
}

impl World {
    fn start(&self) -> Instance {
        let store = FaultyStore::new(self.store.clone());
        let endpoint = Noted {
            inner: self.shared.server.endpoint(),
            ledger: self.shared.ledger.clone(),
        };
        let builder = Sessions::builder(endpoint)
            .clock(self.shared.clock.clone())
            .jitter(0.0)
            .store(store.clone())
            .kept_for(self.kept_for)
            .policy("page", self.policy.clone());
        Instance {
            sessions: builder.build().unwrap(),
            store,
        }
    }
}

async fn live(seed: u64) -> Outcome {
    let mut draw = Draw(seed);
    let clock = TestClock::new();
    let latency = [0, 20, 2_000][draw.index(3)];
    let server = AuthorizationServer::builder()
        .clock(clock.clone())
        .latency(Duration::from_millis(latency));
    let shared = Arc::new(Shared {
        server: server.build(),
        ledger: Ledger::default(),
        outcome: Mutex::new(Outcome {
            history: Vec::new(),
            problems: Vec::new(),
            served: 0,
            replaced: 0,
        }),
        clock,
    });
    let world = World {
        store: MemoryStore::with_clock(shared.clock.clone()),
        policy: match draw.below(3) {
            0 => page(),
            1 => page().strategy(OptimisticEarly::default()),
            _ => page().strategy(BackgroundTimer::default()),
        },
        kept_for: [20 * SECOND, 5 * MINUTE, 60 * MINUTE][draw.index(3)],
        shared: Arc::clone(&shared),
    };
    let mut instances: Vec<_> = (0..=draw.below(3)).map(|_| world.start()).collect();
    let mut browsers = Vec::new();
    for number in 0..=draw.index(2) {
        let browser = signed_in(&shared, &instances[0].sessions, number).await;
        browser.lock().lost_of_ten = [2, 5, 9][draw.index(3)];
        browsers.push(browser);
    }
    let mut requests = Vec::new();
    let mut up_since = shared.clock.now();
    for _ in 0..150 {
        let instance = draw.index(instances.len());
        match draw.below(20) {
            0 => restart(&world, &mut instances, instance).await,
            1 => script(&shared, &instances[instance].store, &mut draw),
            // Not for so long, nor so often, that a lease ends before its holder could store its pair.
            2 if shared.clock.now().since(up_since) > MINUTE => {
                shared.note("the store is out of reach");
                let down: Vec<_> = instances.iter().filter(|_| draw.one_in(2)).collect();
                down.iter().for_each(|it| it.store.set_down(true));
                requests.extend(send(&shared, &browsers, &instances, &mut draw));
                shared.clock.advance(draw.millis(12_000)).await;
                requests.extend(send(&shared, &browsers, &instances, &mut draw));
                shared.clock.advance(draw.millis(3_000)).await;
                down.iter().for_each(|it| it.store.set_down(false));
                up_since = shared.clock.now();
                shared.note("the store is back");
            }
            3 => shared.server.fail_next(later(None)),
            5 => job(&shared, &browsers, &instances, &mut draw).await,
            6 => slow(&shared, &instances[instance].store, &mut draw),
            4 => {
                shared.server.set_reachable(false);
                requests.extend(send(&shared, &browsers, &instances, &mut draw));
                shared.clock.advance(draw.millis(20_000)).await;
                shared.server.set_reachable(true);
            }
            _ => requests.extend(send(&shared, &browsers, &instances, &mut draw)),
        }
        let span = match draw.below(6) {
            0 => Duration::ZERO,
            1 | 2 => draw.millis(100),
            3 => draw.millis(10_000),
            4 => draw.millis(120_000),
            _ => draw.millis(1_500_000),
        };
        shared.clock.advance(span).await;
    }
    for request in requests {
        request.await.unwrap();
    }
    // At the end everything works, and each browser is served.
    shared.clock.advance(2 * MINUTE).await;
    for instance in &instances {
        for browser in &browsers {
            let sessions = instance.sessions.clone();
            request(&shared, browser, 0, sessions, Fate::CALM)
                .await
                .unwrap();
        }
    }
    let (replays, revoked) = (shared.server.replays(), shared.server.families_revoked());
    if (replays, revoked) != (0, 0) {
        shared.problem(format!(
            "{replays} tokens were sent twice, {revoked} families revoked"
        ));
    }
    drop((world, instances, browsers));
    Arc::into_inner(shared).map_or_else(
        || panic!("a request goes on"),
        |shared| shared.outcome.into_inner(),
    )
}

type Tabs = Arc<Mutex<Browser>>;

async fn signed_in(shared: &Shared, sessions: &Sessions, number: usize) -> Tabs {
    let pair = shared.server.issue();
    shared.ledger.signed_in(number, &pair);
    let id = sessions.sign_in(pair).policy("page").await.unwrap();
    let jar = sessions.present(&id).await.unwrap().pair().unwrap();
    Arc::new(Mutex::new(Browser::new(number, jar)))
}

/// A new process takes the place of one that ends in order.
async fn restart(world: &World, instances: &mut [Instance], instance: usize) {
    world.shared.note(&format!("instance {instance} restarts"));
    let ended = std::mem::replace(&mut instances[instance], world.start());
    if let Err(error) = ended.sessions.shutdown().await {
        world.shared.note(&format!("the shutdown fails: {error:?}"));
    }
}

/// A fault of one call of the store.
fn script(shared: &Shared, store: &FaultyStore, draw: &mut Draw) {
    let call = [StoreCall::Load, StoreCall::Swap, StoreCall::Find][draw.index(3)];
    let span = draw.millis(3_000);
    let fault = match draw.below(4) {
        0 => CallFault::Fail,
        1 => CallFault::LoseAnswer,
        2 => CallFault::DelayBefore(span),
        _ => CallFault::DelayAfter(span),
    };
    store.work_next(call, draw.index(3));
    store.fail_next(call, 1 + draw.index(2), fault);
    shared.note(&format!("a call will meet {call:?}: {fault:?}"));
}

/// The store answers the next reads late, each after another span.
fn slow(shared: &Shared, store: &FaultyStore, draw: &mut Draw) {
    for _ in 0..8 {
        let fault = CallFault::DelayAfter(draw.millis(4_000));
        store.fail_next(StoreCall::Load, 1, fault);
    }
    shared.note("an instance has a slow store");
}

/// A job of the service goes on with the id of a session.
async fn job(shared: &Shared, browsers: &[Tabs], instances: &[Instance], draw: &mut Draw) {
    let browser = &browsers[draw.index(browsers.len())];
    let id = browser.lock().jar.id().clone();
    let instance = draw.index(instances.len());
    let answer = instances[instance].sessions.present(&id).await;
    shared.note(&format!("a job presents the id to instance {instance}"));
    if let Err(error) = answer.map(drop)
        && error.needs_sign_in()
    {
        shared.problem(format!("the session of a job is over: {error:?}"));
    }
}

/// One browser sends some requests at once.
fn send(
    shared: &Arc<Shared>,
    browsers: &[Tabs],
    instances: &[Instance],
    draw: &mut Draw,
) -> Vec<JoinHandle<()>> {
    let browser = &browsers[draw.index(browsers.len())];
    let tabs = 1 + draw.below(4);
    let lost_of_ten = browser.lock().lost_of_ten;
    let tab = |_| {
        let instance = draw.index(instances.len());
        let sessions = instances[instance].sessions.clone();
        let fate = Fate::draw(draw, lost_of_ten);
        request(shared, browser, instance, sessions, fate)
    };
    (0..tabs).map(tab).collect()
}

fn request(
    shared: &Arc<Shared>,
    browser: &Tabs,
    instance: usize,
    sessions: Sessions,
    fate: Fate,
) -> JoinHandle<()> {
    let (shared, browser) = (Arc::clone(shared), Arc::clone(browser));
    tokio::spawn(async move {
        let (number, (cookie, place)) = {
            let mut browser = browser.lock();
            (
                browser.number,
                browser.send(&shared.ledger, shared.clock.now()),
            )
        };
        let who = format!("browser {number}, pair {place}, instance {instance}");
        shared.note(&format!("{who}: sent"));
        tokio::time::sleep(fate.there).await;
        let answer = sessions.present(&cookie).await;
        let now = shared.clock.now();
        let has_to = browser
            .lock()
            .has_to_be_accepted(place, &shared.ledger, now);
        let presented = match answer {
            Ok(presented) => presented,
            Err(error) if error.needs_sign_in() && has_to => {
                return shared.problem(format!("{who}: signed out: {error:?}"));
            }
            Err(error) => return shared.note(&format!("{who}: {error:?}")),
        };
        if shared.server.check(presented.token().expose()) != AccessCheck::Live {
            shared.problem(format!("{who}: got a dead token"));
        }
        tokio::time::sleep(fate.headers).await;
        let renewal = presented.renewal();
        let renewed = renewal
            .as_ref()
            .map(|it| shared.ledger.of(it.pair()).rotation);
        {
            let mut outcome = shared.outcome.lock();
            outcome.served += 1;
            outcome.replaced += u64::from(renewal.is_some());
        }
        let lost = if fate.is_lost { ", lost" } else { "" };
        shared.note(&format!("{who}: served, renewal {renewed:?}{lost}"));
        drop((presented, sessions));
        let Some(renewal) = renewal.filter(|_| !fate.is_lost) else {
            return;
        };
        tokio::time::sleep(fate.back).await;
        browser.lock().jar = renewal;
        shared.note(&format!("browser {number}: the jar has pair {renewed:?}"));
    })
}
