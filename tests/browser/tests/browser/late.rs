//! Answers of the last sign-in that arrive after the next one. A browser knows no compare-and-set for cookies: what arrives last
//! counts, and so it must touch only its own sign-in.

use evertoken_browser::run::{run, sign_in};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_of_the_last_sign_in_does_not_bring_its_user_back() {
    run("late-pair", async |site, browser| {
        sign_in(site, browser, "ann").await;
        let late = browser.current().await;
        browser.tab(site.url("/public")).await;
        let other = browser.current().await;
        // The answer has the next pair of ann, and is on its way.
        site.expire();
        browser.switch(&late).await;
        browser
            .run("ask('/api/me?hold=late').then(text => show('answer', text))")
            .await;
        let answer = site.front.held("late").await;
        assert_eq!((answer.status(), answer.set().len()), (Some(200), 1));
        browser.switch(&other).await;
        sign_in(site, browser, "ben").await;
        let of_ben = browser.cookies().await;
        assert_eq!(of_ben.len(), 1);
        site.front.release("late");
        let both = browser.other_cookies(&of_ben).await;
        assert!(both.len() == 2 && both.contains(&of_ben[0]));
        // Every instance serves the user who signed in last.
        for _ in 0..3 {
            browser.reload().await;
            browser.shows("user", "ben").await;
        }
        browser.screenshot("the-new-user").await;
        browser.switch(&late).await;
        browser.shows("answer", r#"200 {"user":"ann"}"#).await;
        browser.reload().await;
        browser.shows("user", "ben").await;
        // The logout ends both.
        browser.follow("logout").await;
        assert_eq!(browser.cookies().await, []);
        site.assert_exchanges(1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_logout_of_the_last_sign_in_does_not_sign_the_next_user_out() {
    run("late-logout", async |site, browser| {
        sign_in(site, browser, "ann").await;
        browser
            .run("ask('/session/logout?hold=late', { method: 'POST' }).then(text => show('answer', text))")
            .await;
        let late = browser.current().await;
        let answer = site.front.held("late").await;
        assert_eq!((answer.status(), answer.set().len()), (Some(200), 1));
        browser.tab(site.url("/public")).await;
        sign_in(site, browser, "ben").await;
        let of_ben = browser.cookies().await;
        site.front.release("late");
        browser.switch(&late).await;
        browser.shows("answer", r#"200 {"signed_in":false}"#).await;
        assert_eq!(browser.cookies().await, of_ben);
        for _ in 0..3 {
            browser.reload().await;
            browser.shows("user", "ben").await;
        }
        site.assert_exchanges(0);
    })
    .await;
}
