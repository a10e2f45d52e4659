//! The instances of one run and everything around them, and what the faults do to them.

use std::sync::Arc;

use evertoken::testing::{self, AuthorizationServer, TestClock};
use evertoken::{Coordination, Key, Sessions, TokenPair};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::browser::{NAME, number};
use crate::endpoint::{Line, SimEndpoint};
use crate::gate::{Deaths, Gate};
use crate::gateway::Answer;
use crate::observer::{Held, Life, Observer};
use crate::scenario::{Fault, Scenario, seconds};
use crate::store::{SimStore, Storage};

/// An instance, in one of its lives.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) life: Life,
    pub(crate) sessions: Sessions,
    pub(crate) gate: Arc<Gate>,
    storage: Arc<Storage>,
}

#[derive(Default)]
struct Slot {
    node: Mutex<Option<Node>>,
    lives: Mutex<usize>,
    deaths: Deaths,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) observer: Arc<Observer>,
    pub(crate) server: AuthorizationServer,
    pub(crate) began: Instant,
    pub(crate) browsers: Vec<testing::Browser>,
    /// The cookies that each browser got, the latest last.
    jars: Mutex<Vec<Vec<usize>>>,
    /// Whether the service has sent the browser to a sign-in.
    signed_out: Mutex<Vec<bool>>,
    clock: TestClock,
    storage: Arc<Storage>,
    line: Arc<Line>,
    slots: Vec<Slot>,
    gates: Mutex<Vec<Arc<Gate>>>,
    died: mpsc::UnboundedSender<(usize, u64)>,
    is_closed: Mutex<bool>,
}

impl World {
    pub(crate) fn new(
        scenario: &Scenario,
        is_told: bool,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<(usize, u64)>) {
        let clock = TestClock::new();
        let server = scenario.rules().clock(clock.clone()).build();
        let observer = Arc::new(Observer::new(scenario, server.clone(), is_told));
        let (latency, watched) = (scenario.store_latency_ms, observer.clone());
        let storage = Arc::new(Storage::new(clock.clone(), watched, latency));
        let (died, deaths) = mpsc::unbounded_channel();
        let browser = |_| testing::Browser::with_clock("https://app.example.org", clock.clone());
        let browsers = scenario.browsers.iter().map(browser);
        let world = Self {
            scenario: scenario.clone(),
            browsers: browsers
                .map(|browser| browser.expect("an origin"))
                .collect(),
            jars: Mutex::new(vec![Vec::new(); scenario.browsers.len()]),
            signed_out: Mutex::new(vec![false; scenario.browsers.len()]),
            began: Instant::now(),
            observer,
            server,
            clock,
            storage,
            line: Arc::default(),
            slots: (0..scenario.nodes).map(|_| Slot::default()).collect(),
            gates: Mutex::default(),
            died,
            is_closed: Mutex::default(),
        };
        (Arc::new(world), deaths)
    }

    /// The cookie in the jar of a browser.
    pub(crate) fn jar(&self, browser: usize) -> Option<usize> {
        number(&self.browsers[browser].value(NAME)?)
    }

    /// The cookie that the browser got this many cookies ago.
    pub(crate) fn cookie_before(&self, browser: usize, back: usize) -> Option<usize> {
        let jars = self.jars.lock();
        let jar = &jars[browser];
        jar.iter().rev().nth(back).copied()
    }

    pub(crate) fn is_signed_out(&self, browser: usize) -> bool {
        self.signed_out.lock()[browser]
    }

    /// The answer to a request with this cookie has come to the jar.
    pub(crate) fn arrived(&self, browser: usize, cookie: Option<usize>, answer: Answer) {
        match answer {
            Answer::Served(Some(cookie)) => self.renew(browser, cookie),
            Answer::Refused if self.jar(browser) == cookie => {
                self.signed_out.lock()[browser] = true;
            }
            _ => {}
        }
    }

    /// The browser has this cookie.
    pub(crate) fn renew(&self, browser: usize, cookie: usize) {
        self.signed_out.lock()[browser] = false;
        self.jars.lock()[browser].push(cookie);
    }

    pub(crate) fn node(&self, node: usize) -> Option<Node> {
        let node = self.slots[node].node.lock().clone();
        node.filter(|node| !node.gate.is_dead())
    }

    /// The instance that gets a request: this one, or the next one that runs.
    pub(crate) fn route(&self, node: usize) -> Option<Node> {
        let count = self.slots.len();
        (0..count).find_map(|step| self.node((node + step) % count))
    }

    /// Starts an instance that does not run.
    pub(crate) fn start(&self, node: usize) {
        let slot = &self.slots[node];
        if slot.node.lock().is_some() || *self.is_closed.lock() {
            return;
        }
        let life = {
            let mut lives = slot.lives.lock();
            *lives += 1;
            *lives - 1
        };
        let life = Life { node, life };
        let gate = Arc::new(Gate::new(life, slot.deaths.clone(), self.died.clone()));
        self.gates.lock().push(gate.clone());
        let scenario = &self.scenario;
        let storage = match scenario.is_shared {
            true => self.storage.clone(),
            false => Arc::new(Storage::new(
                self.clock.clone(),
                self.observer.clone(),
                scenario.store_latency_ms,
            )),
        };
        let endpoint = SimEndpoint {
            inner: self.server.endpoint(),
            line: self.line.clone(),
            gate: gate.clone(),
            observer: self.observer.clone(),
            clock: self.clock.clone(),
            latency_ms: scenario.latency_ms,
        };
        let store = SimStore {
            storage: storage.clone(),
            gate: gate.clone(),
        };
        let mut builder = Sessions::builder(endpoint)
            .clock(self.clock.clone())
            .store(store)
            .jitter(0.0)
            .kept_for(seconds(scenario.kept_for))
            .unknown_pairs(u32::MAX)
            .policy("page", scenario.policy());
        if !scenario.is_shared {
            builder = builder.coordination(Coordination::None);
        }
        let sessions = builder.build().expect("valid settings");
        self.observer.note(|| format!("{life} starts"));
        *slot.node.lock() = Some(Node {
            life,
            sessions,
            gate,
            storage,
        });
    }

    /// The instance dies without a shutdown.
    pub(crate) fn kill(self: &Arc<Self>, node: usize, back_after: u64) {
        let Some(dead) = self.slots[node].node.lock().take() else {
            return;
        };
        dead.gate.die();
        self.observer.died(dead.life);
        self.observer.count("instances killed");
        self.start_after(node, back_after);
    }

    fn restart(self: &Arc<Self>, node: usize, back_after: u64) {
        let Some(last) = self.slots[node].node.lock().take() else {
            return;
        };
        let world = self.clone();
        tokio::spawn(async move {
            let result = last.sessions.shutdown().await;
            world
                .observer
                .note(|| format!("{} was shut down: {result:?}", last.life));
            last.gate.die();
            world.observer.died(last.life);
            world.start_after(node, back_after);
        });
    }

    fn start_after(self: &Arc<Self>, node: usize, span: u64) {
        let world = self.clone();
        tokio::spawn(async move {
            sleep(seconds(span)).await;
            world.start(node);
        });
    }

    pub(crate) fn happen(self: &Arc<Self>, fault: Fault) {
        self.observer.note(|| format!("{fault:?}"));
        match fault {
            Fault::Kill(node, span) => self.kill(node, span),
            Fault::KillAt(node, point, span) => {
                self.slots[node].deaths.lock().push((point, span));
            }
            Fault::Restart(node, span) => self.restart(node, span),
            Fault::StoreDown(span) => {
                *self.storage.is_down.lock() = true;
                self.later(span, |world| *world.storage.is_down.lock() = false);
            }
            Fault::StoreSlow { ms, span } => {
                *self.storage.latency_ms.lock() = ms;
                self.later(span, |world| {
                    *world.storage.latency_ms.lock() = world.scenario.store_latency_ms;
                });
            }
            Fault::SetBack(writes) => self.storage.set_back(writes),
            Fault::Unreachable(span) => {
                *self.line.is_down.lock() = true;
                self.later(span, |world| *world.line.is_down.lock() = false);
            }
            Fault::Answer(answer) => self.line.answers.lock().push_back(answer),
        }
    }

    fn later(self: &Arc<Self>, span: u64, what: impl FnOnce(&Self) + Send + 'static) {
        let world = self.clone();
        tokio::spawn(async move {
            sleep(seconds(span)).await;
            what(&world);
        });
    }

    /// Heals all faults, and starts every instance that is down.
    pub(crate) fn heal(&self) {
        self.observer.note(|| "everything heals".to_owned());
        *self.storage.is_down.lock() = false;
        *self.storage.latency_ms.lock() = self.scenario.store_latency_ms;
        *self.line.is_down.lock() = false;
        self.line.answers.lock().clear();
        for (node, slot) in self.slots.iter().enumerate() {
            slot.deaths.lock().clear();
            self.start(node);
        }
    }

    /// Ends what is left of every instance.
    pub(crate) fn close(&self) {
        *self.is_closed.lock() = true;
        for slot in &self.slots {
            slot.node.lock().take();
        }
        for gate in self.gates.lock().iter() {
            gate.vanish();
        }
    }
}

impl Held for World {
    fn is_stored(&self, refresh: &str) -> bool {
        let pair = TokenPair::from_refresh_token(refresh);
        let digest = pair.digest(&Key::new("any", "any"));
        let nodes = (0..self.slots.len()).filter_map(|node| self.node(node));
        let mut storages = nodes.map(|node| node.storage).chain([self.storage.clone()]);
        storages.any(|storage| storage.holds(&digest))
    }

    fn is_alive(&self, life: Life) -> bool {
        self.node(life.node).is_some_and(|node| node.life == life)
    }

    fn jars(&self) -> Vec<usize> {
        let browsers = 0..self.browsers.len();
        browsers.filter_map(|browser| self.jar(browser)).collect()
    }
}
