//! A token for loopback goes there in the clear, so a client of the crate's own takes it through no proxy.

use reqwest::{Client, ClientBuilder, Proxy};

use crate::recorder::{Recorder, reply};
use crate::world::{World, access, builder};

/// A proxy that lets nothing through, and a builder of clients that use it for everything.
async fn proxied() -> (Recorder, impl Fn() -> ClientBuilder) {
    let proxy = Recorder::start(|_| std::future::ready(reply(502, &[]))).await;
    let url = proxy.origin().to_owned();
    (proxy, move || {
        Client::builder().proxy(Proxy::all(&url).unwrap())
    })
}

#[tokio::test(start_paused = true)]
async fn a_token_for_loopback_goes_through_no_proxy_on_our_client() {
    let (proxy, proxied) = proxied().await;
    let world = World::new().await;
    // Any other client goes through it, also to loopback.
    let control = proxied().build().unwrap().get(world.http.url()).send();
    assert_eq!(control.await.unwrap().status(), 502);
    assert_eq!(proxy.seen().len(), 1);
    for origin in [None, Some("https://api.example.org")] {
        let first = world.server.issue();
        let tokens = builder(&world.server, &world.clock, &first).origin(world.http.origin());
        let tokens = match origin {
            Some(origin) => tokens.origin(origin),
            None => tokens,
        };
        let tokens = tokens.build().unwrap();
        let ours = tokens.client(&proxied).unwrap();
        // Whichever client the request was built with.
        for http in [ours.http().clone(), proxied().build().unwrap()] {
            let sent = ours.send(http.get(world.http.url())).await.unwrap();
            assert_eq!(sent.status(), 200);
        }
        assert_eq!(proxy.seen().len(), 1, "{origin:?}");
        let shown = format!("{:?}", proxy.seen());
        assert!(!shown.contains(access(&first)), "{shown}");
    }
    assert_eq!(world.counts(), (4, 0, 0));
}

/// What goes there is encrypted: the proxy sees where it leads, and no more.
#[tokio::test(start_paused = true)]
async fn a_call_of_an_https_origin_goes_through_the_proxy_that_the_user_has_set() {
    let (proxy, proxied) = proxied().await;
    let world = World::new().await;
    let tokens = builder(&world.server, &world.clock, &world.first)
        .origin(world.http.origin())
        .origin("https://api.example.org")
        .build()
        .unwrap();
    let ours = tokens.client(proxied).unwrap();
    let get = ours.http().get("https://api.example.org/records");
    ours.send(get).await.unwrap_err();
    let seen = proxy.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].method, "CONNECT");
    assert_eq!(seen[0].header("host"), Some("api.example.org:443"));
    assert_eq!(seen[0].header("authorization"), None);
}
