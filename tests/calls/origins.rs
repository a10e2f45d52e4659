//! Only the configured origins get the token.

use evertoken::ApiProfile;
use url::Url;

use crate::recorder::{Recorder, reply};
use crate::ways::{Call, Way, ways};
use crate::world::{ACCESS_TTL, World, access, builder};

ways! {
    #[tokio::test(start_paused = true)]
    every way:
    a_url_outside_the_origins_gets_no_token_and_its_401_costs_nothing,
    every_configured_origin_gets_the_token,
    a_tokenless_path_gets_no_token,
}

async fn a_url_outside_the_origins_gets_no_token_and_its_401_costs_nothing<W: Way>() {
    let elsewhere = Recorder::with("/401", || reply(401, &[])).await;
    let world = World::new().await;
    let way = W::new(&world.tokens);
    // The token is expired, so a request for it would cost an exchange.
    world.clock.advance(ACCESS_TTL).await;
    for (path, status) in [("/401", 401), ("/", 200)] {
        let answer = way.call(Call::post(elsewhere.url(path))).await.unwrap();
        assert_eq!(answer.status, status);
    }
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter()
            .all(|seen| seen.header("authorization").is_none())
    );
    assert_eq!(world.counts(), (0, 0, 0));
}

async fn every_configured_origin_gets_the_token<W: Way>() {
    let other = Recorder::with("/none", || None).await;
    let world = World::with(|builder| builder.origin(other.origin())).await;
    let way = W::new(&world.tokens);
    assert_eq!(
        way.call(Call::get(other.url("/"))).await.unwrap().status,
        200
    );
    assert_eq!(other.seen()[0].token(), Some(access(&world.first)));
    let answer = way.call(Call::post(world.http.url())).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(world.counts(), (1, 0, 0));
}

async fn a_tokenless_path_gets_no_token<W: Way>() {
    let api = Recorder::with("/users/sign-in", || reply(401, &[])).await;
    let world = World::new().await;
    let tokens = builder(&world.server, &world.clock, &world.first)
        .origin(api.origin())
        .api(ApiProfile::default().tokenless("/users/sign-in"))
        .build()
        .unwrap();
    world.clock.advance(ACCESS_TTL).await;
    let call = Call::post(api.url("/users/sign-in"));
    assert_eq!(W::new(&tokens).call(call).await.unwrap().status, 401);
    assert_eq!(api.seen()[0].header("authorization"), None);
    assert_eq!((api.seen().len(), world.server.exchanges()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn allows_reports_whether_a_request_gets_the_token() {
    let world = World::new().await;
    let tokens = builder(&world.server, &world.clock, &world.first)
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
