//! Connections that outlive an access token: an `EventSource`, which gives up at every status but 200, and a WebSocket.

use evertoken::testing::Fault;
use evertoken_browser::run::{run, sign_in};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_source_outlives_its_token_and_comes_back_with_the_next_one() {
    run("event-source", async |site, browser| {
        let reconnects = async |skipped| {
            let stream = site.front.until(skipped, |seen| seen.is_at("/api/events"));
            stream.await
        };
        sign_in(site, browser, "ann").await;
        browser.run("listen()").await;
        browser.shows("events", "hello ann").await;
        // The token counted when the stream began.
        site.expire();
        site.api.publish("after the expiry");
        browser.shows("events", "after the expiry").await;
        site.assert_exchanges(0);
        // The stream breaks off, and the browser comes back while its pair is exchanged.
        let before = browser.cookies().await;
        let skipped = site.front.count();
        let exchange = site.server.hold();
        site.api.end_streams();
        reconnects(skipped).await;
        site.server.arrived(1).await;
        assert_eq!(browser.run("return source.readyState").await, 0);
        drop(exchange);
        browser.shows("events", "hello ann").await;
        browser.other_cookies(&before).await;
        site.api.publish("after the reconnect");
        browser.shows("events", "after the reconnect").await;
        site.assert_exchanges(1);
        // The next exchange fails at first: any status but 200 would end the stream for good.
        site.expire();
        site.server.fail_next(Fault::status(503));
        let skipped = site.front.count();
        site.api.end_streams();
        reconnects(skipped).await;
        browser.shows("events", "hello ann").await;
        assert_eq!(browser.run("return source.readyState").await, 1);
        assert_eq!(
            site.front.seen()[skipped..].len(),
            1,
            "it was held, and not sent away"
        );
        site.assert_exchanges(3);
        browser.screenshot("after-two-reconnects").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_socket_of_the_sites_own_page_outlives_its_token() {
    run("web-socket", async |site, browser| {
        sign_in(site, browser, "ann").await;
        let before = browser.cookies().await;
        site.expire();
        browser
            .run("socket(location.origin.replace('http', 'ws') + '/api/socket')")
            .await;
        browser.shows("answer", "ann: hello").await;
        // The answer to the handshake brought the next pair.
        assert_ne!(browser.cookies().await, before);
        site.expire();
        browser.run("theSocket.send('still here')").await;
        browser.shows("answer", "ann: still here").await;
        site.assert_exchanges(1);
    })
    .await;
}
