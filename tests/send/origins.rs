//! q11: only the configured origins get the token. A request to any other URL is sent unchanged.

use evertoken::{BuildError, TokenManager};

use super::recorder::{Recorder, reply};
use super::world::{ACCESS_TTL, World, access, builder};

#[tokio::test(start_paused = true)]
async fn q11_a_url_outside_the_origins_is_left_untouched() {
    let elsewhere = Recorder::with("/401", || reply(401, &[])).await;
    let world = World::new().await;
    // The token is expired, so a request for it would cost an exchange.
    world.clock.advance(ACCESS_TTL).await;
    let get = world.client.get(elsewhere.url("/401"));
    assert_eq!(world.tokens.send(get).await.unwrap().status(), 401);
    let get = world.client.get(elsewhere.url("/"));
    let get = get.basic_auth("user", Some("own")).header("x-own", "1");
    assert_eq!(world.tokens.send(get).await.unwrap().status(), 200);

    let seen = elsewhere.seen();
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen[1].header("authorization"), Some("Basic dXNlcjpvd24="));
    assert_eq!(seen[1].header("x-own"), Some("1"));
    assert_eq!(seen.len(), 2);
    assert_eq!(world.counts(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn q11_without_an_origin_no_url_gets_the_token() {
    let world = World::new().await;
    let tokens = builder(&world.server, &world.clock, &world.first)
        .build()
        .unwrap();
    assert_eq!(tokens.send(world.record()).await.unwrap().status(), 401);
    assert_eq!((world.counts(), world.api.anonymous()), ((1, 1, 0), 1));
}

/// Each of several origins gets the token, and a 401 from any of them counts.
#[tokio::test(start_paused = true)]
async fn every_configured_origin_gets_the_token() {
    let other = Recorder::with("/none", || None).await;
    let world = World::with(|builder| builder.origin(other.origin())).await;
    let sent = world.tokens.send(world.client.get(other.url("/"))).await;
    assert_eq!(sent.unwrap().status(), 200);
    assert_eq!(other.seen()[0].token(), Some(access(&world.first)));
    world.tokens.send(world.record()).await.unwrap();
    assert_eq!(world.counts(), (1, 0, 0));
}

/// The target of a URL decides, and not its spelling.
#[tokio::test(start_paused = true)]
async fn odd_urls_are_judged_by_their_target() {
    let world = World::new().await;
    let port = world.http.addr().port();
    for url in [
        format!("HTTP://127.0.0.1:{port}/records"),
        format!("http://127.1:{port}/records"),
        format!("http://2130706433:{port}/records"),
        format!("http://0x7f.0.0.1:{port}/records"),
        format!("http:\\\\127.0.0.1:{port}\\records"),
        format!("http://127.0.0.1:{port}\\@example.org/records"),
        format!("http://example.org@127.0.0.1:{port}/records"),
        format!("http://user:own@127.0.0.1:{port}/records?x=1#part"),
    ] {
        let sent = world.tokens.send(world.client.get(&url)).await.unwrap();
        assert_eq!(sent.status(), 200, "{url}");
    }
    assert_eq!(world.api.unauthorized(), 0);

    let elsewhere = Recorder::with("/none", || None).await;
    let other = elsewhere.origin().strip_prefix("http://").unwrap();
    for url in [
        format!("http://127.0.0.1:{port}@{other}/"),
        format!("http://127.0.0.1:{port}%2F@{other}/"),
        format!("http://{other}/http://127.0.0.1:{port}/"),
        format!("http://{other}/?http://127.0.0.1:{port}/"),
        format!("http://{other}#@127.0.0.1:{port}/"),
    ] {
        let sent = world.tokens.send(world.client.get(&url)).await.unwrap();
        assert_eq!(sent.status(), 200, "{url}");
    }
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|seen| seen.token().is_none()));
}

/// Another name of the same host is another origin.
#[tokio::test]
async fn a_name_of_the_host_that_was_not_configured_gets_no_token() {
    let world = World::new().await;
    let url = format!("http://localhost:{}/records", world.http.addr().port());
    let sent = world.tokens.send(world.client.get(url)).await.unwrap();
    assert_eq!((sent.status().as_u16(), world.api.anonymous()), (401, 1));
    assert_eq!(world.server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_token_replaces_any_value_in_its_header() {
    let api = Recorder::with("/none", || None).await;
    let world = World::new().await;
    let tokens = builder(&world.server, &world.clock, &world.first)
        .origin(api.origin())
        .build()
        .unwrap();
    let get = world.client.get(api.url("/"));
    let get = get.header("authorization", "Bearer stale");
    let get = get.header("Authorization", "Basic dXNlcjpvd24=");
    tokens.send(get).await.unwrap();
    let seen = api.seen();
    let values: Vec<_> = seen[0].headers.get_all("authorization").iter().collect();
    assert_eq!(values, [&format!("Bearer {}", access(&world.first))]);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_origin_is_refused_by_the_builder() {
    let world = World::new().await;
    for origin in [
        "http://api.example.org",
        "api.example.org",
        "https://api.example.org/v1",
        "https://*.example.org",
        "ftp://127.0.0.1",
        "null",
        "",
    ] {
        let built: Result<TokenManager, _> = builder(&world.server, &world.clock, &world.first)
            .origin(origin)
            .build();
        let error = built.expect_err(origin);
        assert!(matches!(error, BuildError::Invalid { name: "origin", .. }));
    }
}
