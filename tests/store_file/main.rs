//! Records in files: what is on the disk, which users may read it, and which process may replace it.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

#[cfg(unix)]
mod access;
mod cancelled;
mod changed;
mod content;
mod crowd;
#[cfg(unix)]
mod descriptors;
#[cfg(unix)]
mod full_disk;
#[cfg(unix)]
mod holder;
#[cfg(unix)]
mod leases;
mod leftovers;
#[cfg(unix)]
mod life;
#[cfg(unix)]
mod lock;
mod manager;
mod past;
mod process;
mod processes;
mod purge;
mod scene;
mod seal;
mod sealed;
mod search;
mod suite;
#[path = "../support/mod.rs"]
mod support;
