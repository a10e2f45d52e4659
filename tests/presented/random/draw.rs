//! What is drawn from the seed.

use std::time::Duration;

/// `SplitMix64`.
#[derive(Clone)]
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(super) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    pub(super) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(super) fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }
}

/// What becomes of a request and its answer.
pub(super) struct Fate {
    /// How long the request, the headers of the answer and the answer take.
    pub(super) there: Duration,
    pub(super) headers: Duration,
    pub(super) back: Duration,
    pub(super) is_lost: bool,
}

impl Fate {
    /// Everything arrives at once.
    pub(super) const CALM: Self = Self {
        there: Duration::ZERO,
        headers: Duration::ZERO,
        back: Duration::ZERO,
        is_lost: false,
    };

    pub(super) fn draw(draw: &mut Draw, lost_of_ten: u64) -> Self {
        let slow = if draw.one_in(4) { 6_000 } else { 60 };
        Self {
            there: draw.millis(slow),
            headers: draw.millis(slow),
            back: draw.millis(slow),
            is_lost: draw.below(10) < lost_of_ten,
        }
    }
}
