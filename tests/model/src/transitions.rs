//! The transitions of the model: what can happen next, and which world results.

use stateright::{Model, Property};

use crate::config::Config;
use crate::instance::{Instance, Phase, Rotation};
use crate::row::{By, Held};
use crate::server::issue;
use crate::turn::Outcome;
use crate::world::World;
use crate::{notes, property};

/// A transition of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A caller needs a newer pair.
    Demand(usize),
    /// The rotation of an instance makes its next call.
    Step(usize, usize, Outcome),
    /// The server handles a request.
    Deliver(usize, usize),
    /// The instance reads the answer.
    Read(usize, usize),
    /// The answer is lost.
    Unread(usize, usize),
    /// The request is lost, and no instance knows that.
    Undelivered(usize, usize),
    /// The instance knows that the request has not spent the token.
    NotSent(usize, usize),
    /// The client gives up, and the server may handle the request later.
    GiveUp(usize, usize),
    /// The server handles a request whose client has given up.
    Arrive(usize),
    /// A gateway answers, and the server has handled the request or never gets it.
    Page(usize, usize),
    /// The last caller leaves the rotation.
    Abandon(usize, usize),
    /// The first instance is copied. The copy does not learn the result of a lease that is being written, or it writes
    /// the lease once more.
    Clone {
        again: bool,
    },
    LogOut(usize),
    SignIn(usize),
    /// A task of the user makes its next call.
    Chore(usize, Outcome),
    Crash(usize),
    /// The instance dies, and the server may handle its requests later.
    CrashLate(usize),
    Start(usize),
    LateSwap(usize),
    /// The store falls back to this earlier record, or to none.
    Failover(usize),
    Tick,
}

impl World {
    /// The steps that an instance takes by itself, sooner or later, unless it is stopped.
    pub(crate) fn progress(&self, actions: &mut Vec<Action>) {
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

    pub(crate) fn store_faults(&self, actions: &mut Vec<Action>) {
        if self.faults.store == 0 {
            return;
        }
        for (at, instance) in self.instances.iter().enumerate() {
            if instance.life.is_none() {
                continue;
            }
            for (number, rotation) in instance.rotations.iter().enumerate() {
                for outcome in outcomes(rotation.phase) {
                    actions.push(Action::Step(at, number, *outcome));
                }
            }
            if let Some(mut chore) = instance.chores.first().copied() {
                for outcome in failures(chore.write().is_some_and(|write| write.fresh)) {
                    actions.push(Action::Chore(at, *outcome));
                }
            }
        }
    }
}

/// The failures of the store that matter for the call: none of them, the plain failure, or all.
fn outcomes(mut phase: Phase) -> &'static [Outcome] {
    if let Some(write) = phase.write() {
        return failures(write.fresh);
    }
    let is_fresh = match phase {
        Phase::Release { leased, .. } => leased.fresh,
        Phase::Commit(unstored) => unstored.fresh,
        Phase::Reconciled | Phase::Refused(_) | Phase::ReleaseUnclear => false,
        _ => return &[],
    };
    failures(is_fresh)
}

fn failures(is_fresh: bool) -> &'static [Outcome] {
    match is_fresh {
        true => &[Outcome::Failed, Outcome::Ambiguous, Outcome::Late],
        false => &[Outcome::Failed],
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
            // The death of a process that holds nothing matters only when the store may need the memory of that
            // process.
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
                // When the swap of the original fails, the swap of the copy looks like one that the original has made
                // all the same.
                if original.iter().any(is_leasing) && self.faults.store == 0 {
                    actions.push(Action::Clone { again: true });
                }
            }
        }
        actions.extend((0..world.pending.len()).map(Action::Arrive));
        actions.extend((0..world.late.len()).map(Action::LateSwap));
        if faults.failovers > 0 {
            // The last choice is a store without a record.
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
            Action::Unread(at, number)
            | Action::Undelivered(at, number)
            | Action::GiveUp(at, number) => {
                match action {
                    Action::Unread(..) => world.faults.unread -= 1,
                    Action::Undelivered(..) => world.faults.undelivered -= 1,
                    _ => {
                        world.faults.late -= 1;
                        world.leave_pending(at);
                    }
                }
                let mut turn = self.turn(&mut world, at, number, Outcome::Good);
                notes::unread(&mut turn);
                turn.unclear(By::Silence);
            }
            Action::NotSent(at, number) => {
                world.faults.not_sent -= 1;
                self.turn(&mut world, at, number, Outcome::Good).not_sent();
            }
            Action::Arrive(at) => {
                let token = world.pending.remove(at);
                notes::arrived(&mut world, token);
                self.server.exchange(&mut world.truths, token);
            }
            Action::Page(at, number) => {
                world.faults.pages -= 1;
                let mut turn = self.turn(&mut world, at, number, Outcome::Good);
                notes::unavailable(&mut turn);
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
                notes::crashed(&mut world, at);
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
                notes::failed_over(&mut world);
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
