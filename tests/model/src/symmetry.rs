//! Instances are alike: two worlds that differ only in the order of their instances are one state.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::instance::{Chore, Instance, Phase};
use crate::row::{Name, Row};
use crate::world::World;

/// How many leases of one instance can be distinguished at a time.
pub const LIVES: u8 = 8;

/// An owner of an unspecified instance.
const ANOTHERS: u8 = LIVES;

impl World {
    /// The world with its instances in an order that depends on their state, as far as their states differ.
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
        let rename = |owner: u8| places[usize::from(owner / LIVES)] * LIVES + owner % LIVES;
        self.dead = renamed(self.dead, |owner| Some(rename(owner)));
        self.each_name(&mut |name| name.owner = rename(name.owner));
        self
    }

    /// Visits every lease that is named in the world.
    pub(crate) fn each_name(&mut self, change: &mut impl FnMut(&mut Name)) {
        self.rows_mut().for_each(|row| row.each_name(change));
        for instance in &mut self.instances {
            instance.each_name(change);
        }
    }

    /// Forgets leases that no record shows now or later, and renames the others to the lowest free names.
    pub(crate) fn forget(&mut self) {
        let mut shown = Vec::new();
        let mut note = |row: &mut Row| shown.extend(row.lease.map(|lease| lease.name));
        self.rows_mut().for_each(&mut note);
        for instance in &mut self.instances {
            instance.each_row(&mut note);
        }
        for instance in &mut self.instances {
            instance.unsent.retain(|lease| shown.contains(lease));
            instance.unsent.sort_unstable();
            instance.slept &= !instance.unsent.is_empty();
            instance
                .unclear
                .take_if(|unclear| !shown.contains(&unclear.name));
        }
        let mut names = [None; 64];
        let mut taken = [0; 8];
        self.each_name(&mut |name| {
            let place = usize::from(name.owner / LIVES);
            name.owner = *names[usize::from(name.owner)].get_or_insert_with(|| {
                let first = name.owner / LIVES * LIVES + taken[place];
                taken[place] += 1;
                first
            });
        });
        self.dead = renamed(self.dead, |owner| names[usize::from(owner)]);
    }

    /// A hash that distinguishes an instance from the others, without its place.
    fn name(&self, at: usize) -> u64 {
        let mut instance = self.instances[at].clone();
        let anonymous = |name: &mut Name| {
            let is_its_own = usize::from(name.owner / LIVES) == at;
            name.owner = match is_its_own {
                true => name.owner % LIVES,
                false => ANOTHERS,
            };
        };
        instance.each_name(&mut |name| anonymous(name));
        let mut hasher = DefaultHasher::new();
        instance.hash(&mut hasher);
        let rows = self.store.iter().chain(&self.past).chain(&self.late);
        for mut lease in rows.filter_map(|row| row.lease) {
            anonymous(&mut lease.name);
            lease.hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// The owners of this set by their new names. Owners without a new name are dropped.
fn renamed(owners: u64, rename: impl Fn(u8) -> Option<u8>) -> u64 {
    let named = (0..64).filter(|owner| owners & (1 << owner) != 0);
    named
        .filter_map(rename)
        .fold(0, |all, owner| all | 1 << owner)
}

impl Row {
    fn each_name(&mut self, change: &mut impl FnMut(&mut Name)) {
        self.lease
            .iter_mut()
            .for_each(|lease| change(&mut lease.name));
    }
}

impl Instance {
    /// Visits every lease that is named in the memory of the instance.
    pub(crate) fn each_name(&mut self, change: &mut impl FnMut(&mut Name)) {
        self.each_row(&mut |row| row.each_name(change));
        self.unsent
            .iter_mut()
            .chain(self.unclear.iter_mut().map(|unclear| &mut unclear.name))
            .for_each(&mut *change);
        for rotation in &mut self.rotations {
            match &mut rotation.phase {
                Phase::Yield(name, _) | Phase::ReleaseUnclearSwap(name, _) => change(name),
                Phase::Commit(unstored) => change(&mut unstored.name),
                phase => phase
                    .leased()
                    .into_iter()
                    .for_each(|leased| change(&mut leased.name)),
            }
        }
    }

    /// Visits every record in the memory of the instance.
    pub(crate) fn each_row(&mut self, change: &mut impl FnMut(&mut Row)) {
        for rotation in &mut self.rotations {
            let phase = &mut rotation.phase;
            if let Phase::Commit(unstored) = phase {
                unstored.seen.iter_mut().for_each(&mut *change);
            }
            if let Some(leased) = phase.leased() {
                change(&mut leased.record);
            }
            if let Some(write) = phase.write() {
                change(&mut write.next);
            }
        }
        for write in self.chores.iter_mut().filter_map(Chore::write) {
            change(&mut write.next);
        }
    }
}
