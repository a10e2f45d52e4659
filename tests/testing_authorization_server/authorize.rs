//! The authorization endpoint: its page, and where the browser is sent back to.

use evertoken::testing::{AccessCheck, AuthorizationServer, AuthorizeError};
use reqwest::StatusCode;
use url::Url;

use crate::scene::{REDIRECT, STATE, Scene, builder, error_of, json, location, parameter, request};

/// Of a server in this process.
const AT: &str = "https://id.example.org/authorize";

#[tokio::test]
async fn a_user_signs_in_on_the_page_and_the_client_has_a_pair_that_rotates() {
    let scene = Scene::new(builder()).await;
    let page = scene.get(scene.request(&[])).await;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(page.headers()[name], value);
    }

    let answer = scene.press(&page.text().await.unwrap()).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let back = location(&answer);
    assert!(back.as_str().starts_with(&format!("{REDIRECT}?code=")));
    assert_eq!(parameter(&back, "state").unwrap(), STATE);
    assert_eq!(parameter(&back, "iss").unwrap(), scene.listening.origin());

    let code = parameter(&back, "code").unwrap();
    let answer = scene.exchange(&code, &[]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let pair = json(answer).await;
    let access = pair["access_token"].as_str().unwrap();
    assert_eq!(scene.server.check(access), AccessCheck::Live);
    assert_eq!((scene.server.sign_ins(), scene.server.exchanges()), (1, 0));
    assert_eq!(scene.refresh(&pair).await.status(), StatusCode::OK);
    assert_eq!((scene.server.sign_ins(), scene.server.exchanges()), (1, 1));
}

#[tokio::test]
async fn in_this_process_the_button_needs_no_page() {
    let server = builder().build();
    let back = server.authorize(&request(AT, &[])).unwrap();
    assert_eq!(parameter(&back, "state").unwrap(), STATE);
    assert_eq!(parameter(&back, "iss").unwrap(), "https://id.example.org");
    assert!(parameter(&back, "code").is_some());

    let back = server.authorize(&request(AT, &[("state", "")])).unwrap();
    assert_eq!(parameter(&back, "state"), None);
    assert!(parameter(&back, "code").is_some());
}

#[tokio::test]
async fn a_page_shows_a_hostile_request_as_text() {
    let scene = Scene::new(builder()).await;
    let hostile = "\"><script>alert('&')</script>";
    let page = scene
        .get(scene.request(&[("state", hostile), (hostile, "1")]))
        .await;
    let html = page.text().await.unwrap();
    assert!(!html.contains("<script"), "{html}");
    let shown = "&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;";
    assert!(html.contains(&format!("value=\"{shown}\"")), "{html}");
    assert!(html.contains(&format!("name=\"{shown}\"")), "{html}");
    let back = location(&scene.press(&html).await);
    assert_eq!(parameter(&back, "state").unwrap(), hostile);

    let unknown = scene.get(scene.request(&[("client_id", hostile)])).await;
    assert!(!unknown.text().await.unwrap().contains("<script"));
}

#[tokio::test]
async fn the_browser_is_sent_to_registered_addresses_alone() {
    let server = builder()
        .redirect_uri("https://app.example.org/callback")
        .redirect_uri("http://[::1]/callback?own=1")
        .build();
    let of = |redirect: &str| server.authorize(&request(AT, &[("redirect_uri", redirect)]));
    for redirect in [
        REDIRECT,
        "http://127.0.0.1/callback",
        "http://127.0.0.1:1234/callback",
        "http://[::1]:1234/callback?own=1",
        "https://app.example.org/callback",
    ] {
        let back = of(redirect).unwrap();
        assert!(back.as_str().starts_with(redirect), "{redirect}");
        assert!(parameter(&back, "code").is_some(), "{redirect}");
    }
    for redirect in [
        "https://app.example.org/callback/",
        "https://app.example.org/callback2",
        "https://app.example.org/",
        "https://app.example.org:444/callback",
        "https://app.example.org/callback?x=1",
        "https://app.example.org/callback#x",
        "https://app.example.org.evil.example/callback",
        "http://127.0.0.1:8080/other",
        "http://127.0.0.1:8080/callback?x=1",
        "http://127.0.0.1:8080/a/../callback",
        "http://127.0.0.1:8080/%63allback",
        "http://127.1:8080/callback",
        "http://user@127.0.0.1:8080/callback",
        "http://127.0.0.1:80@evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "https://127.0.0.1:8080/callback",
        "http://localhost:8080/callback",
        "callback",
        "",
    ] {
        let refused = of(redirect).unwrap_err();
        assert_eq!(refused, AuthorizeError::UnknownRedirectUri, "{redirect}");
    }
    let none = AuthorizationServer::builder().build();
    let refused = none.authorize(&request(AT, &[])).unwrap_err();
    assert_eq!(refused, AuthorizeError::UnknownRedirectUri);
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
        (("code_challenge", &"=".repeat(43)), "invalid_request"),
    ] {
        let request = scene.request(&[changed]);
        let page = scene.get(request.clone()).await;
        assert_eq!(page.status(), StatusCode::SEE_OTHER, "{changed:?}");
        let back = scene.server.authorize(&request).unwrap();
        assert_eq!(location(&page), back);
        assert!(back.as_str().starts_with(REDIRECT), "{changed:?}");
        assert_eq!(parameter(&back, "error").unwrap(), error, "{changed:?}");
        assert_eq!(parameter(&back, "state").unwrap(), STATE);
        assert_eq!(parameter(&back, "iss").unwrap(), scene.listening.origin());
        assert_eq!(parameter(&back, "code"), None);
    }
    let mut twice = scene.request(&[]);
    twice.query_pairs_mut().append_pair("scope", "a");
    twice.query_pairs_mut().append_pair("scope", "b");
    let back = location(&scene.get(twice).await);
    assert_eq!(parameter(&back, "error").unwrap(), "invalid_request");
}

#[tokio::test]
async fn a_request_of_a_stranger_gets_a_page_and_no_redirect() {
    let scene = Scene::new(builder().another_client("other", "secret")).await;
    for (changed, error) in [
        (("client_id", ""), AuthorizeError::UnknownClient),
        (("client_id", "stranger"), AuthorizeError::UnknownClient),
        (("client_id", "other"), AuthorizeError::UnknownClient),
        (("redirect_uri", ""), AuthorizeError::UnknownRedirectUri),
        (
            ("redirect_uri", "https://evil.example/"),
            AuthorizeError::UnknownRedirectUri,
        ),
    ] {
        // Another fault of the request does not turn the page into a redirect.
        for method in ["S256", "plain"] {
            let request = scene.request(&[changed, ("code_challenge_method", method)]);
            assert_eq!(scene.server.authorize(&request).unwrap_err(), error);
            let form = request.query().unwrap_or_default().to_owned();
            let url = format!("{}/authorize", scene.listening.origin());
            let posted = scene.post(&url, form, None).await.unwrap();
            for page in [scene.get(request).await, posted] {
                assert_eq!(page.status(), StatusCode::BAD_REQUEST, "{changed:?}");
                assert_eq!(page.headers().get("location"), None, "{changed:?}");
                assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
            }
        }
    }
    let mut twice = scene.request(&[]);
    twice.query_pairs_mut().append_pair("client_id", "app");
    assert_eq!(scene.get(twice).await.status(), StatusCode::BAD_REQUEST);

    let grant = "grant_type=authorization_code".to_owned();
    let url = Url::parse(scene.listening.url()).unwrap();
    let answer = scene.post(url.as_str(), grant, Some("app")).await.unwrap();
    assert_eq!(error_of(answer).await, "invalid_request");
    assert_eq!(scene.server.sign_ins(), 0);
}
