//! Instances are alike: two worlds that differ only in which is which are one state.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::instance::{Chore, Instance, Phase};
use crate::row::{Mark, Row};
use crate::world::World;

/// Starts of one process that are told apart.
pub const LIVES: u8 = 8;

impl World {
    /// The world with its instances in an order that depends on what they do, as far as that goes.
    pub fn representative(mut self) -> Self {
        let mut order: Vec<usize> = (0..self.instances.len()).collect();
        order.sort_by_cached_key(|at| self.name(*at));
        if order.is_sorted() {
            return self;
        }
        let mut places = vec![0; order.len()];
        for (place, at) in order.iter().enumerate() {
            places[*at] = u8::try_from(place).expect("few");
        }
        self.instances = order.iter().map(|at| self.instances[*at].clone()).collect();
        let mut rename = |row: &mut Row| {
            if let Some(claim) = &mut row.claim {
                claim.owner =
                    places[usize::from(claim.owner / LIVES)] * LIVES + claim.owner % LIVES;
            }
        };
        let rows = self
            .store
            .iter_mut()
            .chain(&mut self.past)
            .chain(&mut self.late);
        rows.for_each(&mut rename);
        for instance in &mut self.instances {
            instance.each_row(&mut rename);
        }
        self
    }

    /// What tells an instance from the others, without its place.
    fn name(&self, at: usize) -> u64 {
        let mut instance = self.instances[at].clone();
        let anonymous = |claim: &mut Mark| {
            let is_its_own = usize::from(claim.owner / LIVES) == at;
            claim.owner = if is_its_own {
                claim.owner % LIVES
            } else {
                LIVES
            };
        };
        instance.each_row(&mut |row| row.claim.iter_mut().for_each(anonymous));
        let mut hasher = DefaultHasher::new();
        instance.hash(&mut hasher);
        let rows = self.store.iter().chain(&self.past).chain(&self.late);
        for mut claim in rows.filter_map(|row| row.claim) {
            anonymous(&mut claim);
            claim.hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl Instance {
    /// Every record in its hands.
    pub(crate) fn each_row(&mut self, change: &mut impl FnMut(&mut Row)) {
        for rotation in &mut self.rotations {
            match &mut rotation.phase {
                Phase::Look | Phase::Wait { .. } => {}
                Phase::Bring(write) | Phase::Clear(write) | Phase::Claim { write, .. } => {
                    change(&mut write.next);
                }
                Phase::Send(claimed)
                | Phase::Sent(claimed, _)
                | Phase::Refused(claimed)
                | Phase::RefusedWait { claimed, .. }
                | Phase::Release { claimed, .. } => change(&mut claimed.record),
                Phase::Doubt(claimed, write) | Phase::Reject(claimed, write) => {
                    change(&mut claimed.record);
                    change(&mut write.next);
                }
                Phase::Land(unstored) => unstored.seen.iter_mut().for_each(&mut *change),
            }
        }
        for chore in &mut self.chores {
            match chore {
                Chore::LeaveSwap { write, .. }
                | Chore::Clear(write)
                | Chore::ReplaceSwap { write, .. } => change(&mut write.next),
                Chore::Leave { .. } | Chore::Replace { .. } => {}
            }
        }
    }
}
