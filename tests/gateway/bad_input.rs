//! Cookies that are none: they are answered without a call to the server, and nothing of them stands in a log.

use std::cell::RefCell;
use std::io;

use axum::body::Body;
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use evertoken::testing::browser::Call;
use tracing_subscriber::filter::LevelFilter;

use crate::world::{Instance, World, keys, lines, page};

/// Asks for the session with these `Cookie` fields, and returns the status.
async fn ask(instance: &Instance, fields: &[&[u8]]) -> StatusCode {
    let mut request = Request::get("/presented").body(Body::empty()).unwrap();
    for field in fields {
        let field = HeaderValue::from_bytes(field).unwrap();
        request.headers_mut().append(COOKIE, field);
    }
    let answer = instance.answer(request).await;
    assert_eq!(
        lines(&answer),
        [""; 0],
        "nothing is set and nothing deleted"
    );
    answer.status()
}

/// The cookies of a browser whose pair has two parts.
async fn two_parts(world: &World) -> Vec<(String, String)> {
    let browser = world.browser();
    let mut set = HeaderMap::new();
    let long = crate::world::longer(world.server.issue(), 3_000);
    let gateway = &world.instances[0].gateway;
    gateway
        .sign_in(&HeaderMap::new(), long)
        .await
        .unwrap()
        .apply(&mut set);
    browser.send("/").arrived(StatusCode::OK, &set);
    let names = browser.names().into_iter();
    names
        .map(|name| (name.clone(), browser.value(&name).unwrap()))
        .collect()
}

fn field(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("; ")
}

#[tokio::test(start_paused = true)]
async fn cookies_that_are_not_whole_and_authentic_are_as_none_and_cost_no_call() {
    let world = World::new(1);
    let instance = &world.instances[0];
    let [(first, one), (second, two)] = &two_parts(&world).await[..] else {
        panic!("two parts");
    };
    let whole = field(&[(first, one), (second, two)]);
    assert_eq!(ask(instance, &[whole.as_bytes()]).await, StatusCode::OK);
    let calls = world.store.calls(evertoken::testing::StoreCall::Load);
    let flipped = |text: &str, at: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let (head, _) = first.rsplit_once('-').unwrap();
    let (prefix, tag) = head.split_at(head.len() - 8);
    let tag: String = tag.chars().rev().collect();
    let other_tag = format!("{prefix}{tag}-0");
    assert_ne!(&other_tag, first);
    let cases = [
        String::new(),
        field(&[(first, one)]),
        field(&[(second, two)]),
        field(&[(first, two), (second, one)]),
        field(&[(first, one), (second, one)]),
        field(&[(first, ""), (second, "")]),
        field(&[(first, "1"), (second, two)]),
        field(&[(first, "2"), (second, "")]),
        field(&[(first, "9AAAA")]),
        field(&[(first, &one[..one.len() - 1]), (second, two)]),
        field(&[(first, &flipped(one, 1)), (second, two)]),
        field(&[(first, &flipped(one, 60)), (second, two)]),
        field(&[(first, one), (second, &flipped(two, two.len() - 1))]),
        field(&[(first, one), (second, two), (second, two)]),
        field(&[(first, one), (first, "1AAAA"), (second, two)]),
        field(&[(&other_tag, one), (&format!("{prefix}{tag}-1"), two)]),
        field(&[
            (&first.replace("session", "other"), one),
            (&second.replace("session", "other"), two),
        ]),
        field(&[
            (&first.replace("__Host-Http-", ""), one),
            (&second.replace("__Host-Http-", ""), two),
        ]),
        "=; ; ;;  ; __Host-Http-session-; __Host-Http-session--0=1".to_owned(),
        "x".repeat(100_000),
        format!("{first}=2{}", "A".repeat(100_000)),
    ];
    for (number, case) in cases.iter().enumerate() {
        let status = ask(instance, &[case.as_bytes()]).await;
        assert_eq!(
            status,
            StatusCode::UNAUTHORIZED,
            "{number}: {}",
            &case[..case.len().min(80)]
        );
    }
    assert_eq!(
        world.store.calls(evertoken::testing::StoreCall::Load),
        calls
    );
    world.assert_exchanges(0);
    assert_eq!(ask(instance, &[whole.as_bytes()]).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn several_cookie_fields_are_one_as_over_http_2() {
    let world = World::new(1);
    let [(first, one), (second, two)] = &two_parts(&world).await[..] else {
        panic!("two parts");
    };
    let fields = [
        "theme=dark".to_owned(),
        field(&[(second, two)]),
        "lang=en".to_owned(),
        field(&[(first, one)]),
    ];
    let fields: Vec<_> = fields.iter().map(String::as_bytes).collect();
    assert_eq!(ask(&world.instances[0], &fields).await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn cookies_of_other_programs_may_be_of_any_bytes() {
    let world = World::new(1);
    let [(first, one), (second, two)] = &two_parts(&world).await[..] else {
        panic!("two parts");
    };
    let own = field(&[(first, one), (second, two)]);
    let mut with_bytes = b"name=\xff\xfe\x80; other=\"a b\"; flag; ".to_vec();
    with_bytes.extend(own.as_bytes());
    assert_eq!(
        ask(&world.instances[0], &[&with_bytes]).await,
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn a_cookie_of_another_key_or_of_another_service_is_as_none() {
    let world = World::new(1);
    let browser = world.signed_in().await;
    let mut other_keys = World::new(0);
    other_keys.keys = keys();
    other_keys.store = world.store.clone();
    let other = other_keys.add(evertoken::gateway::Mode::Synchronised, page());
    assert_eq!(other.status(&browser).await, StatusCode::UNAUTHORIZED);
    // The cookie stays: the key may be one that this instance does not have yet.
    assert_eq!(browser.names().len(), 1);
    assert_eq!(world.instances[0].status(&browser).await, StatusCode::OK);
}

thread_local! {
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.iter_mut().for_each(|log| log.extend_from_slice(part)));
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn neither_a_cookie_nor_a_token_stands_in_a_log_an_error_or_a_debug_text() {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(|| Writer)
        .init();
    LOG.set(Some(Vec::new()));
    let world = World::new(1);
    let instance = &world.instances[0];
    let browser = world.signed_in().await;
    let mut secrets = vec![instance.serves(&browser).await];
    let value = browser.value(&browser.names()[0]).unwrap();
    secrets.push(value[20..80].to_owned());
    world.expire().await;
    secrets.push(instance.serves(&browser).await);
    let marked = format!("{}=1sesame-{value}", browser.names()[0]);
    ask(instance, &[marked.as_bytes()]).await;
    secrets.push("sesame".to_owned());
    world.server.revoke_all();
    world.expire().await;
    let refused = instance.send(&browser, Call::fetch("/token")).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let body = crate::world::text(refused).await;
    let signing_in = instance
        .gateway
        .sign_in(&HeaderMap::new(), world.server.issue());
    let debug = format!(
        "{:?} {:?} {:?}",
        instance.gateway,
        instance.gateway.layer(),
        signing_in
    );
    let signed_in = format!("{:?}", signing_in.await.unwrap());
    let log = LOG.take().unwrap();
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("evertoken"), "the log is collected");
    for secret in &secrets {
        for text in [&*log, &body, &debug, &signed_in] {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
    }
}
