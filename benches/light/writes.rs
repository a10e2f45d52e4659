//! The cost of a rotation in a store on a server: round trips, bytes of log, bytes kept.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "redis", feature = "postgres"))]
mod server;

use crate::shared::{ACCESS, REFRESH, table};

/// The rows of a store.
#[derive(Default)]
struct Found {
    /// A row for each stretch of rotations.
    rotations: Vec<[String; 5]>,
    /// A row for each age.
    kept: Vec<[String; 4]>,
}

impl Found {
    #[cfg_attr(all(feature = "redis", feature = "postgres"), expect(dead_code))]
    fn nothing(store: &str, feature: &str) -> Self {
        let why = format!("not measured: feature {feature} off");
        let blank = String::new;
        Self {
            rotations: vec![[store.to_owned(), why.clone(), blank(), blank(), blank()]],
            kept: vec![[store.to_owned(), why, blank(), blank()]],
        }
    }
}

pub(crate) fn run() {
    #[cfg(feature = "postgres")]
    let postgres = postgres::measured();
    #[cfg(not(feature = "postgres"))]
    let postgres = Found::nothing("PostgreSQL", "postgres");
    #[cfg(feature = "redis")]
    let redis = redis::measured();
    #[cfg(not(feature = "redis"))]
    let redis = Found::nothing("Redis", "redis");
    let mut rotations =
        table("a rotation | from, to | round trips | log, bytes | page images, bytes");
    let mut kept = table("kept | after rotations | bytes | in");
    for found in [postgres, redis] {
        rotations.add_rows(found.rotations);
        kept.add_rows(found.kept);
    }
    println!(
        "What a rotation costs, of tokens of {ACCESS} and {REFRESH} bytes.\n{rotations}\n\n{kept}"
    );
}
