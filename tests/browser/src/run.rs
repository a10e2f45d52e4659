//! One test: a site, a browser, and a limit of time.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use evertoken::SealingKeys;
use futures_util::FutureExt as _;

use crate::browser::Browser;
use crate::driver::{Programs, is_required, skipped};
use crate::site::Site;

/// No test takes longer, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A new key, which seals and opens.
pub fn key() -> SealingKeys {
    let text = SealingKeys::random_key().expect("a key");
    SealingKeys::from_text(&text).expect("a key")
}

/// Runs a test with a site and a browser of its own. Without a browser it reports that it was skipped, unless every test is
/// required.
///
/// # Panics
///
/// If the test fails, or does not end in time, or a browser that is required is missing.
pub async fn run(test: &'static str, body: impl AsyncFnOnce(&Site, &Browser)) {
    run_at(test, async || Site::start(key()).await, body).await;
}

/// As [`run`], at this site.
///
/// # Panics
///
/// As [`run`].
pub async fn run_at(
    test: &'static str,
    site: impl AsyncFnOnce() -> Site,
    body: impl AsyncFnOnce(&Site, &Browser),
) {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(missing) if is_required() => panic!("{missing}"),
        Err(missing) => return skipped(&format!("{test}: {missing}")),
    };
    let limited = tokio::time::timeout(LIMIT, async {
        let site = site().await;
        let browser = Browser::start(&programs, test).await;
        let outcome = AssertUnwindSafe(body(&site, &browser)).catch_unwind().await;
        browser.quit().await;
        outcome.unwrap_or_else(|panic| {
            eprintln!("what the origin has seen: {:#?}", site.front.seen());
            resume_unwind(panic)
        });
    });
    limited.await.expect("the test ends in time");
}

/// Signs a user in, who then sees the first page.
pub async fn sign_in(site: &Site, browser: &Browser, user: &str) {
    browser.open(site.url("/login")).await;
    browser.follow(user).await;
    browser.shows("user", user).await;
}
