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
