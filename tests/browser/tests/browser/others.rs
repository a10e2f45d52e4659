//! Pages of other origins: a sibling port of the same host, which is of the same site, and another site.

use evertoken_browser::neighbour::Neighbour;
use evertoken_browser::run::{run, sign_in};

/// The hosts of another site, by how they stand to `localhost`.
const HOSTS: [(&str, &str); 2] = [("localhost", "same-site"), ("127.0.0.1", "cross-site")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_another_site_arrives_signed_in() {
    run("link", async |site, browser| {
        let neighbour = Neighbour::start().await;
        sign_in(site, browser, "ann").await;
        for (expiry, (host, relation)) in (1..).zip(HOSTS) {
            site.expire();
            browser.open(neighbour.page(host, &site.url(""))).await;
            let skipped = site.front.count();
            browser.follow("link").await;
            browser.shows("user", "ann").await;
            let page = site
                .front
                .until(skipped, |seen| seen.is_at("/account"))
                .await;
            assert_eq!(page.field("sec-fetch-site"), Some(relation));
            assert_eq!((page.status(), page.set().len()), (Some(200), 1));
            let skipped = site.front.count();
            browser.reload().await;
            browser.shows("user", "ann").await;
            let page = site
                .front
                .until(skipped, |seen| seen.is_at("/account"))
                .await;
            assert_eq!((page.status(), page.set().len()), (Some(200), 0));
            site.assert_exchanges(expiry);
        }
        browser.screenshot("from-another-site").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_origin_changes_nothing_and_opens_no_web_socket() {
    run("other-origins", async |site, browser| {
        let neighbour = Neighbour::start().await;
        sign_in(site, browser, "ann").await;
        // The site's own page may.
        let own = browser.ask("ask('/api/change', { method: 'POST' })").await;
        assert_eq!(own, r#"200 {"changes":1}"#);
        let cookies = browser.cookies().await;
        for (host, relation) in HOSTS {
            let page = neighbour.page(host, &site.url(""));
            // By a script.
            for path in ["/api/change", "/session/logout", "/login"] {
                browser.open(&page).await;
                let skipped = site.front.count();
                browser
                    .run(&format!("send('{path}', {{ method: 'POST' }})"))
                    .await;
                browser.shows("answer", "sent opaque").await;
                let seen = site
                    .front
                    .until(skipped, |it| it.is_at(path) && it.is_answered())
                    .await;
                assert_eq!(
                    (seen.status(), seen.set().len()),
                    (Some(403), 0),
                    "{relation} {path}"
                );
                assert_eq!(seen.field("sec-fetch-site"), Some(relation));
            }
            // By a form.
            browser.open(&page).await;
            let skipped = site.front.count();
            browser.follow("post").await;
            let seen = site
                .front
                .until(skipped, |seen| seen.is_at("/api/change"))
                .await;
            assert_eq!(
                (seen.status(), seen.set().len()),
                (Some(403), 0),
                "{relation} form"
            );
            browser.screenshot(&format!("form-{relation}")).await;
            // By a WebSocket.
            browser.open(&page).await;
            let skipped = site.front.count();
            browser.run("socket('/api/socket')").await;
            browser.shows("answer", "closed").await;
            let seen = site
                .front
                .until(skipped, |seen| seen.is_at("/api/socket"))
                .await;
            assert_eq!(
                (seen.status(), seen.set().len()),
                (Some(403), 0),
                "{relation} socket"
            );
        }
        assert_eq!(site.api.changes(), 1);
        browser.open(site.url("/")).await;
        browser.shows("user", "ann").await;
        assert_eq!(browser.cookies().await, cookies);
        site.assert_exchanges(0);
    })
    .await;
}
