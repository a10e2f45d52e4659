//! The sealing key is rotated while a tab is open: each step restarts one instance after the other.

use evertoken_browser::run::{key, run, sign_in};
use evertoken_browser::site::INSTANCES;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_of_the_sealing_key_signs_nobody_out() {
    run("keys", async |site, browser| {
        let (old, new) = (site.keys.clone(), key());
        let both = |first: &evertoken::SealingKeys, second: &evertoken::SealingKeys| {
            first.clone().older(second.clone()).expect("two keys")
        };
        sign_in(site, browser, "ann").await;
        let mut exchanges = 0;
        // The new key is added behind the old one, then moved to the front; the old one is removed at the end.
        for keys in [both(&old, &new), both(&new, &old), new.clone()] {
            for number in 0..INSTANCES {
                site.restart(number, &keys);
                // A pair is sealed by whichever instance rotates, and each of the others opens it.
                site.expire();
                exchanges += 1;
                for _ in 0..INSTANCES {
                    let answer = browser.ask("ask('/api/me')").await;
                    assert_eq!(answer, r#"200 {"user":"ann"}"#);
                }
                site.assert_exchanges(exchanges);
            }
        }
        browser.reload().await;
        browser.shows("user", "ann").await;
        browser.screenshot("with-the-new-key").await;
    })
    .await;
}
