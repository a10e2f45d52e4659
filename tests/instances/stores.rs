//! The stores in which the instances of a run share their session.

use std::path::Path;

use tempfile::TempDir;

/// A store for one run, which is removed at the end of the run.
pub(crate) struct Store {
    pub(crate) location: String,
    _owner: Box<dyn std::any::Any>,
}

/// A store of each kind that this test was built with.
pub(crate) fn all() -> Vec<Store> {
    let directory = tempfile::tempdir().unwrap();
    let file = Store {
        location: file(&directory.path().join("session")),
        _owner: Box::<TempDir>::new(directory),
    };
    let stores = [Some(file), redis(), postgres()];
    stores.into_iter().flatten().collect()
}

fn file(directory: &Path) -> String {
    format!("file:{}", directory.display())
}

#[cfg(feature = "redis")]
fn redis() -> Option<Store> {
    let server = there(crate::services::Redis::start())?;
    Some(Store {
        location: server.url(),
        _owner: Box::new(server),
    })
}

#[cfg(feature = "postgres")]
fn postgres() -> Option<Store> {
    let server = there(crate::services::Postgres::start())?;
    Some(Store {
        location: server.url(),
        _owner: Box::new(server),
    })
}

/// Reports a store that is missing and leaves it out, unless the store is required.
#[cfg(any(feature = "redis", feature = "postgres"))]
fn there<T>(server: Result<T, crate::services::Missing>) -> Option<T> {
    match server {
        Ok(server) => Some(server),
        Err(missing) if crate::services::are_required() => panic!("{missing}"),
        Err(missing) => {
            crate::services::skipped(&format!("a store: {missing}"));
            None
        }
    }
}

#[cfg(not(feature = "redis"))]
fn redis() -> Option<Store> {
    None
}

#[cfg(not(feature = "postgres"))]
fn postgres() -> Option<Store> {
    None
}
