//! The worlds to explore, from `worlds.toml`.

use serde::Deserialize;

use crate::config::Config;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Worlds {
    small: Vec<Config>,
    large: Vec<Config>,
}

fn all() -> Worlds {
    toml::from_str(include_str!("../worlds.toml")).expect("worlds.toml describes worlds")
}

/// Worlds that take seconds to explore.
pub fn small() -> Vec<Config> {
    all().small
}

/// Worlds that take minutes to explore.
pub fn large() -> Vec<Config> {
    all().large
}
