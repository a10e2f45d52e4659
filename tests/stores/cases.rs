//! The tests. Each test gets a session in a storage, and does not depend on the kind of the storage.

mod behind;
mod collisions;
mod endings;
mod faults;
mod holders;
mod instances;
mod leases;
#[cfg(feature = "seal")]
mod sealed;
mod sessions;
mod storing;

use std::pin::Pin;

use evertoken::testing::conformance;

use crate::scene::Scene;

pub(crate) type Running = Pin<Box<dyn Future<Output = ()>>>;

/// One test.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Scene) -> Running,
    /// Whether the test needs the whole machine, so that no other test runs beside it.
    pub(crate) is_heavy: bool,
}

/// Lists tests by name. The compiler reports a test that is not listed as unused.
macro_rules! cases {
    (heavy: $($name:ident),* $(,)?) => { crate::cases::cases!(@ true, $($name),*); };
    (@ $is_heavy:literal, $($name:ident),*) => {
        pub(super) const CASES: &[crate::cases::Case] = &[$(crate::cases::Case {
            name: stringify!($name),
            run: |scene| Box::pin($name(scene)),
            is_heavy: $is_heavy,
        }),*];
    };
    ($($name:ident),* $(,)?) => { crate::cases::cases!(@ false, $($name),*); };
}
use cases;

pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [
        CASES,
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

/// The tests of sealed storages.
#[cfg(feature = "seal")]
pub(crate) fn sealed() -> impl Iterator<Item = &'static Case> {
    sealed::CASES.iter()
}

// The suites that the crate provides for third-party stores.
cases![heavy: a_store_conforms, a_store_that_searches_conforms];

async fn a_store_conforms(scene: Scene) {
    conformance::store(async || scene.storage.open().await).await;
}

async fn a_store_that_searches_conforms(scene: Scene) {
    conformance::searchable_store(async || scene.storage.open().await).await;
    conformance::searchable_by_access_store(async || scene.storage.open().await).await;
    conformance::searchable_by_upstream_store(async || scene.storage.open().await).await;
}
