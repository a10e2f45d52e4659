//! A request carries one token in one place.

use evertoken::testing::AuthorizationServer;
use evertoken::{ApiProfile, BuildError, Builder, TokenManager, TokenPair};
use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE};
use reqwest::{Client, RequestBuilder};

use crate::exchanges::HOUR;
use crate::recorder::{Arrived, Recorder, reply};

fn builder(origin: &str) -> Builder {
    TokenManager::builder(AuthorizationServer::builder().build().endpoint())
        .seed(TokenPair::new("new").refresh_token("r1").expires_in(HOUR))
        .origin(origin)
}

/// A request with a token in every place, and with unrelated headers and cookies.
fn crowded(request: RequestBuilder) -> RequestBuilder {
    request
        .header(AUTHORIZATION, "Bearer old")
        .header("x-okapi-token", "older")
        .header(COOKIE, "a=1; folioAccessToken=oldest; folioRefreshToken=r0")
        .header(COOKIE, "folioAccessToken=eldest;b=2")
        .header("x-okapi-tenant", "diku")
}

/// The request as it arrives, from a manager with this change.
async fn arrived(change: impl FnOnce(Builder) -> Builder) -> Arrived {
    let api = Recorder::always(|| reply(200, &[])).await;
    let tokens = change(builder(api.origin())).build().unwrap();
    let http = tokens.client(Client::builder).unwrap();
    let request = crowded(http.http().get(api.url("/records")));
    http.send(request).await.unwrap();
    let mut seen = api.seen();
    assert_eq!(seen.len(), 1);
    seen.remove(0)
}

/// The values of `Authorization`, `X-Okapi-Token` and `Cookie`.
fn places(arrived: &Arrived) -> [Vec<&str>; 3] {
    assert_eq!(arrived.header("x-okapi-tenant"), Some("diku"));
    ["authorization", "x-okapi-token", "cookie"].map(|name| {
        let values = arrived.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    })
}

#[tokio::test]
async fn a5_a_request_with_x_okapi_token_carries_no_other_token() {
    let arrived = arrived(|builder| builder.api(ApiProfile::okapi())).await;
    assert_eq!(places(&arrived), [vec![], vec!["new"], vec!["a=1; b=2"]]);
}

#[tokio::test]
async fn a5_a_request_with_authorization_carries_no_other_token() {
    let arrived = arrived(|it| it.header(AUTHORIZATION).api(ApiProfile::eureka())).await;
    let expected = [vec!["Bearer new"], vec![], vec!["a=1; b=2"]];
    assert_eq!(places(&arrived), expected);
}

#[tokio::test]
async fn a5_a_request_with_a_cookie_carries_no_other_token() {
    let arrived = arrived(|it| it.api(ApiProfile::okapi()).cookie("folioAccessToken")).await;
    let cookies = vec!["a=1; b=2; folioAccessToken=new"];
    assert_eq!(places(&arrived), [vec![], vec![], cookies]);
}

/// Without a profile of the API, only the token's own place changes.
#[tokio::test]
async fn without_a_profile_only_the_tokens_own_place_changes() {
    let arrived_bearer = arrived(|builder| builder).await;
    let [authorization, header, cookies] = places(&arrived_bearer);
    assert_eq!((authorization, header), (vec!["Bearer new"], vec!["older"]));
    assert_eq!(cookies.len(), 2);
    let by_header = arrived(|it| it.header(HeaderName::from_static("x-okapi-token"))).await;
    let [authorization, header, _] = places(&by_header);
    assert_eq!((authorization, header), (vec!["Bearer old"], vec!["new"]));
    let by_cookie = arrived(|builder| builder.cookie("b")).await;
    let [authorization, _, cookies] = places(&by_cookie);
    assert_eq!(authorization, ["Bearer old"]);
    let others =
        "a=1; folioAccessToken=oldest; folioRefreshToken=r0; folioAccessToken=eldest; b=new";
    assert_eq!(cookies, [others]);
}

/// reqwest removes a cookie at a redirect to another host, as it removes `Authorization`.
#[tokio::test]
async fn any_client_may_send_a_cookie_and_no_redirect_carries_it_away() {
    let elsewhere = Recorder::always(|| reply(200, &[])).await;
    let location = elsewhere.url("/taken");
    let api = Recorder::always(move || reply(307, &[("location", &location)])).await;
    let tokens = builder(api.origin()).cookie("token").build().unwrap();
    assert_eq!(tokens.authorization().await.unwrap(), "token=new");
    let request = Client::new().get(api.url("/records"));
    tokens.send(request).await.unwrap();
    assert_eq!(api.seen()[0].header("cookie"), Some("token=new"));
    assert_eq!(elsewhere.seen()[0].header("cookie"), None);
}

#[tokio::test]
async fn an_invalid_name_of_a_cookie_is_refused() {
    let error = builder("https://api.example.org").cookie("a=b").build();
    let Err(BuildError::Invalid { name, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(name, "cookie");
}
