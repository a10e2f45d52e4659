//! What a configuration says of a server's error codes.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::endpoint::{Bare400, Codes};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    dead: Vec<String>,
    later: Vec<String>,
    user: Vec<String>,
    client: Vec<String>,
    bare_400: Bare400,
}

/// Of a table: `dead`, `later`, `user`, `client`, `bare_400`.
impl<'de> Deserialize<'de> for Codes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = Keys::deserialize(deserializer)?;
        let mut seen = HashSet::new();
        for code in [&keys.dead, &keys.later, &keys.user, &keys.client]
            .into_iter()
            .flatten()
        {
            if code.is_empty() {
                return Err(D::Error::custom("an error code must not be empty"));
            }
            if !seen.insert(code) {
                let problem = format!("the code `{code}` is named twice");
                return Err(D::Error::custom(problem));
            }
        }
        Ok(Self::default()
            .dead(keys.dead)
            .later(keys.later)
            .user(keys.user)
            .client(keys.client)
            .bare_400(keys.bare_400))
    }
}
