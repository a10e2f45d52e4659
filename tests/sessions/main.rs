//! Many sessions over one endpoint and store. A manager of `Sessions` is a manager: the suites that exist for one run here again,
//! with managers of `Sessions` (`support::built`). Time is simulated, except in `threads`.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod capacity;
mod capacity_faults;
mod capacity_many;
mod configured;
mod desk;
mod draining;
mod keyed_callback;
mod leaving;
mod many;
mod searchless;
mod sharing;
mod staying;
#[path = "../support/mod.rs"]
mod support;
mod tenants;
mod threads;
mod upstream;
mod users;
mod watching;

// The suites for one manager.
#[path = "../logout/after.rs"]
mod after;
#[path = "../events/callback.rs"]
mod callback;
#[path = "../single_flight/callers.rs"]
mod callers;
#[path = "../events/ending.rs"]
mod ending;
#[path = "../strategies/every.rs"]
mod every;
#[path = "../logout/failing.rs"]
mod failing;
#[path = "../single_flight/failures.rs"]
mod failures;
#[path = "../logout/in_flight.rs"]
mod in_flight;
#[path = "../events/pairs.rs"]
mod pairs;
#[path = "../support/probe.rs"]
mod probe;
#[path = "../logout/signing_in.rs"]
mod signing_in;
#[path = "../events/status.rs"]
mod status;
#[path = "../single_flight/waiters.rs"]
mod waiters;
#[path = "../single_flight/whole_pairs.rs"]
mod whole_pairs;
#[path = "../logout/world.rs"]
mod world;
