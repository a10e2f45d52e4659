//! Counts the bytes that the scanner takes, for tests that hold it to a number of them: a test that measured time would
//! fail on a busy machine.

use std::cell::Cell;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn count() {
    TAKEN.set(TAKEN.get() + 1);
}

/// How many `work` takes, and what it returns.
pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = TAKEN.get();
    let done = work();
    (TAKEN.get() - before, done)
}
