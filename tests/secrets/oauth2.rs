//! A token endpoint, and an API that accepts its tokens.

use std::collections::HashMap;

use evertoken::{
    ClientAuth, FileStore, OAuth2, TokenEndpoint, TokenManager, TokenPair, TokenStore,
};
use http::header::AUTHORIZATION;
use serde_json::json;

use crate::known::*;
use crate::wire::{Server, answer, pair, reached, refresh};
use crate::{net, user_code};

fn endpoint(server: &Server) -> OAuth2 {
    OAuth2::new(server.url("/token"), "importer").unwrap()
}

/// Catches the readable output of a manager.
fn look_at(tokens: &TokenManager) {
    net::debug(tokens);
    net::debug(&tokens.status());
    net::debug(tokens.key());
}

pub(crate) async fn signs_in_and_rotates() {
    let issued = format!(
        r#"{{"access_token":"{ACCESS_1}","refresh_token":"{REFRESH_1}","id_token":"{ID_TOKEN}","expires_in":600}}"#
    );
    let used = format!(r#"{{"error":"invalid_grant","error_description":"{REFRESH_2} was used"}}"#);
    let wrong =
        format!(r#"{{"error":"invalid_client","error_description":"{PASSWORD} {CLIENT_BASIC}"}}"#);
    let challenge = format!("WWW-Authenticate: Basic {CLIENT_BASIC}");
    let server = Server::start([
        answer(200, &[&format!("Set-Cookie: session={ID_TOKEN}")], &issued),
        pair(ACCESS_2, REFRESH_2),
        answer(400, &[], &used),
        answer(401, &[&challenge], &wrong),
    ])
    .await;
    let endpoint = endpoint(&server)
        .client_secret(CLIENT_BASIC)
        .client_auth(ClientAuth::Basic)
        .sign_in_with_password("ada", PASSWORD);
    net::debug(&endpoint);
    let builder = TokenManager::builder(endpoint).origin("https://api.example.org");
    net::debug(&builder);
    let tokens = builder.build().unwrap();
    let mut events = tokens.subscribe();
    let first = tokens.token().await.unwrap();
    assert_eq!(first.expose(), ACCESS_1);
    net::debug(&first);
    net::debug(&tokens.authorization().await.unwrap());
    let second = tokens.rotate().await.unwrap();
    assert_eq!(second.expose(), ACCESS_2);
    look_at(&tokens);
    net::outcome(tokens.rotate().await);
    net::outcome(tokens.rotate().await);
    net::outcome(tokens.sign_in().await);
    net::debug(&tokens.reject(&second));
    while let Some(event) = events.try_recv() {
        net::debug(&event);
    }
    net::debug(&tokens.logout().await);
    look_at(&tokens);
    net::outcome(tokens.token().await);
    drop(tokens);
    let requests = server.end().await;
    let bodies: Vec<_> = requests.iter().map(|it| it.body().to_owned()).collect();
    assert!(bodies.len() >= 3, "{}", bodies.len());
    let encoded = url::form_urlencoded::byte_serialize(REFRESH_1.as_bytes());
    assert!(bodies[1].contains(&encoded.collect::<String>()));
}

pub(crate) async fn is_seeded_and_replaced() {
    let echo = format!("cannot revoke {SEED_REFRESH} {NEW_REFRESH} {CLIENT_POST}");
    let server = Server::start((0..9).map(|_| answer(400, &[], &echo))).await;
    let endpoint = endpoint(&server)
        .client_secret(CLIENT_POST)
        .client_auth(ClientAuth::Post)
        .revocation_url(server.url("/revoke"))
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    // The store creates the directory, which is private whatever the umask.
    let directory = directory.path().join("session");
    let sealer = user_code::Sealing(SEAL_KEY.to_owned());
    let store = FileStore::new(&directory).unwrap().sealed(sealer);
    net::debug(&store);
    let seed = TokenPair::new(SEED_ACCESS).refresh_token(SEED_REFRESH);
    net::debug(&seed);
    let key = endpoint.key();
    let tokens = TokenManager::builder(endpoint)
        .store(store.clone())
        .origin("https://api.example.org")
        .on_rotated(|pair| async move { net::debug(&pair) })
        .seed(seed)
        .build()
        .unwrap();
    let token = tokens.token().await.unwrap();
    assert_eq!(token.expose(), SEED_ACCESS);
    reached(token.expose());
    net::debug(&tokens.reject(&token));
    net::outcome(tokens.rotate().await);
    let loaded = store.load(&key).await.unwrap();
    net::debug(&loaded);
    let replacement = TokenPair::new(NEW_ACCESS).refresh_token(NEW_REFRESH);
    net::outcome(tokens.replace(replacement).await);
    let served = tokens.token().await.unwrap();
    assert_eq!(served.expose(), NEW_ACCESS);
    reached(served.expose());
    look_at(&tokens);
    net::outcome(store.load(&key).await);
    // Another holder of the files opens the store without the key of the seal.
    let unsealed = FileStore::new(&directory).unwrap();
    net::outcome(unsealed.load(&key).await);
    let wrong = FileStore::new(&directory).unwrap();
    let wrong = wrong.sealed(user_code::Sealing("another".to_owned()));
    net::outcome(wrong.load(&key).await);
    for file in std::fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() && path.extension().is_some_and(|ending| ending == "json") {
            std::fs::write(&path, format!(r#"{{"revision":"{NEW_REFRESH}","#)).unwrap();
        }
    }
    net::outcome(store.load(&key).await);
    net::debug(&tokens.logout().await);
    look_at(&tokens);
    drop(tokens);
    server.end().await;
}

pub(crate) async fn gets_odd_answers() {
    let broken = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{{\"access_token\":\"{BROKEN_ACCESS}\",\"refresh_token\":\"{BROKEN_REFRESH}"
    );
    let error = format!(
        r#"{{"error":"{ERROR_ACCESS}","access_token":"{ERROR_ACCESS}","error_description":"{ERROR_ACCESS}"}}"#
    );
    let odd = format!(r#"{{"scope":[x"]"],"refresh_token":"{BROKEN_REFRESH}"}}"#);
    let location = format!("Location: https://elsewhere.example.org/?token={LOCATION}");
    for status in [200, 201, 302, 400, 401, 403, 404, 422, 429, 500, 503] {
        let server = Server::start([
            crate::raw_server::Step::AnswerAndClose(broken.clone().into()),
            answer(status, &[], &error.replace("error_description", "hint")),
            answer(status, &[], UNREADABLE),
            answer(status, &[&location], ""),
            answer(status, &[], &format!("<html>{PAGE}</html>")),
            answer(status, &[], &odd),
        ])
        .await;
        let endpoint = endpoint(&server);
        for _ in 0..6 {
            net::outcome(refresh(&endpoint, REFRESH_1).await);
        }
        assert_eq!(server.end().await.len(), 6);
    }
}

pub(crate) async fn sends() {
    let server =
        Server::start([pair(API_ACCESS, API_REFRESH), answer(500, &[], API_REFRESH)]).await;
    let challenge = format!("WWW-Authenticate: Bearer {SEED_ACCESS}");
    let api = Server::start([
        answer(401, &[&challenge], SEED_ACCESS),
        answer(200, &[], "taken"),
        answer(302, &["Location: http://127.0.0.1:1/"], ""),
        answer(401, &[], API_ACCESS),
    ])
    .await;
    let tokens = TokenManager::builder(endpoint(&server))
        .origin(api.url(""))
        .seed(TokenPair::new(SEED_ACCESS).refresh_token(SEED_REFRESH))
        .build()
        .unwrap();
    let client = reqwest::Client::new();
    let get = |path: &str| client.get(api.url(path));
    let taken = tokens.send(get("/records")).await.unwrap();
    assert_eq!(taken.status(), 200);
    net::debug(&taken);
    let header = tokens.authorization().await.unwrap();
    let request = get("/records").header(AUTHORIZATION, header);
    net::debug(&request);
    net::debug(&request.build().unwrap());
    let ours = tokens.client(reqwest::Client::builder).unwrap();
    net::debug(&ours);
    net::outcome(ours.send(ours.http().get(api.url("/moved"))).await);
    net::outcome(tokens.send(get("/records")).await);
    let elsewhere = client.get("https://elsewhere.example.org/");
    net::outcome(tokens.send(elsewhere).await);
    look_at(&tokens);
    drop(tokens);
    drop(ours);
    server.end().await;
    let requests = api.end().await;
    let bearer = format!("Bearer {API_ACCESS}");
    assert_eq!(requests[1].header("authorization"), Some(bearer.as_str()));
}

/// Token responses of another library: a pair, and what holds none.
pub(crate) fn is_handed_over() {
    for response in [
        json!({ "access_token": SEED_ACCESS, "refresh_token": SEED_REFRESH, "id_token": ID_TOKEN }),
        json!({ "error": ERROR_ACCESS, "error_description": SEED_REFRESH }),
        json!({ "id_token": ID_TOKEN, "access_token": [SEED_ACCESS] }),
        json!([{ "access_token": SEED_ACCESS, "expires_in": SEED_REFRESH }]),
        json!(SEED_REFRESH),
    ] {
        net::outcome(TokenPair::from_response(&response));
    }
    let keyed_by_lists = HashMap::from([([SEED_ACCESS], SEED_REFRESH)]);
    net::outcome(TokenPair::from_response(&keyed_by_lists));
}
