//! The logout, and what the browser still has of the session.

use evertoken_browser::run::{run, sign_in};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_back_button_after_the_logout_shows_no_page_of_the_session() {
    run("logout", async |site, browser| {
        sign_in(site, browser, "ann").await;
        browser.follow("account").await;
        browser.shows("user", "ann").await;
        browser.screenshot("1-before").await;
        browser.follow("logout").await;
        assert_eq!(browser.url().await, site.url("/public"));
        assert_eq!(browser.cookies().await, []);
        // The page that the logout was on, and the page before that.
        for (step, to) in [("2-back", "%2Faccount"), ("3-back-again", "%2F")] {
            browser.back().await;
            browser.screenshot(step).await;
            let login = format!("/login?to={to}");
            assert_eq!(browser.url().await, site.url(&login));
            assert_eq!(browser.text("user").await, None);
        }
        site.assert_exchanges(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_in_one_tab_is_the_logout_of_all() {
    run("logout-of-all", async |site, browser| {
        sign_in(site, browser, "ann").await;
        let first = browser.current().await;
        browser.tab(site.url("/account")).await;
        browser.follow("logout").await;
        browser.switch(&first).await;
        let answer = browser.ask("ask('/api/me')").await;
        let answer = answer.as_str().expect("a text");
        assert!(
            answer.starts_with(r#"401 {"error":"signed_out""#),
            "{answer}"
        );
        let state = browser.ask("ask('/session')").await;
        assert_eq!(state, r#"200 {"signed_in":false}"#);
        browser.reload().await;
        assert_eq!(browser.url().await, site.url("/login?to=%2F"));
        site.assert_exchanges(0);
    })
    .await;
}
