//! Everything at once, and what can happen next.

use stateright::{Model, Property};

use crate::config::{Config, Faults};
use crate::instance::{Instance, Phase, Rotation, Write};
use crate::property::{self, Flaw};
use crate::row::{By, Held, Row, Status, Token};
use crate::server::{Answer, Truths, issue};
use crate::symmetry::LIVES;

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Option<Row>,
    /// What a failover may bring back, oldest first.
    pub past: Vec<Row>,
    /// Swaps that nobody waits for any more and that the store has yet to make.
    pub late: Vec<Row>,
    pub truths: Truths,
    /// The tokens of requests that no instance waits for and that the server may yet handle.
    pub pending: Vec<Token>,
    /// Families in the order in which the store has taken them first.
    pub order: Vec<u8>,
    /// The owners of leases whose holder has died, a bit each, where that shows.
    pub dead: u64,
    pub instances: Vec<Instance>,
    /// What may still go wrong.
    pub faults: Faults,
    pub logouts: u8,
    pub sign_ins: u8,
    /// Why a session may be lost, as far as that has happened: bits of [`property::Cause`].
    pub causes: u8,
    /// What must not happen and has: bits of [`Flaw`].
    pub flaws: u16,
}

/// How a call of the store or the server goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Good,
    /// The store does not answer, and has done nothing.
    Failed,
    /// It does not answer, and has written.
    Ambiguous,
    /// It does not answer, and is going to write unless somebody else does before.
    Late,
}

/// A transition of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Somebody needs a newer pair.
    Demand(usize),
    /// The rotation of an instance makes its next call.
    Step(usize, usize, Outcome),
    /// The server handles a request.
    Deliver(usize, usize),
    /// The answer is read.
    Read(usize, usize),
    /// Nobody reads it.
    Unread(usize, usize),
    /// The request is lost, and nobody knows.
    Undelivered(usize, usize),
    /// The request is known not to have spent the token.
    NotSent(usize, usize),
    /// The client gives up, and the server may handle the request later.
    GiveUp(usize, usize),
    /// The server handles such a request.
    Arrive(usize),
    /// A gateway answers, and the server has handled the request or never gets it.
    Page(usize, usize),
    /// No caller needs the token any more.
    Abandon(usize, usize),
    /// The first instance is copied. Of a lease that is being written the copy hears nothing, or it writes it
    /// once more.
    Clone {
        again: bool,
    },
    LogOut(usize),
    SignIn(usize),
    /// A task of the user's makes its next call.
    Chore(usize, Outcome),
    Crash(usize),
    /// The same, and the server may handle its requests later.
    CrashLate(usize),
    Start(usize),
    LateSwap(usize),
    /// The store takes this record from its past, or none.
    Failover(usize),
    Tick,
}

/// The answer to a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    Swapped,
    Lost,
    Error,
}

/// How many records a failover can choose from.
const PAST: usize = 2;

/// One instance's step.
pub struct Turn<'a> {
    pub config: &'a Config,
    pub world: &'a mut World,
    pub instance: usize,
    pub rotation: usize,
    pub outcome: Outcome,
}

impl Turn<'_> {
    pub fn me(&mut self) -> &mut Instance {
        &mut self.world.instances[self.instance]
    }

    pub fn rotation(&mut self) -> &mut Rotation {
        let rotation = self.rotation;
        &mut self.me().rotations[rotation]
    }

    pub fn go(&mut self, phase: Phase) {
        self.rotation().phase = phase;
    }

    /// The rotation is over. A lease whose request is over is let go first.
    pub fn finish(&mut self) {
        if self.me().unclear.is_some() {
            self.go(Phase::ReleaseUnclear);
        } else {
            self.gone();
        }
    }

    /// Whoever waited has an answer.
    pub fn gone(&mut self) {
        let rotation = self.rotation;
        self.me().rotations.remove(rotation);
    }

    /// An owner of this instance that no lease has.
    pub fn draw(&mut self) -> u8 {
        let mut used = self.world.dead;
        self.world
            .clone()
            .each_name(&mut |name| used |= 1 << name.owner);
        let first = u8::try_from(self.instance).expect("few") * LIVES;
        (first..first + LIVES)
            .find(|owner| used & (1 << owner) == 0)
            .expect("few leases at a time")
    }

    pub fn write(&self, next: &crate::record::Record, fresh: bool) -> Write {
        let next = self.config.canonical(Row::of(next));
        Write { next, fresh }
    }

    pub fn swap(&mut self, write: Write) -> Swap {
        if self.outcome != Outcome::Good {
            self.world.faults.store -= 1;
        }
        match self.outcome {
            Outcome::Good if !write.fresh => Swap::Lost,
            Outcome::Good => {
                self.world.replace(self.config, write.next);
                Swap::Swapped
            }
            Outcome::Failed => Swap::Error,
            Outcome::Ambiguous => {
                self.world.replace(self.config, write.next);
                Swap::Error
            }
            Outcome::Late => {
                self.world.late.push(write.next);
                Swap::Error
            }
        }
    }

    /// Whether a load fails.
    pub fn load_fails(&mut self) -> bool {
        let fails = self.outcome != Outcome::Good;
        self.world.faults.store -= u8::from(fails);
        fails
    }

    pub fn hold(&mut self, held: Held) -> bool {
        let may = self.me().may_hold();
        if may {
            self.notice_held(held);
            self.me().begin(held);
        }
        may
    }

    pub fn notice_held(&mut self, held: Held) {
        property::held(self.world, self.instance, held);
    }
}

impl Config {
    pub fn canonical(&self, mut row: Row) -> Row {
        if let Some(lease) = &mut row.lease {
            lease.age = lease.age.min(lease.duration.max(self.longest()));
        }
        row
    }

    /// One tick later; `None` if nothing is told apart by it, or a request has to get through before.
    fn tick(&self, world: &World) -> Option<World> {
        let is_under_way = (0..).zip(&world.instances).any(|(at, instance)| {
            let window: u8 = self.send_windows[at];
            let is_old = |it: &Rotation| matches!(it.phase, Phase::Sent(leased, None) if leased.age >= window);
            instance.rotations.iter().any(is_old)
        });
        let next = world.ticked(self);
        (!is_under_way && next != *world).then_some(next)
    }

    /// Somebody waits for a time that does not come.
    pub fn is_stuck(&self, world: &World) -> bool {
        let mut actions = Vec::new();
        world.progress(&mut actions);
        actions.is_empty() && world.somebody_waits_for_time() && self.tick(world).is_none()
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
    fn new(config: &Config) -> Self {
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
        let held = Held {
            family: 0,
            version: 1,
            token,
            number: 0,
            sign_ins: 0,
        };
        let mut instances =
            vec![Instance::new(Some(held), config.rotations); config.instances.into()];
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

    /// Nobody waits for the requests of this instance any more, and the server may yet handle them.
    fn leave_pending(&mut self, at: usize) {
        let sent =
            self.instances[at]
                .rotations
                .iter()
                .filter_map(|rotation| match rotation.phase {
                    Phase::Sent(leased, None) => Some(leased.token()),
                    _ => None,
                });
        self.pending.extend(sent);
        self.pending.sort_unstable();
    }

    /// The leases of this instance are known to be those of a dead process.
    fn bury(&mut self, at: usize) {
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

    /// The store has another record now.
    fn replace(&mut self, config: &Config, next: Row) {
        if !self.order.contains(&next.family) {
            self.order.push(next.family);
        }
        property::replaced(self, config, &next);
        if self.faults.failovers > 0 {
            self.past.extend(self.store);
            if self.past.len() > PAST {
                self.past.remove(0);
            }
        }
        self.set(Some(next));
    }

    fn set(&mut self, next: Option<Row>) {
        self.store = next;
        // Whatever was on its way was made from what is gone.
        self.late.clear();
        for instance in &mut self.instances {
            instance.store_changed();
        }
    }

    fn ticked(&self, config: &Config) -> Self {
        let mut next = self.clone();
        let age = |row: &mut Row| config.older(row);
        for row in next
            .store
            .iter_mut()
            .chain(&mut next.past)
            .chain(&mut next.late)
        {
            age(row);
        }
        for (instance, window) in next.instances.iter_mut().zip(config.send_windows) {
            instance.tick(&age, window);
        }
        for truth in &mut next.truths {
            truth.used = truth.used.map(|age| (age + 1).min(config.server.grace));
        }
        next
    }

    /// Which of the sign-ins that the store has seen it was.
    pub fn nth(&self, family: u8) -> usize {
        let at = self.order.iter().position(|it| *it == family);
        at.unwrap_or(self.order.len())
    }

    pub fn token(&self) -> Option<Token> {
        self.store.and_then(|row| row.token)
    }

    /// What goes on by itself: whoever is not stopped does these sooner or later.
    fn progress(&self, actions: &mut Vec<Action>) {
        for (at, instance) in self.instances.iter().enumerate() {
            if instance.life.is_none() {
                continue;
            }
            for (number, rotation) in instance.rotations.iter().enumerate() {
                match rotation.phase {
                    Phase::Wait { fresh: true, left }
                    | Phase::Pause { fresh: true, left }
                    | Phase::RefusedWait {
                        fresh: true, left, ..
                    } if left > 0 => {}
                    Phase::Sent(_, None) => actions.push(Action::Deliver(at, number)),
                    Phase::Sent(_, Some(_)) => actions.push(Action::Read(at, number)),
                    _ => actions.push(Action::Step(at, number, Outcome::Good)),
                }
            }
            if !instance.chores.is_empty() {
                actions.push(Action::Chore(at, Outcome::Good));
            }
        }
    }

    fn somebody_waits_for_time(&self) -> bool {
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

    /// Nothing goes on unless somebody asks for something, or something goes wrong.
    pub fn is_quiet(&self) -> bool {
        let mut actions = Vec::new();
        self.progress(&mut actions);
        actions.is_empty() && !self.somebody_waits_for_time()
    }

    fn store_faults(&self, actions: &mut Vec<Action>) {
        if self.faults.store == 0 {
            return;
        }
        const ALL: [Outcome; 3] = [Outcome::Failed, Outcome::Ambiguous, Outcome::Late];
        for (at, instance) in self.instances.iter().enumerate() {
            if instance.life.is_none() {
                continue;
            }
            for (number, rotation) in instance.rotations.iter().enumerate() {
                for outcome in outcomes(&rotation.phase)
                    .iter()
                    .flat_map(|count| &ALL[..*count])
                {
                    actions.push(Action::Step(at, number, *outcome));
                }
            }
            if let Some(chore) = instance.chores.first() {
                for outcome in &ALL[..crate::user::outcomes(chore)] {
                    actions.push(Action::Chore(at, *outcome));
                }
            }
        }
    }
}

/// How many of the ways in which a store can fail matter for the call: none, failing, or all.
fn outcomes(phase: &Phase) -> Option<usize> {
    let swap = |fresh: bool| Some(if fresh { 3 } else { 1 });
    match phase {
        Phase::Reconciled | Phase::Refused(_) | Phase::ReleaseUnclear => Some(1),
        Phase::Bring(write)
        | Phase::Lease { write, .. }
        | Phase::Yield(_, write)
        | Phase::ReleaseUnclearSwap(_, write)
        | Phase::Clear(write) => swap(write.fresh),
        Phase::Doubt(_, write) | Phase::Reject(_, write) => swap(write.fresh),
        Phase::Release { leased, .. } => swap(leased.fresh),
        Phase::Commit(unstored) => swap(unstored.fresh),
        Phase::Wait { .. }
        | Phase::Pause { .. }
        | Phase::RefusedWait { .. }
        | Phase::Send(_)
        | Phase::Sent(..) => None,
    }
}

impl Model for Config {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let faults = &world.faults;
        world.progress(actions);
        let runs = !actions.is_empty();
        world.store_faults(actions);
        for (at, instance) in world.instances.iter().enumerate() {
            if instance.life.is_none() {
                if instance.demands > 0 {
                    actions.push(Action::Start(at));
                }
                continue;
            }
            // A process that dies with nothing in hand matters only where the store may need what it holds.
            let is_idle = instance.rotations.is_empty() && instance.chores.is_empty();
            if faults.crashes > 0 && (!is_idle || self.faults.failovers > 0) {
                actions.push(Action::Crash(at));
                let is_sent = |it: &Rotation| matches!(it.phase, Phase::Sent(_, None));
                if faults.late > 0 && instance.rotations.iter().any(is_sent) {
                    actions.push(Action::CrashLate(at));
                }
            }
            if instance.demands > 0 && !instance.waits() {
                actions.push(Action::Demand(at));
            }
            if world.logouts > 0 {
                actions.push(Action::LogOut(at));
            }
            if world.sign_ins > 0 {
                actions.push(Action::SignIn(at));
            }
            for (number, rotation) in instance.rotations.iter().enumerate() {
                match rotation.phase {
                    Phase::Sent(_, None) => {
                        if faults.undelivered > 0 {
                            actions.push(Action::Undelivered(at, number));
                        }
                        if faults.not_sent > 0 {
                            actions.push(Action::NotSent(at, number));
                        }
                        if faults.late > 0 {
                            actions.push(Action::GiveUp(at, number));
                        }
                    }
                    Phase::Sent(_, Some(_)) if faults.unread > 0 => {
                        actions.push(Action::Unread(at, number));
                    }
                    _ => {}
                }
                if faults.pages > 0 && matches!(rotation.phase, Phase::Sent(..)) {
                    actions.push(Action::Page(at, number));
                }
                let is_pausing = match rotation.phase {
                    Phase::Pause { .. } => true,
                    Phase::Reconciled => instance.unclear.is_some(),
                    _ => false,
                };
                if faults.deadlines > 0 && is_pausing && !rotation.orphan {
                    actions.push(Action::Abandon(at, number));
                }
            }
        }
        if self.clones && world.instances[1].starts == 0 {
            let original = &world.instances[0].rotations;
            let is_about_to_send = |it: &Rotation| matches!(it.phase, Phase::Send(_));
            let is_leasing = |it: &Rotation| matches!(it.phase, Phase::Lease { .. });
            if !original.iter().any(is_about_to_send) {
                actions.push(Action::Clone { again: false });
                // Where the original's swap fails, the copy's looks like one that it has made all the same.
                if original.iter().any(is_leasing) && self.faults.store == 0 {
                    actions.push(Action::Clone { again: true });
                }
            }
        }
        actions.extend((0..world.pending.len()).map(Action::Arrive));
        actions.extend((0..world.late.len()).map(Action::LateSwap));
        if faults.failovers > 0 {
            // The last one brings back nothing at all.
            actions.extend((0..=world.past.len()).map(Action::Failover));
        }
        if (!runs || faults.pauses > 0) && self.tick(world).is_some() {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Demand(at) => {
                let instance = &mut world.instances[at];
                instance.demands -= 1;
                instance.rotations.push(Rotation {
                    seen: instance.held.map(Held::pair_id),
                    fresh_start: instance.held.is_none(),
                    orphan: false,
                    attempt: None,
                    phase: Phase::Reconciled,
                });
            }
            Action::Step(at, number, outcome) => self.turn(&mut world, at, number, outcome).step(),
            Action::Deliver(at, number) => {
                self.turn(&mut world, at, number, Outcome::Good).deliver()
            }
            Action::Read(at, number) => self.turn(&mut world, at, number, Outcome::Good).read(),
            Action::Unread(at, number) => {
                world.faults.unread -= 1;
                let mut turn = self.turn(&mut world, at, number, Outcome::Good);
                property::unread(&mut turn);
                turn.unclear(By::Silence);
            }
            Action::Undelivered(at, number) => {
                world.faults.undelivered -= 1;
                let mut turn = self.turn(&mut world, at, number, Outcome::Good);
                property::unread(&mut turn);
                turn.unclear(By::Silence);
            }
            Action::NotSent(at, number) => {
                world.faults.not_sent -= 1;
                self.turn(&mut world, at, number, Outcome::Good).not_sent();
            }
            Action::GiveUp(at, number) => {
                world.faults.late -= 1;
                world.leave_pending(at);
                let mut turn = self.turn(&mut world, at, number, Outcome::Good);
                property::unread(&mut turn);
                turn.unclear(By::Silence);
            }
            Action::Arrive(at) => {
                let token = world.pending.remove(at);
                property::arrived(&mut world, token);
                self.server.exchange(&mut world.truths, token);
            }
            Action::Page(at, number) => {
                world.faults.pages -= 1;
                let mut turn = self.turn(&mut world, at, number, Outcome::Good);
                property::unavailable(&mut turn);
                turn.unclear(By::Unavailable);
            }
            Action::Abandon(at, number) => {
                world.faults.deadlines -= 1;
                self.turn(&mut world, at, number, Outcome::Good).finish();
            }
            Action::Clone { again } => {
                world.instances[1] = world.instances[0].clone();
                world.instances[1].slept = !world.instances[1].unsent.is_empty();
                for number in 0..world.instances[1].rotations.len() {
                    let mut turn = self.turn(&mut world, 1, number, Outcome::Good);
                    match turn.rotation().phase {
                        Phase::Sent(..) => turn.slept(),
                        Phase::Lease { .. } if !again => turn.failed(),
                        _ => {}
                    }
                }
            }
            Action::LogOut(at) => {
                world.logouts -= 1;
                world.instances[at].log_out();
            }
            Action::SignIn(at) => {
                world.sign_ins -= 1;
                let family = world.truths.iter().map(|it| it.family).max().unwrap_or(0) + 1;
                let token = issue(&mut world.truths, family, None);
                world.instances[at].sign_in(token);
            }
            Action::Chore(at, outcome) => self.turn(&mut world, at, 0, outcome).chore(),
            Action::Crash(at) | Action::CrashLate(at) => {
                world.faults.crashes -= 1;
                if matches!(action, Action::CrashLate(_)) {
                    world.faults.late -= 1;
                    world.leave_pending(at);
                }
                property::crashed(&mut world, at);
                if self.death_shows {
                    world.bury(at);
                }
                let instance = &mut world.instances[at];
                *instance = Instance {
                    life: None,
                    starts: instance.starts,
                    ..Instance::new(None, instance.demands)
                };
            }
            Action::Start(at) => {
                let instance = &mut world.instances[at];
                instance.life = Some(instance.starts);
                instance.starts += 1;
            }
            Action::LateSwap(at) => {
                let next = world.late[at];
                world.replace(self, next);
            }
            Action::Failover(at) => {
                world.faults.failovers -= 1;
                property::failed_over(&mut world);
                let next = world.past.get(at).copied();
                world.past.truncate(at);
                world.set(next);
                if world.faults.failovers == 0 {
                    world.past.clear();
                }
            }
            Action::Tick => {
                let mut actions = Vec::new();
                world.progress(&mut actions);
                world = world.ticked(self);
                world.faults.pauses -= u8::from(!actions.is_empty());
            }
        }
        let is_news = world != *last;
        world.forget();
        let world = if self.symmetric {
            world.representative()
        } else {
            world
        };
        is_news.then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::all(self)
    }
}

impl Config {
    fn turn<'a>(
        &'a self,
        world: &'a mut World,
        instance: usize,
        rotation: usize,
        outcome: Outcome,
    ) -> Turn<'a> {
        Turn {
            config: self,
            world,
            instance,
            rotation,
            outcome,
        }
    }
}

impl Turn<'_> {
    fn step(&mut self) {
        let phase = self.rotation().phase;
        match phase {
            Phase::Reconciled | Phase::Wait { .. } | Phase::Pause { .. } => self.reconcile(),
            Phase::Bring(write) => self.bring(write),
            Phase::Lease { write, age } => self.leased(write, age),
            Phase::Send(leased) => self.send(leased),
            Phase::Sent(..) => {}
            Phase::Doubt(leased, write) => self.doubted(leased, write),
            Phase::Yield(lease, write) => self.yielded(lease, write),
            Phase::Refused(leased) | Phase::RefusedWait { leased, .. } => self.refused(leased),
            Phase::Reject(leased, write) => self.reject(leased, write),
            Phase::Commit(unstored) => self.persist(unstored),
            Phase::Release {
                leased,
                tried,
                failed,
            } => self.release(leased, tried, failed),
            Phase::ReleaseUnclear => self.release_unclear(),
            Phase::ReleaseUnclearSwap(lease, write) => self.release_unclear_swap(lease, write),
            Phase::Clear(write) => {
                self.swap(write);
                self.finish();
            }
        }
    }

    fn deliver(&mut self) {
        if let Phase::Sent(leased, None) = self.rotation().phase {
            let server = self.config.server;
            let answer = server.exchange(&mut self.world.truths, leased.token());
            self.go(Phase::Sent(leased, Some(answer)));
        }
    }

    fn read(&mut self) {
        match self.rotation().phase {
            Phase::Sent(leased, Some(Answer::Issued(token))) => {
                self.me().answered |= 1 << leased.token();
                self.commit(leased, token);
            }
            Phase::Sent(leased, Some(Answer::Rejected)) => {
                self.me().answered |= 1 << leased.token();
                self.go(Phase::Refused(leased));
            }
            _ => {}
        }
    }
}
