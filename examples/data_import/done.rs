//! Which batches are done with. They end out of order, but not far out: so they are kept as ranges, and
//! take the same few bytes after a million batches as after ten.

use serde::{Deserialize, Serialize};

/// Batches by number, as half-open ranges in order, with a gap between any two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(crate) struct Done(Vec<(u64, u64)>);

impl Done {
    /// A batch that is in already changes nothing.
    pub(crate) fn add(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let ranges = &mut self.0;
        let next = ranges.partition_point(|(start, _)| *start <= number);
        let continues = next > 0 && ranges[next - 1].1 == number;
        let precedes = next < ranges.len() && ranges[next].0 == number + 1;
        match (continues, precedes) {
            (true, true) => ranges[next - 1].1 = ranges.remove(next).1,
            (true, false) => ranges[next - 1].1 = number + 1,
            (false, true) => ranges[next].0 = number,
            (false, false) => ranges.insert(next, (number, number + 1)),
        }
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let next = self.0.partition_point(|(start, _)| *start <= number);
        next > 0 && number < self.0[next - 1].1
    }

    /// Whether these are all of so many batches.
    pub(crate) fn covers(&self, batches: u64) -> bool {
        match self.0.as_slice() {
            [] => batches == 0,
            [whole] => *whole == (0, batches),
            _ => false,
        }
    }
}

impl From<Done> for Vec<(u64, u64)> {
    fn from(done: Done) -> Self {
        done.0
    }
}

impl TryFrom<Vec<(u64, u64)>> for Done {
    type Error = &'static str;

    fn try_from(ranges: Vec<(u64, u64)>) -> Result<Self, Self::Error> {
        let are_ranges = ranges.iter().all(|(start, end)| start < end);
        let are_apart = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
        match are_ranges && are_apart {
            true => Ok(Self(ranges)),
            false => Err("ranges that are empty, out of order or not apart"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_whatever_order_batches_end_they_become_one_range() {
        for step in [1, 3, 7, 11, 19] {
            let mut done = Done::default();
            for turn in 0..20 {
                let number = turn * step % 20;
                assert!(!done.contains(number));
                assert!(!done.covers(20));
                done.add(number);
                done.add(number);
                assert!(done.contains(number));
            }
            assert_eq!(done, Done(vec![(0, 20)]));
            assert!(done.covers(20));
            assert!(!done.covers(21) && !done.contains(20));
        }
    }

    #[test]
    fn a_gap_stays_one() {
        let mut done = Done::default();
        for number in [0, 1, 3, 4, 9] {
            done.add(number);
        }
        assert_eq!(done, Done(vec![(0, 2), (3, 5), (9, 10)]));
        assert!(!done.contains(2) && !done.contains(8));
    }

    #[test]
    fn ranges_that_cannot_be_are_refused() {
        for ranges in ["[[1,1]]", "[[2,1]]", "[[0,2],[2,3]]", "[[5,6],[0,2]]"] {
            assert!(serde_json::from_str::<Done>(ranges).is_err(), "{ranges}");
        }
        assert!(serde_json::from_str::<Done>("[[0,2],[3,4]]").is_ok());
    }
}
