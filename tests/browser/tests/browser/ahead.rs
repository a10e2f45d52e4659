//! Pages that a browser loads before the user asks for them.

use evertoken_browser::browser::Browser;
use evertoken_browser::front::Seen;
use evertoken_browser::run::{run, sign_in};
use evertoken_browser::site::Site;

const PRERENDER: &str =
    r#"{"prerender":[{"source":"list","urls":["/account"],"eagerness":"immediate"}]}"#;
const PREFETCH: &str =
    r#"{"prefetch":[{"source":"list","urls":["/account"],"eagerness":"immediate"}]}"#;

const LINK: &str = "document.head.append(Object.assign(document.createElement('link'), \
                    { rel: 'prefetch', href: '/account' }))";

/// By what a page has another one loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// A rule of speculation that has the page rendered too.
    Prerender,
    /// A rule of speculation that has the page loaded alone.
    Prefetch,
    /// An element of the page's head.
    Link,
}

/// The page that needs no session, with these rules of speculation.
fn public(site: &Site, rules: &str) -> reqwest::Url {
    let mut url: reqwest::Url = site.url("/public").parse().expect("an address");
    url.query_pairs_mut().append_pair("rules", rules);
    url
}

/// Opens a page that has the browser load another one ahead, and waits until that is answered.
async fn loaded_ahead(site: &Site, browser: &Browser, how: How) -> Seen {
    let skipped = site.front.count();
    match how {
        How::Prerender => browser.open(public(site, PRERENDER)).await,
        How::Prefetch => browser.open(public(site, PREFETCH)).await,
        How::Link => {
            browser.open(site.url("/public")).await;
            browser.run(LINK).await;
        }
    }
    let is_ahead = |seen: &Seen| seen.is_at("/account") && seen.field("sec-purpose").is_some();
    let answered = |seen: &Seen| is_ahead(seen) && seen.is_answered();
    let ahead = site.front.until(skipped, answered).await;
    let fields = ["sec-purpose", "sec-fetch-mode", "sec-fetch-dest"];
    let found = fields.map(|name| ahead.field(name).unwrap_or_default());
    let expected = match how {
        How::Prerender => ["prefetch;prerender", "navigate", "document"],
        How::Prefetch => ["prefetch", "navigate", "document"],
        How::Link => ["prefetch", "no-cors", "empty"],
    };
    assert_eq!(found, expected, "{how:?}");
    ahead
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_loaded_ahead_leads_to_no_login() {
    run("ahead-signed-out", async |site, browser| {
        for how in [How::Prerender, How::Prefetch, How::Link] {
            let ahead = loaded_ahead(site, browser, how).await;
            let answer = (ahead.status(), ahead.set().len());
            assert_eq!(answer, (Some(401), 0), "{how:?}");
        }
        assert!(!site.front.seen().iter().any(|seen| seen.is_at("/login")));
        // The user who clicks gets the login.
        browser.follow("account").await;
        assert_eq!(browser.url().await, site.url("/login?to=%2Faccount"));
        browser.screenshot("the-user-clicked").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_loaded_ahead_brings_the_next_pair() {
    run("ahead-signed-in", async |site, browser| {
        sign_in(site, browser, "ann").await;
        for (expiry, how) in (1..).zip([How::Prerender, How::Prefetch, How::Link]) {
            let before = browser.cookies().await;
            site.expire();
            let ahead = loaded_ahead(site, browser, how).await;
            let answer = (ahead.status(), ahead.set().len());
            assert_eq!(answer, (Some(200), 1), "{how:?}");
            browser.other_cookies(&before).await;
            let skipped = site.front.count();
            browser.follow("account").await;
            browser.shows("user", "ann").await;
            // What a rule has loaded is shown as it is, although no cache keeps it.
            let seen = &site.front.seen()[skipped..];
            let again = seen.iter().filter(|seen| seen.is_at("/account")).count();
            assert_eq!(again, usize::from(how == How::Link), "{how:?}: {seen:#?}");
            site.assert_exchanges(expiry);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_loaded_ahead_for_one_user_is_not_shown_to_the_next_one() {
    run("ahead-next-user", async |site, browser| {
        for how in [How::Prerender, How::Prefetch] {
            sign_in(site, browser, "ann").await;
            loaded_ahead(site, browser, how).await;
            let tab = browser.current().await;
            browser.tab(site.url("/public")).await;
            sign_in(site, browser, "ben").await;
            browser.close().await;
            browser.switch(&tab).await;
            browser.follow("account").await;
            browser.shows("user", "ben").await;
            // After the logout there is nothing of the session either.
            loaded_ahead(site, browser, how).await;
            let logout = "ask('/session/logout', { method: 'POST' })";
            assert_eq!(browser.ask(logout).await, r#"200 {"signed_in":false}"#);
            browser.follow("account").await;
            assert_eq!(browser.url().await, site.url("/login?to=%2Faccount"));
        }
        site.assert_exchanges(0);
    })
    .await;
}
