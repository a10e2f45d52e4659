//! Explores every state of the small worlds.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use evertoken_model::config::{self, Config};
use evertoken_model::world::World;
use stateright::{Checker, Model};

#[test]
fn every_property_holds_in_every_small_world() {
    for world in config::small() {
        let checker = world.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
    }
}

/// A world that returns to an earlier state could run for ever without an answer. Without such cycles, and without an
/// instance that waits for a time that never comes, every waiter gets an answer.
#[test]
fn no_small_world_returns_to_an_earlier_state() {
    for world in config::small() {
        assert!(!has_cycle(&world), "{}", world.name);
    }
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

fn successors(config: &Config, world: &World) -> Vec<World> {
    let mut actions = Vec::new();
    config.actions(world, &mut actions);
    actions
        .into_iter()
        .filter_map(|action| config.next_state(world, action))
        .collect()
}

fn has_cycle(config: &Config) -> bool {
    let mut is_open = HashMap::new();
    let first = config.init_states().remove(0);
    is_open.insert(fingerprint(&first), true);
    let mut path = vec![(fingerprint(&first), successors(config, &first))];
    while let Some((at, rest)) = path.last_mut() {
        let Some(next) = rest.pop() else {
            is_open.insert(*at, false);
            path.pop();
            continue;
        };
        let name = fingerprint(&next);
        match is_open.get(&name) {
            Some(true) => return true,
            Some(false) => {}
            None => {
                is_open.insert(name, true);
                path.push((name, successors(config, &next)));
            }
        }
    }
    false
}
