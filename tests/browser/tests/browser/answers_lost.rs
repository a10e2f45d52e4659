//! Answers that a browser gives up, and with them the cookies: a browser that presents the pair of before is not signed out.

use evertoken_browser::browser::Browser;
use evertoken_browser::front::{Fate, Seen};
use evertoken_browser::run::{run, sign_in};

/// How many reloads a storm has.
const RELOADS: usize = 8;

/// Opens a window from the page of the current tab, which drives it by `child`: a browser takes no commands for a tab whose next
/// page is on its way.
async fn open_child(browser: &Browser) {
    browser.run("window.child = open('/')").await;
    shows_in_child(browser, "ann").await;
}

/// Waits until the window shows the page of this user.
async fn shows_in_child(browser: &Browser, user: &str) {
    let user_is = format!("child.document.getElementById('user')?.textContent === '{user}'");
    let expected =
        format!("!child.isLeft && child.document.readyState === 'complete' && {user_is}");
    browser.is(&expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_reloads_during_a_rotation_signs_nobody_out() {
    run("reload-storm", async |site, browser| {
        sign_in(site, browser, "ann").await;
        open_child(browser).await;
        for expiry in 1..=3 {
            site.expire();
            let first = site.front.count();
            let exchange = site.server.hold();
            // Each reload gives up the one before it, whose answer waits for the exchange.
            for _ in 0..RELOADS {
                let skipped = site.front.count();
                browser
                    .run("child.isLeft = true; child.location.reload()")
                    .await;
                site.front.until(skipped, |seen| seen.is_at("/")).await;
            }
            let is_given_up = |seen: &Seen| seen.is_at("/") && seen.fate == Fate::GivenUp;
            site.front.until_some(first, RELOADS - 1, is_given_up).await;
            drop(exchange);
            shows_in_child(browser, "ann").await;
            site.assert_exchanges(expiry);
        }
        browser.screenshot("after-three-storms").await;
        // The cookie is the current one.
        let skipped = site.front.count();
        browser.reload().await;
        let page = site.front.until(skipped, |seen| seen.is_at("/")).await;
        assert_eq!((page.status(), page.set().len()), (Some(200), 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_navigation_that_another_one_overtakes_loses_the_pair_and_not_the_session() {
    run("overtaken", async |site, browser| {
        sign_in(site, browser, "ann").await;
        open_child(browser).await;
        for expiry in 1..=2 {
            site.expire();
            let hold = format!("first-{expiry}");
            let first =
                format!("child.isLeft = true; child.location.href = '/account?hold={hold}'");
            browser.run(&first).await;
            let first = site.front.held(&hold).await;
            assert_eq!((first.status(), first.set().len()), (Some(200), 1));
            let skipped = site.front.count();
            browser.run("child.location.href = '/'").await;
            shows_in_child(browser, "ann").await;
            let is_first = |seen: &Seen| seen.path.ends_with(&hold) && seen.fate == Fate::GivenUp;
            site.front.until(0, is_first).await;
            let second = site.front.until(skipped, |seen| seen.is_at("/")).await;
            // The browser has what the second answer set.
            let cookies = browser.cookies().await;
            let [(name, value)] = &cookies[..] else {
                panic!("one sign-in has one cookie here");
            };
            let begins = format!("{name}={value};");
            assert!(second.set().iter().any(|line| line.starts_with(&begins)));
            assert!(!first.set().iter().any(|line| line.starts_with(&begins)));
            site.assert_exchanges(expiry);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_that_is_closed_says_goodbye_and_its_answer_still_counts() {
    run("goodbye", async |site, browser| {
        sign_in(site, browser, "ann").await;
        let stays = browser.current().await;
        browser.tab(site.url("/account")).await;
        browser
            .run("addEventListener('pagehide', () => fetch('/api/me?hold=goodbye', { keepalive: true }))")
            .await;
        let before = browser.cookies().await;
        site.expire();
        browser.close().await;
        browser.switch(&stays).await;
        let goodbye = site.front.held("goodbye").await;
        assert_eq!((goodbye.status(), goodbye.set().len()), (Some(200), 1));
        assert_eq!(browser.cookies().await, before);
        site.front.release("goodbye");
        browser.other_cookies(&before).await;
        let skipped = site.front.count();
        browser.reload().await;
        browser.shows("user", "ann").await;
        let page = site.front.until(skipped, |seen| seen.is_at("/")).await;
        assert_eq!(page.set().len(), 0, "the browser has the pair of the goodbye");
        site.assert_exchanges(1);
    })
    .await;
}
