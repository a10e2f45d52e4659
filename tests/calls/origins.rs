//! Only the configured origins get the token.

use evertoken::{ApiProfile, BuildError};
use url::Url;

use crate::recorder::{Recorder, reply};
use crate::ways::{Call, Way, ways};
use crate::world::{ACCESS_TTL, World, access};

ways! {
    #[tokio::test(start_paused = true)]
    every way:
    q11_a_url_outside_the_origins_gets_no_token_and_its_401_costs_nothing,
    every_configured_origin_gets_the_token,
    a_tokenless_path_gets_no_token,
}

async fn q11_a_url_outside_the_origins_gets_no_token_and_its_401_costs_nothing<W: Way>() {
    let elsewhere = Recorder::with("/401", || reply(401, &[])).await;
    let world = World::new().await;
    let way = W::new(&world.tokens);
    // The token is expired, so a request for it would cost an exchange.
    world.clock.advance(ACCESS_TTL).await;
    for (path, status) in [("/401", 401), ("/", 200)] {
        assert_eq!(way.status(Call::post(elsewhere.url(path))).await, status);
    }
    let headers: Vec<_> = elsewhere.seen().into_iter().map(|it| it.headers).collect();
    assert!(headers.iter().all(|it| !it.contains_key("authorization")));
    assert_eq!(headers.len(), 2);
    assert_eq!(world.counts(), (0, 0, 0));
}

async fn every_configured_origin_gets_the_token<W: Way>() {
    let other = Recorder::with("/none", || None).await;
    let world = World::with(|builder| builder.origin(other.origin())).await;
    let way = W::new(&world.tokens);
    assert_eq!(way.status(Call::get(other.url("/"))).await, 200);
    assert_eq!(other.seen()[0].token(), Some(access(&world.first)));
    assert_eq!(way.status(Call::post(world.http.url())).await, 200);
    assert_eq!(world.counts(), (1, 0, 0));
}

async fn a_tokenless_path_gets_no_token<W: Way>() {
    let api = Recorder::with("/users/sign-in", || reply(401, &[])).await;
    let world = World::new().await;
    let tokens = world
        .builder(&world.first)
        .origin(api.origin())
        .api(ApiProfile::default().tokenless("/users/sign-in"))
        .build()
        .unwrap();
    world.clock.advance(ACCESS_TTL).await;
    let call = Call::post(api.url("/users/sign-in"));
    assert_eq!(W::new(&tokens).status(call).await, 401);
    assert_eq!(api.seen()[0].header("authorization"), None);
    assert_eq!((api.seen().len(), world.server.exchanges()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn allows_reports_whether_a_request_gets_the_token() {
    let world = World::new().await;
    let tokens = world
        .builder(&world.first)
        .origin("https://api.example.org")
        .origin("http://127.0.0.1:8080")
        .api(ApiProfile::default().tokenless("/sign-in"))
        .build()
        .unwrap();
    for (url, expected) in [
        ("https://api.example.org/records?page=2", true),
        ("https://api.example.org:443/", true),
        ("https://user@api.example.org/", true),
        ("http://127.0.0.1:8080/", true),
        ("http://2130706433:8080/", true),
        ("http://api.example.org/", false),
        ("https://api.example.org:8443/", false),
        ("https://api.example.org.evil.net/", false),
        ("https://api.example.org@evil.net/", false),
        ("http://127.0.0.1:8081/", false),
        ("http://localhost:8080/", false),
        ("https://api.example.org/sign-in", false),
        ("https://api.example.org/tenant/sign-in/", false),
        ("https://api.example.org/sign-in/more", true),
        ("data:,x", false),
    ] {
        let url = Url::parse(url).unwrap();
        assert_eq!(tokens.allows(&url), expected, "{url}");
    }
    assert_eq!(world.server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn q11_a_url_outside_the_origins_keeps_its_own_headers() {
    let elsewhere = Recorder::with("/none", || None).await;
    let world = World::new().await;
    world.clock.advance(ACCESS_TTL).await;
    let get = world.client.get(elsewhere.url("/"));
    world
        .send(get.basic_auth("user", Some("own")).header("x-own", "1"))
        .await;
    let seen = elsewhere.seen();
    assert_eq!(seen[0].header("authorization"), Some("Basic dXNlcjpvd24="));
    assert_eq!(seen[0].header("x-own"), Some("1"));
    assert_eq!((seen.len(), world.counts()), (1, (0, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn q11_without_an_origin_no_url_gets_the_token() {
    let world = World::new().await;
    let tokens = world.builder(&world.first).build().unwrap();
    assert_eq!(tokens.send(world.record()).await.unwrap().status(), 401);
    assert_eq!((world.counts(), world.api.anonymous()), ((1, 1, 0), 1));
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
        let sent = world.send(world.client.get(&url)).await;
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
        let sent = world.send(world.client.get(&url)).await;
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
    let sent = world.send(world.client.get(url)).await;
    assert_eq!((sent.status().as_u16(), world.api.anonymous()), (401, 1));
    assert_eq!(world.server.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_token_replaces_any_value_in_its_header() {
    let api = Recorder::with("/none", || None).await;
    let world = World::new().await;
    let tokens = world.manager(api.origin());
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
        let built = world.builder(&world.first).origin(origin).build();
        let error = built.expect_err(origin);
        assert!(matches!(error, BuildError::Invalid { name: "origin", .. }));
    }
}
