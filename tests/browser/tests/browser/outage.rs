//! A token endpoint that answers nobody for a while, longer than a request waits.

use std::time::Duration;

use evertoken::testing::Fault;
use evertoken_browser::run::{key, run_at, sign_in};
use evertoken_browser::site::{PAUSE, Site};

/// How long a request waits for a token here.
const WAIT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_sends_nobody_to_the_login_and_ends_no_event_source() {
    let site = async || Site::start_impatient(key(), WAIT).await;
    run_at("outage", site, async |site, browser| {
        sign_in(site, browser, "ann").await;
        browser.run("listen()").await;
        browser.shows("events", "hello ann").await;
        let before = browser.cookies().await;
        site.expire();
        site.server.fail_always(Some(Fault::status(503)));
        let skipped = site.front.count();
        site.api.end_streams();
        let reconnect = site.front.until(skipped, |seen| seen.is_at("/api/events"));
        reconnect.await;
        // A script and a page get 503 when they have waited.
        let answer = browser.ask("ask('/api/me')").await;
        let answer = answer.as_str().expect("a text");
        assert!(
            answer.starts_with(r#"503 {"error":"unavailable""#),
            "{answer}"
        );
        let tab = browser.current().await;
        browser.tab(site.url("/account")).await;
        browser
            .is("document.body.textContent.includes('unavailable')")
            .await;
        let page = site
            .front
            .until(skipped, |seen| seen.is_at("/account"))
            .await;
        assert_eq!((page.status(), page.set().len()), (Some(503), 0));
        browser.screenshot("a-page").await;
        // By so many exchanges with a pause after each (a fifth of which may be saved), the stream has been without a token for
        // longer than a request waits.
        let attempts = 3 * WAIT.as_millis() / (2 * PAUSE.as_millis());
        let attempts = u64::try_from(attempts).expect("few");
        site.server
            .arrived(site.server.exchanges() + attempts)
            .await;
        assert_eq!(browser.cookies().await, before);
        site.server.fail_always(None);
        browser.switch(&tab).await;
        browser.shows("events", "hello ann").await;
        let seen = &site.front.seen()[skipped..];
        let streams = seen.iter().filter(|seen| seen.is_at("/api/events"));
        assert_eq!(streams.count(), 1, "the one that was held: {seen:#?}");
        assert!(!seen.iter().any(|seen| seen.is_at("/login")));
        browser.reload().await;
        browser.shows("user", "ann").await;
        let counted = (site.server.rotations(), site.server.replays());
        assert_eq!(counted, (1, 0));
    })
    .await;
}
