//! Several tabs of one session at the moment at which its access token expires.

use evertoken_browser::browser::Browser;
use evertoken_browser::run::{run, sign_in};
use serde_json::json;

/// Has all tabs do the same at the same moment.
async fn together(browser: &Browser, what: serde_json::Value) {
    let script =
        "const all = new BroadcastChannel('together'); all.postMessage(arguments[0]); all.close()";
    browser.run_with(script, what).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_tabs_stay_signed_in_across_expiries_with_one_exchange_each() {
    run("tabs", async |site, browser| {
        sign_in(site, browser, "ann").await;
        let mut tabs = vec![browser.current().await];
        for _ in 0..3 {
            tabs.push(browser.tab(site.url("/")).await);
        }
        for turn in 1..=5 {
            site.expire();
            together(browser, json!({ "turn": turn, "path": "/api/me" })).await;
            for tab in &tabs {
                browser.switch(tab).await;
                let expected = format!(r#"{turn} 200 {{"user":"ann"}}"#);
                browser.shows("answer", &expected).await;
            }
            site.assert_exchanges(turn);
        }
        browser.screenshot("after-five-expiries").await;
        // A page is as good as a script.
        site.expire();
        for tab in &tabs {
            browser.switch(tab).await;
            browser.run("window.isLeft = true").await;
        }
        together(browser, json!({ "reload": true })).await;
        for tab in &tabs {
            browser.switch(tab).await;
            browser.is("!window.isLeft").await;
            browser.shows("user", "ann").await;
        }
        site.assert_exchanges(6);
        let seen = site.front.seen();
        let logins = seen.iter().filter(|seen| seen.is_at("/login"));
        assert_eq!(logins.count(), 2, "one page of the login, and one sign-in");
    })
    .await;
}
