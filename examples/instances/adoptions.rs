//! How long it took until a pair that one instance had committed was another's. It reads no clock.

use std::collections::{HashMap, HashSet};

use crate::message::Micros;

#[derive(Debug)]
struct Adoption {
    version: u64,
    at: Micros,
    /// The other instance could not have it before: it had not begun to look, or was stopped.
    from: Micros,
}

#[derive(Debug, Default)]
pub(crate) struct Adoptions {
    committed: HashMap<u64, Micros>,
    /// The pairs of sign-ins: they came from elsewhere.
    signed_in: HashSet<u64>,
    adopted: Vec<Adoption>,
    /// By instance.
    resumed: HashMap<u64, Micros>,
}

impl Adoptions {
    /// It is there, as the one says who committed it, or somebody who looked: a store may show what it has before
    /// its answer is there.
    pub(crate) fn committed(&mut self, version: u64, at: Micros) {
        let first = self.committed.entry(version).or_insert(at);
        *first = at.min(*first);
    }

    /// No instance committed this one.
    pub(crate) fn signed_in(&mut self, version: u64) {
        self.signed_in.insert(version);
    }

    /// An instance that had been looking for so long has it.
    pub(crate) fn adopted(&mut self, instance: u64, version: u64, at: Micros, waited: Micros) {
        let resumed = self.resumed.get(&instance).copied().unwrap_or_default();
        let began = at.saturating_sub(waited);
        // One that was stopped once it had it is told of late.
        let from = began.max(
            Some(resumed)
                .filter(|resumed| *resumed <= at)
                .unwrap_or_default(),
        );
        self.adopted.push(Adoption { version, at, from });
        self.committed(version, at);
    }

    /// An instance that was stopped goes on.
    pub(crate) fn resumed(&mut self, instance: u64, at: Micros) {
        self.resumed.insert(instance, at);
    }

    /// How long each took, the shortest first.
    pub(crate) fn times(&self) -> Vec<Micros> {
        let time = |adoption: &Adoption| {
            let committed = self.committed.get(&adoption.version).copied();
            let from = adoption.from.max(committed.unwrap_or_default());
            adoption.at.saturating_sub(from)
        };
        let adopted = self.adopted.iter();
        let rotated = adopted.filter(|adoption| !self.signed_in.contains(&adoption.version));
        let mut times: Vec<_> = rotated.map(time).collect();
        times.sort_unstable();
        times
    }
}

/// The value that this share of all does not exceed, of values in order.
pub(crate) fn quantile(values: &[Micros], share: f64) -> Option<Micros> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "there are some thousands"
    )]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_the_commit_or_from_when_the_other_began_to_look() {
        let mut adoptions = Adoptions::default();
        adoptions.adopted(1, 2, 1_000, 900);
        adoptions.adopted(2, 2, 2_000, 50);
        adoptions.committed(2, 990);
        assert_eq!(adoptions.times(), [10, 50]);
    }

    #[test]
    fn whoever_sees_the_pair_first_says_when_it_committed() {
        let mut adoptions = Adoptions::default();
        adoptions.committed(2, 990);
        adoptions.committed(2, 700);
        adoptions.committed(2, 800);
        adoptions.adopted(1, 2, 1_000, 900);
        assert_eq!(adoptions.times(), [300]);
        adoptions.adopted(2, 2, 690, 500);
        assert_eq!(adoptions.times(), [0, 310]);
    }

    #[test]
    fn the_pair_of_a_sign_in_was_committed_by_no_instance() {
        let mut adoptions = Adoptions::default();
        adoptions.signed_in(1);
        adoptions.adopted(1, 1, 1_000, 900);
        assert!(adoptions.times().is_empty());
    }

    #[test]
    fn nobody_adopts_while_he_is_stopped() {
        let mut adoptions = Adoptions::default();
        adoptions.committed(2, 100);
        adoptions.resumed(1, 950);
        adoptions.adopted(1, 2, 1_000, 900);
        adoptions.resumed(2, 1_050);
        adoptions.adopted(2, 2, 1_000, 900);
        assert_eq!(adoptions.times(), [50, 900]);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<_> = (1..=200).collect();
        assert_eq!(quantile(&values, 0.5), Some(100));
        assert_eq!(quantile(&values, 0.99), Some(198));
        assert_eq!(quantile(&values, 1.0), Some(200));
        assert_eq!(quantile(&[7], 0.5), Some(7));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
