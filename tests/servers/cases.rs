//! The tests. Each test gets a judge, and queries only the properties in which the judges differ.

mod callers;
mod clients;
mod grace;
mod import;
mod lost_answers;
mod outages;
mod refused;
mod relaying;
mod rotation;
mod second_use;
mod sessions;
mod words;

use std::pin::Pin;
use std::sync::Arc;

use crate::judge::Judge;

pub(crate) type Running = Pin<Box<dyn Future<Output = ()>>>;

/// One test.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Arc<Judge>) -> Running,
    /// Returns whether this judge can run the test.
    pub(crate) applies: fn(&Judge) -> bool,
}

/// Lists the tests by name. The compiler reports a test that is not listed as unused.
macro_rules! cases {
    ($($name:ident $(if $applies:path)?),* $(,)?) => {
        pub(super) const CASES: &[crate::cases::Case] = &[$(crate::cases::Case {
            name: stringify!($name),
            run: |judge| Box::pin($name(judge)),
            applies: crate::cases::cases!(@ $($applies)?),
        }),*];
    };
    (@) => { |_| true };
    (@ $applies:path) => { $applies };
}
use cases;

pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        relaying::CASES,
        rotation::CASES,
        callers::CASES,
        sessions::CASES,
        second_use::CASES,
        refused::CASES,
        clients::CASES,
        grace::CASES,
        outages::CASES,
        lost_answers::CASES,
        words::CASES,
        import::CASES,
    ]
    .into_iter()
    .flatten()
}
