//! One call of one instance, and the answer of the store or the server.

use crate::config::Config;
use crate::instance::{Instance, Phase, Rotation, Write};
use crate::notes;
use crate::row::{Held, Row};
use crate::server::Answer;
use crate::symmetry::LIVES;
use crate::world::World;

/// The outcome of a call of the store or the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Good,
    /// The store does not answer, and has done nothing.
    Failed,
    /// The store does not answer, and has written.
    Ambiguous,
    /// The store does not answer, and writes later unless another swap comes first.
    Late,
}

/// The answer to a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    Swapped,
    Lost,
    Error,
}

/// One step of one instance.
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

    /// Ends the rotation. The instance first releases a lease whose request has ended.
    pub fn finish(&mut self) {
        if self.me().unclear.is_some() {
            self.go(Phase::ReleaseUnclear);
        } else {
            self.gone();
        }
    }

    /// The waiters have an answer, and the rotation is gone.
    pub fn gone(&mut self) {
        let rotation = self.rotation;
        self.me().rotations.remove(rotation);
    }

    /// An owner of this instance that no lease uses.
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
        notes::held(self.world, self.instance, held);
    }
}

impl Config {
    pub(crate) fn turn<'a>(
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
    pub(crate) fn step(&mut self) {
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

    pub(crate) fn deliver(&mut self) {
        if let Phase::Sent(leased, None) = self.rotation().phase {
            let server = self.config.server;
            let answer = server.exchange(&mut self.world.truths, leased.token());
            self.go(Phase::Sent(leased, Some(answer)));
        }
    }

    pub(crate) fn read(&mut self) {
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
