//! The codes of the authorization endpoint at the token endpoint.

use std::time::Duration;

use evertoken::testing::{AccessCheck, AuthorizationServer, Fault, TestClock};

use crate::scene::{REDIRECT, Scene, builder, challenge, error_of, json, location, parameter};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_code_is_good_once_and_its_second_use_ends_the_session_of_the_first() {
    let scene = Scene::new(builder()).await;
    let code = scene.code(&[]);
    let first = json(scene.exchange(&code, &[]).await).await;
    let second = json(scene.refresh(&first).await).await;
    let of_another = json(scene.exchange(&scene.code(&[]), &[]).await).await;
    let worth = |pair: &serde_json::Value| {
        let access = pair["access_token"].as_str().unwrap();
        scene.server.check(access)
    };
    assert_eq!(worth(&second), AccessCheck::Live);
    // A third use finds the session ended.
    for _ in 0..2 {
        let again = scene.exchange(&code, &[]).await;
        assert_eq!(error_of(again).await, "invalid_grant");
        assert_eq!(worth(&first), AccessCheck::Revoked);
        assert_eq!(worth(&second), AccessCheck::Revoked);
        assert_eq!(scene.server.families_revoked(), 1);
    }
    assert_eq!(worth(&of_another), AccessCheck::Live);
    assert_eq!((scene.server.sign_ins(), scene.server.exchanges()), (4, 1));
}

#[tokio::test]
async fn a_code_is_used_up_by_a_wrong_verifier_and_by_a_wrong_redirect_uri() {
    let wrong_verifier = "another-verifier-another-verifier-another-0";
    for wrong in [
        ("code_verifier", wrong_verifier),
        ("redirect_uri", "http://127.0.0.1:8081/callback"),
    ] {
        let scene = Scene::new(builder()).await;
        let code = scene.code(&[]);
        for changed in [&[wrong][..], &[]] {
            let answer = scene.exchange(&code, changed).await;
            assert_eq!(error_of(answer).await, "invalid_grant", "{wrong:?}");
        }
        assert_eq!(scene.server.families_revoked(), 0);
    }
    let scene = Scene::new(builder()).await;
    let made_up = scene.exchange("made-up", &[]).await;
    assert_eq!(error_of(made_up).await, "invalid_grant");
    let code = scene.code(&[]);
    for name in ["code", "redirect_uri", "code_verifier"] {
        let without = scene.exchange(&code, &[(name, "")]).await;
        assert_eq!(error_of(without).await, "invalid_request", "{name}");
    }
    // What is not a grant does not use the code up.
    assert_eq!(scene.exchange(&code, &[]).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_code_lives_for_its_time() {
    for (set, ttl) in [(None, 60 * SECOND), (Some(30 * SECOND), 30 * SECOND)] {
        let clock = TestClock::new();
        let server = builder().clock(clock.clone());
        let server = match set {
            Some(ttl) => server.code_ttl(ttl),
            None => server,
        };
        let scene = Scene::new(server).await;
        let (early, late) = (scene.code(&[]), scene.code(&[]));
        clock.advance(ttl - SECOND).await;
        assert_eq!(scene.exchange(&early, &[]).await.status(), 200);
        clock.advance(SECOND).await;
        let late = scene.exchange(&late, &[]).await;
        assert_eq!(error_of(late).await, "invalid_grant");
    }
}

#[tokio::test]
async fn a_code_is_for_the_client_that_asked_for_it() {
    let scene = Scene::new(builder()).await;
    let code = scene.code(&[]);
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={REDIRECT}&code_verifier=x"
    );
    let anonymous = scene.post(scene.listening.url(), form, None).await;
    assert_eq!(anonymous.unwrap().status(), 401);
    assert_eq!(scene.exchange(&code, &[]).await.status(), 200);

    // Of a server that serves all clients.
    let open = AuthorizationServer::builder().redirect_uri(REDIRECT);
    let scene = Scene::new(open).await;
    let code = scene.code(&[("client_id", "other")]);
    let answer = scene.exchange(&code, &[]).await;
    assert_eq!(error_of(answer).await, "invalid_grant");
}

#[tokio::test]
async fn a_code_meets_the_faults_of_a_grant() {
    let scene = Scene::new(builder()).await;
    let code = scene.code(&[]);
    scene.server.fail_next(Fault::status(503));
    assert_eq!(scene.exchange(&code, &[]).await.status(), 503);
    scene.server.fail_next(Fault::DropAfter);
    assert!(scene.try_exchange(&code, &[]).await.is_err());
    // The code was used by the grant whose answer is lost.
    let again = scene.exchange(&code, &[]).await;
    assert_eq!(error_of(again).await, "invalid_grant");
    assert_eq!((scene.server.sign_ins(), scene.server.exchanges()), (3, 0));
    assert_eq!(scene.server.families_revoked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_code_that_arrived_is_held_undecided() {
    let clock = TestClock::new();
    let scene = Scene::new(builder().clock(clock.clone())).await;
    let code = scene.code(&[]);
    let hold = scene.server.hold();
    let held = tokio::time::timeout(SECOND, scene.exchange(&code, &[]));
    assert!(held.await.is_err());
    assert_eq!(scene.server.sign_ins(), 1);
    drop(hold);
    // The grant was not undone by the client that hung up.
    clock.advance(SECOND).await;
    let again = scene.exchange(&code, &[]).await;
    assert_eq!(error_of(again).await, "invalid_grant");
    assert_eq!(scene.server.families_revoked(), 1);
}

#[tokio::test]
async fn a_user_gets_the_scope_that_the_client_asks_for() {
    let scoped = || builder().scope("read write");
    for (server, asked, got) in [
        (scoped(), "read", Some("read")),
        (scoped(), "write read", Some("read write")),
        // Without a request for a scope, all of it.
        (scoped(), "", Some("read write")),
        (scoped(), " ", Some("read write")),
        // The server has no scopes.
        (builder(), "openid", None),
    ] {
        let scene = Scene::new(server).await;
        let code = scene.code(&[("scope", asked)]);
        let first = json(scene.exchange(&code, &[]).await).await;
        let second = json(scene.refresh(&first).await).await;
        for pair in [first, second] {
            assert!(pair["access_token"].is_string(), "{asked:?}");
            let scope = pair.get("scope").map(|scope| scope.as_str().unwrap());
            assert_eq!(scope, got, "{asked:?}");
        }
    }
    let scene = Scene::new(scoped()).await;
    let request = scene.request(&[("scope", "read delete")]);
    let back = scene.server.authorize(&request).unwrap();
    assert_eq!(parameter(&back, "error").unwrap(), "invalid_scope");
    assert_eq!(location(&scene.get(request).await), back);
}

/// light-oauth2 burns a token that is presented for more than the token has.
#[tokio::test]
async fn a_refresh_for_more_than_the_user_signed_in_for_is_refused_where_the_server_checks_that() {
    let light = AuthorizationServer::light_oauth2().client("app", "secret");
    let scene = Scene::new(light.redirect_uri(REDIRECT).scope("read write")).await;
    for (asked, status) in [("read", 200), ("write", 400)] {
        let code = scene.code(&[("scope", "read")]);
        let pair = json(scene.exchange(&code, &[]).await).await;
        let token = pair["refresh_token"].as_str().unwrap();
        let grant = format!("grant_type=refresh_token&refresh_token={token}&scope={asked}");
        let answer = scene.post(scene.listening.url(), grant, Some("app"));
        assert_eq!(answer.await.unwrap().status(), status, "{asked}");
        assert!(!scene.server.is_live_refresh(token), "{asked}");
    }
}

#[tokio::test]
async fn a_verifier_has_the_form_of_rfc_7636() {
    let scene = Scene::new(builder()).await;
    for (verifier, status) in [
        ("a-._~9Z".repeat(7), 200),
        ("a".repeat(128), 200),
        ("a".repeat(42), 400),
        ("a".repeat(129), 400),
        ("a+".repeat(22), 400),
    ] {
        let code = scene.code(&[("code_challenge", &challenge(&verifier))]);
        let answer = scene.exchange(&code, &[("code_verifier", &verifier)]).await;
        assert_eq!(answer.status(), status, "{verifier}");
    }
}
