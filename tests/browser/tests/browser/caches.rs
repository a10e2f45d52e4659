//! What a browser keeps of a session beside its cookies.

use evertoken_browser::run::{run, sign_in};

/// What the API says of a user, and permits the browser to keep.
const KEPT: &str = "ask('/api/me/kept')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_user_gets_nothing_that_the_browser_has_kept_for_the_last_one() {
    run("caches", async |site, browser| {
        sign_in(site, browser, "ann").await;
        let skipped = site.front.count();
        for _ in 0..2 {
            assert_eq!(browser.ask(KEPT).await, r#"200 {"user":"ann"}"#);
        }
        // The browser's cache counts.
        let seen = &site.front.seen()[skipped..];
        let asked = seen.iter().filter(|seen| seen.is_at("/api/me/kept"));
        assert_eq!(asked.count(), 1);
        // Without a logout.
        sign_in(site, browser, "ben").await;
        assert_eq!(browser.ask(KEPT).await, r#"200 {"user":"ben"}"#);
        // The page of the login, and the page before that.
        browser.back().await;
        browser.back().await;
        assert_eq!(browser.url().await, site.url("/"));
        browser.shows("user", "ben").await;
        browser.screenshot("the-page-of-the-last-user").await;
        site.assert_exchanges(0);
    })
    .await;
}
