//! The state of the model: the store, the server and all instances, and how time passes.

use crate::config::{Config, Faults};
use crate::instance::{Instance, Phase, Rotation};
use crate::notes::{self, Flaw};
use crate::row::{Held, Row, Status, Token};
use crate::server::{Truth, Truths, issue};
use crate::symmetry::LIVES;

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Option<Row>,
    /// The records that a failover may bring back, oldest first.
    pub past: Vec<Row>,
    /// Swaps that the store has yet to make, and for which no instance waits any more.
    pub late: Vec<Row>,
    pub truths: Truths,
    /// The tokens of requests that the server may yet handle, and for which no instance waits.
    pub pending: Vec<Token>,
    /// Families in the order in which the store first held them.
    pub order: Vec<u8>,
    /// The owners of leases whose holder has died, a bit each, if the store proves deaths.
    pub dead: u64,
    pub instances: Vec<Instance>,
    /// The faults that may still occur.
    pub faults: Faults,
    pub logouts: u8,
    pub sign_ins: u8,
    /// The causes of a loss that have occurred: bits of [`notes::Cause`].
    pub causes: u8,
    /// The flaws that have occurred: bits of [`Flaw`].
    pub flaws: u16,
}

/// From how many records a failover can choose.
const PAST: usize = 2;

impl Config {
    pub fn canonical(&self, mut row: Row) -> Row {
        if let Some(lease) = &mut row.lease {
            lease.age = lease.age.min(lease.duration.max(self.longest()));
        }
        row
    }

    /// The world one tick later. `None` if the tick changes nothing, or a request must be handled first.
    pub(crate) fn tick(&self, world: &World) -> Option<World> {
        let is_under_way = (0..).zip(&world.instances).any(|(at, instance)| {
            let window: u8 = self.send_windows[at];
            let is_old = |it: &Rotation| matches!(it.phase, Phase::Sent(leased, None) if leased.age >= window);
            instance.rotations.iter().any(is_old)
        });
        let next = world.ticked(self);
        (!is_under_way && next != *world).then_some(next)
    }

    /// Whether an instance waits for a time that never comes.
    pub fn is_stuck(&self, world: &World) -> bool {
        let mut actions = Vec::new();
        world.progress(&mut actions);
        actions.is_empty() && world.an_actor_waits_for_time() && self.tick(world).is_none()
    }

    fn older(&self, row: &mut Row) {
        if let Some(lease) = &mut row.lease {
            lease.age += 1;
        }
        row.pause = row.pause.saturating_sub(1);
        *row = self.canonical(*row);
    }
}

impl World {
    pub(crate) fn new(config: &Config) -> Self {
        let mut truths = Truths::new();
        let token = issue(&mut truths, 0, None);
        let row = Row {
            family: 0,
            version: 1,
            token: Some(token),
            state: Status::Active,
            lease: None,
            pause: 0,
            sign_ins: 0,
            next_number: 1,
            committed_number: 0,
            retired: 0,
        };
        let first = Instance::new(Some(Held::of(&row, token)), config.rotations);
        let mut instances = vec![first; config.instances.into()];
        if config.clones {
            instances[1] = Instance {
                life: None,
                starts: 0,
                ..Instance::new(None, 0)
            };
        }
        Self {
            store: Some(row),
            past: Vec::new(),
            late: Vec::new(),
            truths,
            pending: Vec::new(),
            order: vec![0],
            dead: 0,
            instances,
            faults: config.faults,
            logouts: config.logouts,
            sign_ins: config.sign_ins,
            causes: 0,
            flaws: 0,
        }
    }

    /// The instance no longer waits for its requests, and the server may yet handle them.
    pub(crate) fn leave_pending(&mut self, at: usize) {
        for rotation in &self.instances[at].rotations {
            if let Phase::Sent(leased, None) = rotation.phase {
                self.pending.push(leased.token());
            }
        }
        self.pending.sort_unstable();
    }

    /// The leases of this instance are known to belong to a dead process.
    pub(crate) fn bury(&mut self, at: usize) {
        let mut dead = self.dead;
        self.each_name(&mut |name| {
            if usize::from(name.owner / LIVES) == at {
                dead |= 1 << name.owner;
            }
        });
        self.dead = dead;
    }

    pub fn flaw(&mut self, flaw: Flaw) {
        self.flaws |= 1 << flaw as u16;
    }

    /// The store now holds another record.
    pub(crate) fn replace(&mut self, config: &Config, next: Row) {
        if !self.order.contains(&next.family) {
            self.order.push(next.family);
        }
        notes::replaced(self, config, &next);
        if self.faults.failovers > 0 {
            self.past.extend(self.store);
            if self.past.len() > PAST {
                self.past.remove(0);
            }
        }
        self.set(Some(next));
    }

    pub(crate) fn set(&mut self, next: Option<Row>) {
        self.store = next;
        // Swaps on their way are based on a record that is gone.
        self.late.clear();
        for instance in &mut self.instances {
            instance.store_changed();
        }
    }

    pub(crate) fn ticked(&self, config: &Config) -> Self {
        let mut next = self.clone();
        let age = |row: &mut Row| config.older(row);
        next.rows_mut().for_each(age);
        for (instance, window) in next.instances.iter_mut().zip(config.send_windows) {
            instance.tick(&age, window);
        }
        for truth in &mut next.truths {
            truth.used = truth.used.map(|age| (age + 1).min(config.server.grace));
        }
        next
    }

    /// The record in the store, and those that it may hold later.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.store
            .iter_mut()
            .chain(&mut self.past)
            .chain(&mut self.late)
    }

    /// The position of the family among the sign-ins that the store has held.
    pub fn nth(&self, family: u8) -> usize {
        let at = self.order.iter().position(|it| *it == family);
        at.unwrap_or(self.order.len())
    }

    pub fn truth(&self, token: Token) -> &Truth {
        &self.truths[usize::from(token)]
    }

    pub fn token(&self) -> Option<Token> {
        self.store.and_then(|row| row.token)
    }

    fn an_actor_waits_for_time(&self) -> bool {
        let live = self.instances.iter().filter(|it| it.life.is_some());
        live.flat_map(|it| &it.rotations).any(|rotation| {
            matches!(
                rotation.phase,
                Phase::Wait { fresh: true, .. }
                    | Phase::Pause { fresh: true, .. }
                    | Phase::RefusedWait { fresh: true, .. }
            )
        })
    }

    /// Whether nothing happens until a caller asks or a fault occurs.
    pub fn is_quiet(&self) -> bool {
        let mut actions = Vec::new();
        self.progress(&mut actions);
        actions.is_empty() && !self.an_actor_waits_for_time()
    }
}
