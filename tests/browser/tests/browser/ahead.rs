//! Pages that a browser loads before the user asks for them.

use evertoken_browser::browser::Browser;
use evertoken_browser::front::Seen;
use evertoken_browser::run::{run, sign_in};
use evertoken_browser::site::Site;

const PRERENDER: &str =
    r#"{"prerender":[{"source":"list","urls":["/account"],"eagerness":"immediate"}]}"#;
const PREFETCH: &str =
    r#"{"prefetch":[{"source":"list","urls":["/account"],"eagerness":"immediate"}]}"#;

/// Opens a page with these rules of speculation, and waits for the request that they make.
async fn loaded_ahead(site: &Site, browser: &Browser, rules: &str) -> Seen {
    let skipped = site.front.count();
    let mut url = url(site, "/public");
    url.query_pairs_mut().append_pair("rules", rules);
    browser.open(url).await;
    let is_ahead = |seen: &Seen| seen.is_at("/account") && seen.field("sec-purpose").is_some();
    site.front
        .until(skipped, |seen| is_ahead(seen) && seen.is_answered())
        .await
}

fn url(site: &Site, path: &str) -> reqwest::Url {
    site.url(path).parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_loaded_ahead_leads_to_no_login() {
    run("ahead-signed-out", async |site, browser| {
        for (rules, purpose) in [(PRERENDER, "prefetch;prerender"), (PREFETCH, "prefetch")] {
            let ahead = loaded_ahead(site, browser, rules).await;
            assert_eq!(ahead.field("sec-purpose"), Some(purpose));
            assert_eq!((ahead.status(), ahead.set().len()), (Some(401), 0), "{purpose}");
        }
        browser.open(site.url("/public")).await;
        let skipped = site.front.count();
        browser
            .run("document.head.append(Object.assign(document.createElement('link'), { rel: 'prefetch', href: '/account' }))")
            .await;
        let ahead = site.front.until(skipped, |seen| seen.is_at("/account") && seen.is_answered()).await;
        assert_eq!(ahead.field("sec-purpose"), Some("prefetch"));
        assert_eq!((ahead.status(), ahead.set().len()), (Some(401), 0));
        assert!(!site.front.seen().iter().any(|seen| seen.is_at("/login")));
        // The user who clicks gets the login.
        browser.follow("account").await;
        assert_eq!(browser.url().await, site.url("/login?to=%2Faccount"));
        browser.screenshot("the-user-clicked").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_rendered_ahead_rotates_once_and_is_shown_as_it_is() {
    run("ahead-signed-in", async |site, browser| {
        sign_in(site, browser, "ann").await;
        let before = browser.cookies().await;
        site.expire();
        let ahead = loaded_ahead(site, browser, PRERENDER).await;
        assert_eq!((ahead.status(), ahead.set().len()), (Some(200), 1));
        browser.other_cookies(&before).await;
        let skipped = site.front.count();
        browser.follow("account").await;
        browser.shows("user", "ann").await;
        // It is the page that was rendered ahead.
        let seen = &site.front.seen()[skipped..];
        assert!(!seen.iter().any(|seen| seen.is_at("/account")), "{seen:#?}");
        site.assert_exchanges(1);
    })
    .await;
}
