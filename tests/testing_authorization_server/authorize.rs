//! Sign-ins in a browser: the authorization endpoint, its page, and the codes that it issues.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use evertoken::testing::{
    AccessCheck, AuthorizationServer, AuthorizationServerBuilder, AuthorizeError, HttpServer,
    TestClock,
};
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use url::Url;

const REDIRECT: &str = "http://127.0.0.1:8080/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn challenge() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

fn builder() -> AuthorizationServerBuilder {
    AuthorizationServer::builder()
        .client("app", "secret")
        .redirect_uri(REDIRECT)
}

/// The authorization request of the client, with some of its parameters replaced, or left out by an empty text.
fn request(at: &str, changed: &[(&str, &str)]) -> Url {
    let challenge = challenge();
    let parameters = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", REDIRECT),
        ("state", "s&t=a te\"<>'"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let mut url = Url::parse(at).unwrap();
    for (name, value) in parameters {
        let value = changed
            .iter()
            .find(|(other, _)| *other == name)
            .map_or(value, |(_, it)| it);
        if !value.is_empty() {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url
}

fn parameter(url: &Url, wanted: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.into_owned())
}

struct Scene {
    server: AuthorizationServer,
    listening: HttpServer,
    http: Client,
}

impl Scene {
    async fn new(builder: AuthorizationServerBuilder) -> Self {
        let server = builder.build();
        let listening = server.listen().await.unwrap();
        let http = Client::builder().no_proxy().redirect(Policy::none());
        Self {
            server,
            listening,
            http: http.build().unwrap(),
        }
    }

    fn authorize(&self) -> String {
        format!("{}/authorize", self.listening.origin())
    }

    async fn exchange(&self, code: &str, changed: &[(&str, &str)]) -> Response {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        let form = form.map(|(name, value)| {
            let changed = changed.iter().find(|(other, _)| *other == name);
            (name, changed.map_or(value, |(_, it)| it))
        });
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        let request = self.http.post(self.listening.url()).body(body.finish());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request
            .basic_auth("app", Some("secret"))
            .send()
            .await
            .unwrap()
    }

    /// A code that the browser brings back.
    fn code(&self) -> String {
        let back = self
            .server
            .authorize(&request(&self.authorize(), &[]))
            .unwrap();
        parameter(&back, "code").unwrap()
    }
}

async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_user_signs_in_on_the_page_and_the_client_has_a_pair_that_rotates() {
    let scene = Scene::new(builder()).await;
    let request = request(&scene.authorize(), &[]);
    let page = scene.http.get(request.clone()).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    for (name, value) in [("cache-control", "no-store"), ("x-frame-options", "DENY")] {
        assert_eq!(page.headers()[name], value);
    }
    let html = page.text().await.unwrap();
    assert!(html.contains(r#"<button id="sign-in">"#), "{html}");
    assert!(html.contains("s&amp;t=a te&quot;&lt;&gt;&#39;"), "{html}");

    // The button posts the fields of the form.
    let post = scene
        .http
        .post(scene.authorize())
        .body(request.query().unwrap().to_owned());
    let back = post.send().await.unwrap();
    assert_eq!(back.status(), StatusCode::SEE_OTHER);
    let back = Url::parse(back.headers()["location"].to_str().unwrap()).unwrap();
    assert!(back.as_str().starts_with(REDIRECT));
    assert_eq!(parameter(&back, "state").unwrap(), "s&t=a te\"<>'");
    assert_eq!(parameter(&back, "iss").unwrap(), scene.listening.origin());

    let answer = scene
        .exchange(&parameter(&back, "code").unwrap(), &[])
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    let pair = json(answer).await;
    let access = pair["access_token"].as_str().unwrap();
    assert_eq!(scene.server.check(access), AccessCheck::Live);
    assert_eq!((scene.server.sign_ins(), scene.server.exchanges()), (1, 0));
    let refresh = format!(
        "grant_type=refresh_token&refresh_token={}",
        pair["refresh_token"].as_str().unwrap()
    );
    let rotated = scene.http.post(scene.listening.url()).body(refresh);
    let rotated = rotated
        .basic_auth("app", Some("secret"))
        .send()
        .await
        .unwrap();
    assert_eq!(rotated.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_code_is_good_once_and_its_second_use_ends_the_session_of_the_first() {
    let scene = Scene::new(builder()).await;
    let code = scene.code();
    let pair = json(scene.exchange(&code, &[]).await).await;
    let access = pair["access_token"].as_str().unwrap();
    let again = scene.exchange(&code, &[]).await;
    assert_eq!(again.status(), StatusCode::BAD_REQUEST);
    assert_eq!(json(again).await["error"], "invalid_grant");
    assert_eq!(scene.server.check(access), AccessCheck::Revoked);
}

#[tokio::test]
async fn a_code_is_used_up_by_a_wrong_verifier_and_by_a_wrong_redirect_uri() {
    for wrong in [
        (
            "code_verifier",
            "another-verifier-another-verifier-another-0",
        ),
        ("redirect_uri", "http://127.0.0.1:8081/callback"),
    ] {
        let scene = Scene::new(builder()).await;
        let code = scene.code();
        for changed in [&[wrong][..], &[]] {
            let answer = scene.exchange(&code, changed).await;
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{wrong:?}");
            assert_eq!(json(answer).await["error"], "invalid_grant");
        }
    }
    let scene = Scene::new(builder()).await;
    assert_eq!(scene.exchange("made-up", &[]).await.status(), 400);
    let code = scene.code();
    let without = scene.exchange(&code, &[("code_verifier", "")]).await;
    assert_eq!(json(without).await["error"], "invalid_request");
}

#[tokio::test]
async fn a_code_lives_for_its_time() {
    let clock = TestClock::new();
    let ttl = Duration::from_secs(30);
    let scene = Scene::new(builder().clock(clock.clone()).code_ttl(ttl)).await;
    let (early, late) = (scene.code(), scene.code());
    clock.suspend(ttl - Duration::from_secs(10));
    assert_eq!(scene.exchange(&early, &[]).await.status(), 200);
    clock.suspend(Duration::from_secs(10));
    assert_eq!(scene.exchange(&late, &[]).await.status(), 400);
}

#[tokio::test]
async fn the_browser_is_sent_to_registered_addresses_alone() {
    let server = builder()
        .redirect_uri("https://app.example.org/callback")
        .build();
    let at = "https://id.example.org/authorize";
    let of = |redirect: &str| server.authorize(&request(at, &[("redirect_uri", redirect)]));
    for redirect in [
        REDIRECT,
        "http://127.0.0.1:1234/callback",
        "https://app.example.org/callback",
    ] {
        assert!(of(redirect).is_ok(), "{redirect}");
    }
    for redirect in [
        "https://app.example.org/callback/",
        "https://app.example.org/callback2",
        "https://app.example.org:444/callback",
        "https://app.example.org/callback?x=1",
        "https://app.example.org.evil.example/callback",
        "http://127.0.0.1:8080/other",
        "http://localhost:8080/callback",
        "callback",
        "",
    ] {
        let refused = of(redirect).unwrap_err();
        assert_eq!(refused, AuthorizeError::UnknownRedirectUri, "{redirect}");
    }
    let other = server.authorize(&request(at, &[("client_id", "other")]));
    assert_eq!(other.unwrap_err(), AuthorizeError::UnknownClient);
}

#[tokio::test]
async fn a_request_that_is_not_the_code_grant_with_pkce_goes_back_with_an_error() {
    let scene = Scene::new(builder()).await;
    for (changed, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
    ] {
        let request = request(&scene.authorize(), &[changed]);
        let page = scene.http.get(request.clone()).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::SEE_OTHER, "{changed:?}");
        let back = scene.server.authorize(&request).unwrap();
        assert_eq!(page.headers()["location"], back.as_str());
        assert_eq!(
            parameter(&back, "error").as_deref(),
            Some(error),
            "{changed:?}"
        );
        assert_eq!(parameter(&back, "code"), None);
    }
    let stranger = request(
        &scene.authorize(),
        &[("redirect_uri", "https://evil.example/")],
    );
    let page = scene.http.get(stranger).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::BAD_REQUEST);
    assert_eq!(page.headers().get("location"), None);
}
