//! Sessions that a user's sign-in begins, each under a random id.

use evertoken::testing::{FaultyStore, StoreCall, TestClock};
use evertoken::{Error, MemoryStore, OnRequest, SessionId, Sessions, TokenStore};

use crate::support::{TTL, World, settle};
use crate::tenants::Service;

#[tokio::test(start_paused = true)]
async fn a_pair_is_stored_before_its_id_is_returned() {
    let store = MemoryStore::with_clock(TestClock::new());
    let shared = store.clone();
    let service = Service::with(|builder| builder.store(shared));
    let id = service.sessions.sign_in(service.tenants.pair("ada")).await;
    let id = id.unwrap();
    // Another process with the same store.
    let another = Sessions::builder(service.tenants.clone());
    let another = another.clock(service.clock.clone()).store(store);
    let another = another.build().unwrap();
    let token = another.open(&id).token().await.unwrap();
    assert_eq!(token.expose(), "a ada 1");
    assert_eq!(service.tenants.exchanges(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_cannot_be_stored_is_an_error() {
    let store = FaultyStore::new(MemoryStore::with_clock(TestClock::new()));
    let shared = store.clone();
    let service = Service::with(|builder| builder.store(shared));
    store.set_down(true);
    let signed_in = service.sessions.sign_in(service.tenants.pair("ada")).await;
    assert!(
        matches!(signed_in, Err(Error::Store { .. })),
        "{signed_in:?}"
    );
    settle().await;
    assert_eq!(service.sessions.in_memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_sign_in_is_a_session_of_its_own() {
    let service = Service::new();
    let first = service.sessions.sign_in(service.tenants.pair("ada")).await;
    let second = service.sessions.sign_in(service.tenants.pair("bob")).await;
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first, second);
    service.clock.advance(TTL).await;
    for (id, name) in [(&first, "ada"), (&second, "bob")] {
        let token = service.sessions.open(id).token().await.unwrap();
        assert_eq!(token.expose(), format!("a {name} 2"));
    }
    let logout = service.sessions.open(&first).logout().await;
    assert!(logout.stored.is_ok());
    let error = service.sessions.open(&first).token().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
    assert!(service.sessions.open(&second).token().await.is_ok());
    assert_eq!(service.tenants.exchanges(), 2);
}

/// The endpoint could sign in by itself. Then each id that a stranger makes up would be a session of the service's own.
#[tokio::test(start_paused = true)]
async fn an_id_that_is_not_known_needs_a_sign_in_and_no_call_of_the_server() {
    let world = World::with(|server| server.sign_in(true));
    let builder = Sessions::builder(world.endpoint()).clock(world.clock.clone());
    let sessions = builder.strategy(OnRequest::default()).build().unwrap();
    let id: SessionId = "00112233445566778899aabbccddeeff".parse().unwrap();
    let tokens = sessions.open(&id);
    for error in [
        tokens.token().await.unwrap_err(),
        tokens.rotate().await.unwrap_err(),
        tokens.authorization().await.unwrap_err(),
    ] {
        assert!(error.needs_sign_in(), "{error}");
    }
    assert!(matches!(tokens.sign_in().await, Err(Error::NotRotatable)));
    // An event has the key of a session.
    let by_key = sessions.manager(tokens.key().clone());
    assert!(by_key.token().await.unwrap_err().needs_sign_in());
    assert_eq!((world.server.exchanges(), world.server.sign_ins()), (0, 0));
    drop((tokens, by_key));
    settle().await;
    assert_eq!(sessions.in_memory(), 0);
    // Another key does sign in.
    let tokens = sessions.manager(sessions.key().tenant("diku"));
    assert!(world.is_live(&tokens.token().await.unwrap()));
    assert_eq!(world.server.sign_ins(), 1);
}

/// A refresh token that was used comes back: it is refused in this process, and never sent.
#[tokio::test(start_paused = true)]
async fn n13_a_used_refresh_token_that_comes_back_is_refused_here_and_not_sent() {
    let service = Service::new();
    let first = service.tenants.pair("ada");
    let id = service.sessions.sign_in(first.clone()).await.unwrap();
    service.sessions.open(&id).rotate().await.unwrap();
    let back = service.sessions.open(&id).replace(first).await;
    assert!(matches!(back, Err(Error::AlreadyUsed)), "{back:?}");
    let token = service.sessions.open(&id).token().await.unwrap();
    assert_eq!(token.expose(), "a ada 2");
    assert_eq!(service.tenants.exchanges(), 1);
    service.tenants.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn an_id_is_shown_by_display_and_serialize_and_by_nothing_else() {
    let service = Service::new();
    let id = service.sessions.sign_in(service.tenants.pair("ada")).await;
    let id = id.unwrap();
    let text = id.to_string();
    assert_eq!(text.len(), 32);
    assert_eq!(text.parse(), Ok(id.clone()));
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(json, format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<SessionId>(&json).unwrap(), id);
    let tokens = service.sessions.open(&id);
    let shown = format!("{id:?} {tokens:?} {} {:?}", tokens.key(), service.sessions);
    assert!(!shown.contains(&text), "{shown}");
    assert!(shown.starts_with("SessionId([REDACTED])"), "{shown}");
}

#[test]
fn a_text_that_is_not_an_id_is_refused_and_not_repeated() {
    for text in [
        "sesame",
        "",
        "+0112233445566778899aabbccddeeff",
        "00112233445566778899AABBCCDDEEFF",
        "00112233445566778899aabbccddeeff0",
    ] {
        let error = text.parse::<SessionId>().unwrap_err();
        let said =
            "the id of a session must be 32 lower-case hexadecimal digits: start a new sign-in";
        assert_eq!(error.to_string(), said);
        let json = serde_json::to_string(text).unwrap();
        let error = serde_json::from_str::<SessionId>(&json).unwrap_err();
        assert!(
            text.is_empty() || !error.to_string().contains(text),
            "{error}"
        );
    }
    for json in ["112233445566", "-112233445566", "112233445566.5", "true"] {
        let error = serde_json::from_str::<SessionId>(json).unwrap_err();
        let shown = error.to_string();
        let is_repeated = ["11223344556", "true"].map(|it| shown.contains(it));
        assert_eq!(is_repeated, [false; 2], "{shown}");
    }
    for json in ["[\"sesame\"]", "{\"sesame\":1}", "null"] {
        let error = serde_json::from_str::<SessionId>(json).unwrap_err();
        assert!(!error.to_string().contains("sesame"), "{error}");
    }
}

/// Two sessions with one token would end each other: the second one would send what the first has spent.
#[tokio::test(start_paused = true)]
async fn n13_a_pair_that_another_session_has_or_had_begins_no_session_and_is_not_sent() {
    let service = Service::new();
    let first = service.tenants.pair("ada");
    let id = service.sessions.sign_in(first.clone()).await.unwrap();
    let again = service.sessions.sign_in(first.clone()).await;
    assert!(matches!(again, Err(Error::AlreadyUsed)), "{again:?}");
    service.sessions.open(&id).rotate().await.unwrap();
    let again = service.sessions.sign_in(first).await;
    assert!(matches!(again, Err(Error::AlreadyUsed)), "{again:?}");
    let token = service.sessions.open(&id).rotate().await.unwrap();
    assert_eq!(token.expose(), "a ada 3");
    assert_eq!(service.tenants.exchanges(), 2);
    service.tenants.assert_unharmed();
}

/// Ids that strangers make up must not fill the store.
#[tokio::test(start_paused = true)]
async fn a_logout_of_an_id_that_is_not_known_is_done_and_writes_no_record() {
    let world = World::with(|server| server.sign_in(true));
    let store = FaultyStore::new(world.store.clone());
    let builder = Sessions::builder(world.endpoint()).clock(world.clock.clone());
    let sessions = builder.store(store.clone()).build().unwrap();
    for number in 0..100 {
        let id: SessionId = format!("{number:032x}").parse().unwrap();
        let tokens = sessions.open(&id);
        let logout = tokens.logout().await;
        assert!(
            logout.stored.is_ok() && logout.revoked.is_ok(),
            "{logout:?}"
        );
        assert!(tokens.token().await.unwrap_err().needs_sign_in());
        let loaded = world.store.load(tokens.key()).await.unwrap();
        assert!(loaded.entry.is_none());
    }
    assert_eq!(store.calls(StoreCall::Swap), 0);
    assert_eq!(world.server.revocations(), 0);
    assert_eq!((world.server.exchanges(), world.server.sign_ins()), (0, 0));
    settle().await;
    assert_eq!(sessions.in_memory(), 0);
}
