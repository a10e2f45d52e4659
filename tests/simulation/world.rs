//! The instances of one run and everything around them, and what the script does to them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use evertoken::testing::{AuthorizationServer, TestClock};
use evertoken::{
    BackgroundTimer, Builder, Coordination, Event, Key, Lifetime, OnExpiry, OnRequest,
    OnStoreFailure, OptimisticEarly, PairId, Persistence, Plan, RefreshStrategy, TokenEndpoint,
    TokenManager, TokenPair,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::endpoint::{Line, SimEndpoint};
use crate::gate::{Gate, Mode, Strike};
use crate::observer::{NodeId, Observer};
use crate::reasons;
use crate::scenario::{Ambush, Point, Scenario, Strategy, Write, seconds};
use crate::store::{Commit, SimStore, Storage};

/// An instance, in one of its lives.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) manager: TokenManager,
    pub(crate) gate: Arc<Gate>,
    pub(crate) rejected: Arc<Mutex<Option<PairId>>>,
    /// The number of sign-ins when the user logged this instance out, if the user did.
    pub(crate) left: Arc<Mutex<Option<u32>>>,
}

#[derive(Default)]
struct Slot {
    node: Mutex<Option<Node>>,
    lives: Mutex<usize>,
    clock: TestClock,
    ambushes: Arc<Mutex<Vec<(Point, Ambush)>>>,
    writes: Arc<Mutex<VecDeque<Write>>>,
    commits: Arc<Mutex<VecDeque<Commit>>>,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) began: Instant,
    pub(crate) observer: Arc<Observer>,
    pub(crate) server: AuthorizationServer,
    pub(crate) server_clock: TestClock,
    pub(crate) store_clock: TestClock,
    pub(crate) storage: Arc<Storage>,
    pub(crate) line: Arc<Line>,
    pub(crate) key: Key,
    first: Option<TokenPair>,
    slots: Vec<Slot>,
    gates: Mutex<Vec<Arc<Gate>>>,
    strikes: mpsc::UnboundedSender<Strike>,
    is_closed: Mutex<bool>,
}

#[derive(Debug)]
struct Greedy;

impl RefreshStrategy for Greedy {
    fn plan(&self, life: &Lifetime) -> Plan {
        Plan::on_request(life).wake_at(Duration::ZERO)
    }
}

impl World {
    pub(crate) fn new(
        scenario: &Scenario,
        with_history: bool,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Strike>) {
        let (server_clock, store_clock) = (TestClock::new(), TestClock::new());
        let server = scenario.rules().clock(server_clock.clone()).build();
        let key = server.endpoint().key();
        let observer = Observer::new(scenario, store_clock.clone(), key.clone(), with_history);
        let observer = Arc::new(observer);
        let first = scenario.seeded.then(|| server.issue());
        if let Some(first) = &first {
            observer.issued(first);
        }
        let latency = Duration::from_millis(scenario.store_latency_ms);
        let storage = Storage::new(store_clock.clone(), observer.clone(), latency);
        let (strikes, struck) = mpsc::unbounded_channel();
        let world = Self {
            scenario: scenario.clone(),
            began: Instant::now(),
            storage: Arc::new(storage),
            line: Arc::default(),
            slots: scenario.nodes.iter().map(|_| Slot::default()).collect(),
            gates: Mutex::default(),
            observer,
            server,
            server_clock,
            store_clock,
            key,
            first,
            strikes,
            is_closed: Mutex::default(),
        };
        (Arc::new(world), struck)
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        self.observer.note(what);
    }

    pub(crate) fn violation(&self, what: String) {
        self.observer.violation(what);
    }

    pub(crate) fn node(&self, node: usize) -> Option<Node> {
        self.slots[node].node.lock().clone()
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        let nodes = self.slots.iter().map(|slot| slot.node.lock().clone());
        nodes.flatten().collect()
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
        let id = NodeId { node, life };
        let (ambushes, strikes) = (slot.ambushes.clone(), self.strikes.clone());
        let gate = Arc::new(Gate::new(id, ambushes, strikes, self.observer.clone()));
        self.gates.lock().push(gate.clone());
        let manager = self.builder(node, &gate).build().expect("valid settings");
        self.note(|| format!("{id} starts"));
        tokio::spawn(listen(manager.clone(), gate.clone()));
        *slot.node.lock() = Some(Node {
            id,
            manager,
            gate,
            rejected: Arc::default(),
            left: Arc::default(),
        });
    }

    fn builder(&self, node: usize, gate: &Arc<Gate>) -> Builder {
        let (scenario, slot) = (&self.scenario, &self.slots[node]);
        let inner = self.server.endpoint().with_profile(scenario.profile());
        let endpoint = SimEndpoint {
            inner: inner.with_timeout(seconds(scenario.timeout)),
            line: self.line.clone(),
            gate: gate.clone(),
            clock: self.server_clock.clone(),
            latency: Duration::from_millis(scenario.latency_ms),
        };
        let store = SimStore {
            storage: self.storage.clone(),
            gate: gate.clone(),
            writes: slot.writes.clone(),
            commits: slot.commits.clone(),
        };
        let mut builder = TokenManager::builder(endpoint)
            .clock(slot.clock.clone())
            .store(store)
            .jitter(0.0)
            .wait(seconds(scenario.wait))
            .lease_duration(seconds(scenario.lease_duration_of(node)))
            .store_timeout(seconds(scenario.store_timeout))
            .persistence(Persistence::write_behind(scenario.workers));
        if !scenario.coordinated {
            builder = builder.coordination(Coordination::None);
        }
        if scenario.fails_unstored {
            builder = builder.on_store_failure(OnStoreFailure::Fail);
        }
        if let Some(first) = &self.first {
            // As from a configuration: a later life does not know how long the access token lives.
            let refresh = first.refresh.clone().filter(|_| gate.id.life > 0);
            let later = refresh.map(TokenPair::from_refresh_token);
            builder = builder.seed(later.unwrap_or_else(|| first.clone()));
        }
        match scenario.nodes[node] {
            Strategy::OnRequest => builder.strategy(OnRequest::default()),
            Strategy::BackgroundTimer => builder.strategy(BackgroundTimer::default()),
            Strategy::OptimisticEarly => builder.strategy(OptimisticEarly::default()),
            Strategy::EndsIdle => {
                builder.strategy(OptimisticEarly::default().on_expiry(OnExpiry::End))
            }
            Strategy::Greedy => builder
                .strategy(Greedy)
                .shortest_interval(seconds(scenario.access_ttl)),
        }
    }

    /// The instance dies without a shutdown.
    pub(crate) fn crash(self: &Arc<Self>, node: usize, back_after: u64) {
        let Some(dead) = self.slots[node].node.lock().take() else {
            return;
        };
        dead.gate.set(Mode::Dead);
        self.observer.died(dead.id);
        self.start_after(node, back_after);
    }

    pub(crate) fn pause(self: &Arc<Self>, node: usize, span: u64) {
        let Some(paused) = self.node(node) else {
            return;
        };
        self.note(|| format!("{} stands still", paused.id));
        paused.gate.set(Mode::Paused);
        let world = self.clone();
        tokio::spawn(async move {
            sleep(seconds(span)).await;
            world.note(|| format!("{} goes on", paused.id));
            paused.gate.set(Mode::Runs);
        });
    }

    /// The manager is shut down properly, and another life starts later.
    pub(crate) async fn restart(self: &Arc<Self>, node: usize, back_after: u64) {
        let Some(last) = self.slots[node].node.lock().take() else {
            return;
        };
        self.note(|| format!("{} is shut down", last.id));
        let result = last.manager.shutdown().await;
        let id = last.id;
        self.note(|| format!("{id} was shut down: {result:?}"));
        // Whatever the shutdown could not store is lost with its process.
        if result.is_err() {
            self.observer.died(id);
        }
        self.start_after(node, back_after);
    }

    fn start_after(self: &Arc<Self>, node: usize, span: u64) {
        let world = self.clone();
        tokio::spawn(async move {
            sleep(seconds(span)).await;
            world.start(node);
        });
    }

    pub(crate) fn clock(&self, node: usize) -> &TestClock {
        &self.slots[node].clock
    }

    /// All machines sleep.
    pub(crate) fn suspend(&self, span: Duration) {
        let clocks = self.slots.iter().map(|slot| &slot.clock);
        for clock in clocks.chain([&self.server_clock, &self.store_clock]) {
            clock.suspend(span);
        }
        self.observer.slept(span);
    }

    pub(crate) fn ambush(&self, node: usize, point: Point, what: Ambush) {
        self.slots[node].ambushes.lock().push((point, what));
    }

    pub(crate) fn spoil(&self, node: usize, write: Write) {
        self.slots[node].writes.lock().push_back(write);
    }

    pub(crate) fn spoil_commit(&self, node: usize, write: Write, then: (Point, Ambush)) {
        let commit = Commit { write, then };
        self.slots[node].commits.lock().push_back(commit);
    }

    /// Heals all faults, and starts every instance that is down.
    pub(crate) fn heal(&self) {
        self.note(|| "everything heals".to_owned());
        *self.storage.is_down.lock() = false;
        *self.storage.latency.lock() = Duration::from_millis(self.scenario.store_latency_ms);
        self.storage.cut_off.send_replace(Vec::new());
        *self.line.is_down.lock() = false;
        *self.line.outage.lock() = None;
        self.line.answers.lock().clear();
        for (node, slot) in self.slots.iter().enumerate() {
            slot.ambushes.lock().clear();
            slot.writes.lock().clear();
            slot.commits.lock().clear();
            self.start(node);
        }
        for gate in self.gates.lock().iter() {
            gate.set_panics(false);
            gate.set(Mode::Runs);
        }
    }

    /// Callers no longer use any instance.
    pub(crate) fn close(&self) {
        *self.is_closed.lock() = true;
        for slot in &self.slots {
            slot.node.lock().take();
        }
        for gate in self.gates.lock().iter() {
            gate.set(Mode::Gone);
        }
    }
}

/// Checks that an instance reports an end once.
async fn listen(manager: TokenManager, gate: Arc<Gate>) {
    let mut events = manager.subscribe();
    let (id, observer) = (gate.id, &gate.observer);
    drop(manager);
    let mut ended = None;
    let mut begun = 0;
    while let Some(event) = events.recv().await {
        if let Some(lacking) = reasons::lacking_in_event(&event) {
            observer.violation(format!("O9 {id}: {lacking}"));
        }
        match event {
            Event::Ended { reason, .. } => {
                observer.note(|| format!("{id} reports the end: {reason}"));
                let begins = observer.log().begins;
                if ended.as_ref() == Some(&reason) && begins == begun {
                    observer.violation(format!("O5 {id} reports an end twice: {reason}"));
                }
                (ended, begun) = (Some(reason), begins);
            }
            Event::Rotated { .. } | Event::Adopted { .. } | Event::Replaced { .. } => ended = None,
            _ => {}
        }
    }
}
