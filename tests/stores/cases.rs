//! The tests. Each test gets a storage, and does not depend on its kind.

mod behind;
mod collisions;
mod conformance;
mod endings;
mod faults;
mod holders;
mod instances;
mod leases;
mod sessions;
mod storing;

use std::pin::Pin;
use std::sync::Arc;

use crate::backend::Storage;

pub(crate) type Running = Pin<Box<dyn Future<Output = ()>>>;

/// One test.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Arc<dyn Storage>) -> Running,
    /// Whether the test needs the whole machine, so that no other test runs beside it.
    pub(crate) is_heavy: bool,
}

/// Lists tests by name. The compiler reports a test that is not listed as unused.
macro_rules! cases {
    (heavy: $($name:ident),* $(,)?) => { crate::cases::cases!(@ true, $($name),*); };
    (@ $is_heavy:literal, $($name:ident),*) => {
        pub(super) const CASES: &[crate::cases::Case] = &[$(crate::cases::Case {
            name: stringify!($name),
            run: |storage| Box::pin($name(storage)),
            is_heavy: $is_heavy,
        }),*];
    };
    ($($name:ident),* $(,)?) => { crate::cases::cases!(@ false, $($name),*); };
}
use cases;

pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        conformance::CASES,
        instances::CASES,
        leases::CASES,
        holders::CASES,
        storing::CASES,
        behind::CASES,
        collisions::CASES,
        sessions::CASES,
        endings::CASES,
        faults::CASES,
    ]
    .into_iter()
    .flatten()
}
