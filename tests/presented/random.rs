//! Browsers, instances, a store and a server in random interleavings, drawn from a seed: answers are lost, late and overtaken,
//! access tokens expire, sessions leave the memory, instances restart, and the store fails.
//!
//! No browser whose pair has to be accepted is signed out, no request goes on with a dead token, and no refresh token is sent
//! twice. `EVERTOKEN_SEED=k` runs one seed and prints what happened; `EVERTOKEN_BROWSER_SEEDS=n` runs `n` seeds.

mod browser;
mod draw;
mod run;

use std::env;

use self::run::run;

/// How many seeds run by default.
const SEEDS: u64 = 60;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn no_interleaving_signs_a_browser_out_or_sends_a_refresh_token_twice() {
    if let Some(seed) = number("EVERTOKEN_SEED") {
        let outcome = run(seed);
        println!("{}", outcome.history.join("\n"));
        assert!(outcome.problems.is_empty(), "{:#?}", outcome.problems);
        return;
    }
    let mut served = 0;
    let mut replaced = 0;
    for seed in 0..number("EVERTOKEN_BROWSER_SEEDS").unwrap_or(SEEDS) {
        let outcome = run(seed);
        assert!(
            outcome.problems.is_empty(),
            "seed {seed} (EVERTOKEN_SEED={seed} prints its history): {:#?}",
            outcome.problems
        );
        served += outcome.served;
        replaced += outcome.replaced;
    }
    // The runs are worth something.
    assert!(
        served > 0 && replaced * 20 > served,
        "{replaced} of {served}"
    );
}
