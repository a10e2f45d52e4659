//! A token for loopback travels in the clear, so the crate's own client sends it through no proxy.

use reqwest::{Client, ClientBuilder, Proxy};

use crate::recorder::{Recorder, reply};
use crate::world::{World, access};

/// A proxy that passes nothing on, and a builder of clients that use the proxy for every request.
async fn proxied() -> (Recorder, impl Fn() -> ClientBuilder) {
    let proxy = Recorder::always(|| reply(502, &[])).await;
    let url = proxy.origin().to_owned();
    (proxy, move || {
        Client::builder().proxy(Proxy::all(&url).unwrap())
    })
}

#[tokio::test(start_paused = true)]
async fn our_client_sends_a_token_for_loopback_through_no_proxy() {
    let (proxy, proxied) = proxied().await;
    let world = World::new().await;
    // Any other client uses the proxy, also for loopback.
    let control = proxied().build().unwrap().get(world.http.url()).send();
    assert_eq!(control.await.unwrap().status(), 502);
    assert_eq!(proxy.seen().len(), 1);
    for origin in [None, Some("https://api.example.org")] {
        let first = world.server.issue();
        let tokens = world.builder(&first).origin(world.http.origin());
        let tokens = match origin {
            Some(origin) => tokens.origin(origin),
            None => tokens,
        };
        let tokens = tokens.build().unwrap();
        let ours = tokens.client(&proxied).unwrap();
        // Any client may have built the request.
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

/// The traffic is encrypted: the proxy sees only its target.
#[tokio::test(start_paused = true)]
async fn a_call_of_an_https_origin_goes_through_the_configured_proxy() {
    let (proxy, proxied) = proxied().await;
    let world = World::new().await;
    let tokens = world
        .builder(&world.first)
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
