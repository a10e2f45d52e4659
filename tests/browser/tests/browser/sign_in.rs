//! The login, and the cookies that a browser keeps of it.

use evertoken_browser::run::run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_signs_in_and_every_instance_knows_the_session() {
    run("sign-in", async |site, browser| {
        // A page that needs a session leads to the login, and the login back to the page.
        browser.open(site.url("/account")).await;
        assert_eq!(browser.url().await, site.url("/login?to=%2Faccount"));
        browser.screenshot("1-login").await;
        browser.follow("ann").await;
        assert_eq!(browser.url().await, site.url("/account"));
        browser.shows("user", "ann").await;
        browser.screenshot("2-signed-in").await;
        // Three requests in a row are of three instances.
        let skipped = site.front.count();
        for _ in 0..3 {
            let answer = browser.ask("ask('/api/me')").await;
            assert_eq!(answer, r#"200 {"user":"ann"}"#);
        }
        let seen = &site.front.seen()[skipped..];
        let mut instances: Vec<_> = seen.iter().map(|seen| seen.instance).collect();
        instances.sort_unstable();
        assert_eq!(instances, [0, 1, 2]);
        // Nothing of it is a script's.
        assert_eq!(browser.run("return document.cookie").await, "");
        assert_eq!(browser.cookies().await.len(), 1);
        // Not one answer after the login set what the browser has.
        assert!(seen.iter().all(|seen| seen.set().is_empty()), "{seen:#?}");
        site.assert_exchanges(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_at_a_server_of_another_site_ends_at_the_page_that_the_user_wanted() {
    run("sign-in-at-server", async |site, browser| {
        // The second login begins without a logout: the cookies of the first one are sent along, and deleted.
        for turn in 1..=2 {
            browser.open(site.url("/login?to=%2Faccount")).await;
            let before = browser.cookies().await;
            let skipped = site.front.count();
            browser.follow("server").await;
            assert!(browser.url().await.starts_with("http://127.0.0.1:"));
            browser.screenshot(&format!("{turn}-server")).await;
            browser.follow("sign-in").await;
            assert_eq!(browser.url().await, site.url("/account"));
            browser.shows("user", "ann").await;
            // The browser comes from the server, with its `SameSite=Lax` cookies, and so does what the callback leads to.
            for path in ["/callback", "/account"] {
                let seen = site.front.until(skipped, |seen| seen.is_at(path)).await;
                assert_eq!(seen.field("sec-fetch-site"), Some("cross-site"), "{path}");
                let is_signed_in = turn == 2 || path == "/account";
                assert_eq!(seen.has_cookies(), is_signed_in, "{path}");
            }
            let cookies = browser.cookies().await;
            assert_eq!(cookies.len(), 1);
            assert_ne!(cookies, before);
        }
        site.expire();
        browser.reload().await;
        browser.shows("user", "ann").await;
        site.assert_exchanges(1);
    })
    .await;
}
