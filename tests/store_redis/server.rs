//! The servers that are refused, and the errors.

use std::time::Duration;

use evertoken::{RedisStore, TokenStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::proxy::Proxy;
use crate::records::told_in_two_seconds;
use crate::scene::{Other, entry, key, name, open, put, record, server, told, with};
use crate::services::free_port;

/// The error of connecting.
async fn refused(url: &str) -> String {
    told(&RedisStore::connect(url).await.expect_err("it is refused"))
}

/// A server that answers its first command with the first of these answers, and so on.
async fn answering(answers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut told = [0; 4_096];
                let mut answers = answers.iter();
                while stream.read(&mut told).await.is_ok_and(|length| length > 0) {
                    let answer = answers.next().copied().unwrap_or_default();
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    port
}

fn at(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

#[tokio::test]
async fn every_policy_that_evicts_is_refused() {
    let server = server();
    let mut other = Other::at(&server).await;
    for policy in [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        other
            .tell(&format!("CONFIG SET maxmemory-policy {policy}"))
            .await;
        let error = refused(&server.url()).await;
        let reason = format!("because its `maxmemory-policy` is {policy}");
        assert!(error.contains(&reason), "{error}");
        assert!(error.contains("`maxmemory-policy noeviction`"), "{error}");
    }
    other.tell("CONFIG SET maxmemory-policy noeviction").await;
    open(&server).await;
}

/// After a failover, another server may have the address.
#[tokio::test]
async fn a_server_is_checked_at_every_connection() {
    let server = server();
    let store = open(&server).await;
    put(&store, None, &record(&key(), 1)).await;
    let mut other = Other::at(&server).await;
    other.tell("CONFIG SET maxmemory-policy allkeys-lru").await;
    other.tell("CLIENT KILL TYPE normal").await;
    let error = told(&store.load(&key()).await.unwrap_err());
    assert!(error.contains("allkeys-lru"), "{error}");
    other.tell("CONFIG SET maxmemory-policy noeviction").await;
    assert!(entry(&store, &key()).await.is_some());
}

#[tokio::test]
async fn a_replica_is_refused_and_a_demoted_primary_is_disconnected_from() {
    let (primary, was_primary) = (server(), server());
    let store = open(&was_primary).await;
    let revision = put(&store, None, &record(&key(), 1)).await;
    let mut other = Other::at(&was_primary).await;
    let port = primary.port().to_string();
    other.tell(&format!("REPLICAOF 127.0.0.1 {port}")).await;
    let error = refused(&was_primary.url()).await;
    assert!(error.contains("is a replica"), "{error}");
    let swap = store.swap(&key(), Some(revision), &record(&key(), 2)).await;
    let error = told(&swap.unwrap_err());
    assert!(error.contains("is a replica"), "{error}");
    // The connection with that error is not used again.
    let error = told(&store.load(&key()).await.unwrap_err());
    assert!(error.contains("is a replica"), "{error}");
    other.tell("REPLICAOF NO ONE").await;
    store.load(&key()).await.unwrap();
}

#[tokio::test]
async fn a_missing_or_wrong_password_is_reported_and_never_shown() {
    let server = with("--requirepass open-sesame");
    let address = format!("127.0.0.1:{}", server.port());
    let error = refused(&format!("redis://{address}")).await;
    assert!(error.contains("it wants a password"), "{error}");
    for user in ["", "default", "nobody"] {
        let error = refused(&format!("redis://{user}:wrong-sesame@{address}")).await;
        assert!(
            error.contains("refuses the user name or the password"),
            "{error}"
        );
        assert!(error.contains(&address), "{error}");
    }
    let store = RedisStore::connect(&format!("redis://:open-sesame@{address}")).await;
    let store = store.unwrap();
    assert!(!format!("{store:?} {store:#?}").contains("sesame"));
    put(&store, None, &record(&key(), 1)).await;
}

/// Servers quote commands that they do not know.
#[tokio::test]
async fn the_password_in_a_servers_error_is_not_repeated() {
    let quoting = "-ERR unknown command 'AUTH', with args beginning with: 'open-sesame'\r\n";
    let answers = ["+OK\r\n+OK\r\n+OK\r\n", quoting.repeat(2).leak()];
    let url = at(answering(Vec::leak(answers.to_vec())).await);
    let url = url.replace("//", "//:open-sesame@");
    let error = refused(&url).await;
    assert!(error.contains("[REDACTED]"), "{error}");
}

#[tokio::test]
async fn a_wrong_url_is_reported_without_its_password() {
    for url in [
        "",
        "127.0.0.1",
        "http://:sesame@127.0.0.1",
        "redis://:sesame@",
        "redis://:sesame@127.0.0.1/first",
        "redis://:sesame@127.0.0.1:port",
        "redis://:se same@127.0.0.1 0",
        "redis://127.0.0.1?protocol=sesame",
        "rediss://:sesame@127.0.0.1#sesame",
    ] {
        let error = refused(url).await;
        assert!(
            error.contains("redis://user:password@host"),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_a_redis_is_reported() {
    let http = answering(&["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"]).await;
    let error = refused(&at(http)).await;
    assert!(
        error.contains("does not speak the protocol of Redis"),
        "{error}"
    );

    let error = refused(&at(free_port())).await;
    assert!(error.contains("nothing listens at this address"), "{error}");
}

#[tokio::test]
async fn connecting_to_a_silent_server_takes_no_longer_than_the_managers_timeout() {
    let silent = answering(&[]).await;
    let began = Instant::now();
    let error = refused(&at(silent)).await;
    assert!(error.contains("has not answered in time"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// The reason comes before the manager's time-out, even if that is shorter than the default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_gets_the_reason_of_a_failure_however_short_its_timeout() {
    let server = server();
    for connects_anew in [false, true] {
        let proxy = Proxy::to(server.port()).await;
        let store = RedisStore::connect(&proxy.url()).await.unwrap();
        match connects_anew {
            false => proxy.silence(),
            true => proxy.lead_to(answering(&[]).await),
        }
        let error = told_in_two_seconds(store).await;
        assert!(error.contains("it has not answered in time"), "{error}");
    }
}

/// One call connects, and fails for all calls that came meanwhile: one after the other, they would wait for minutes.
#[tokio::test]
async fn many_calls_to_a_silent_server_wait_no_longer_than_one() {
    let server = server();
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::connect(&proxy.url()).await.unwrap();
    proxy.lead_to(answering(&[]).await);
    let began = Instant::now();
    let asking = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.load(&key()).await })
    });
    for asking in asking.collect::<Vec<_>>() {
        asking.await.unwrap().unwrap_err();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}");
    proxy.lead_to(server.port());
    store.load(&key()).await.unwrap();
}

#[tokio::test]
async fn a_user_needs_few_rights_and_a_missing_right_is_reported() {
    let server = server();
    let mut other = Other::at(&server).await;
    let allowed = "+info +eval +evalsha +hget +hmget +hset +exists +persist +pexpireat +pttl +time +get +set \
                   +publish +subscribe +unsubscribe +ping +wait";
    let command = format!("ACL SETUSER app on >sesame ~evertoken:* &evertoken:* {allowed}");
    other.tell(&command).await;
    let url = format!("redis://app:sesame@127.0.0.1:{}", server.port());
    let store = RedisStore::connect(&url).await.unwrap();
    let revision = put(&store, None, &record(&key(), 1)).await;
    let found = store.find(&record(&key(), 1).digest()).await.unwrap();
    assert_eq!(found, Some(key()));

    other.tell("ACL SETUSER app -evalsha -eval").await;
    let error = told(&store.load(&key()).await.unwrap_err());
    assert!(
        error.contains("`evalsha`") && error.contains("access list"),
        "{error}"
    );
    other.tell("ACL SETUSER app +evalsha +eval -info").await;
    let error = refused(&url).await;
    assert!(
        error.contains("asking for the INFO of") && error.contains("`info`"),
        "{error}"
    );

    // Without the right to publish, the record is written all the same.
    other.tell("ACL SETUSER app +info -publish").await;
    put(&store, Some(revision), &record(&key(), 2)).await;
    let elsewhere = store.prefix("another");
    let error = told(&elsewhere.load(&key()).await.unwrap_err());
    assert!(error.contains("begin with the prefix"), "{error}");
}

#[tokio::test]
async fn a_foreign_value_under_a_key_is_an_error_and_stays() {
    let server = server();
    let store = open(&server).await;
    let mut other = Other::at(&server).await;
    let name = name(&key());
    for foreign in [
        "SET NAME foreign",
        "HSET NAME foreign 1",
        "HSET NAME revision one record two lease {}",
        "HSET NAME revision 1 record two",
        "HSET NAME revision 1",
        "HSET NAME revision 1 past  pair two",
        "RPUSH NAME foreign",
    ] {
        other.tell(&foreign.replace("NAME", &name)).await;
        let before: Vec<u8> = other.does(&["DUMP", &name]).await;
        let swap = store.swap(&key(), None, &record(&key(), 1)).await;
        for error in [store.load(&key()).await.unwrap_err(), swap.unwrap_err()] {
            let (error, advice) = (told(&error), "choose another prefix");
            assert!(error.contains(advice), "{foreign:?}: {error}");
        }
        let after: Vec<u8> = other.does(&["DUMP", &name]).await;
        assert_eq!(after, before);
        other.tell(&format!("DEL {name}")).await;
    }
    let of_version_1 = r#"{"format": 1, "sesame": 1}"#;
    for (record, reason) in [
        (r#"{"sesame": 1}"#, "not a whole record"),
        (of_version_1, "the layout of an unreleased version"),
    ] {
        let () = other
            .does(&[
                "HSET", &name, "revision", "1", "record", record, "lease", "{}",
            ])
            .await;
        let error = told(&store.load(&key()).await.unwrap_err());
        for part in [&name, "was left as it is", reason] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn a_full_server_is_reported_and_keeps_its_records() {
    let server = server();
    let store = open(&server).await;
    let revision = put(&store, None, &record(&key(), 1)).await;
    let mut other = Other::at(&server).await;
    other.tell("CONFIG SET maxmemory 1").await;
    let swap = store.swap(&key(), Some(revision), &record(&key(), 2)).await;
    let error = told(&swap.unwrap_err());
    assert!(error.contains("it is full"), "{error}");
    other.tell("CONFIG SET maxmemory 0").await;
    let held = Some((record(&key(), 1), revision));
    assert_eq!(entry(&store, &key()).await, held);
}

#[tokio::test]
async fn a_server_that_lost_the_scripts_gets_them_again() {
    let server = server();
    let store = open(&server).await;
    let mut seen = None;
    for number in 1..4 {
        seen = Some(put(&store, seen, &record(&key(), number)).await);
        Other::at(&server).await.tell("SCRIPT FLUSH").await;
        let held = seen.map(|seen| (record(&key(), number), seen));
        assert_eq!(entry(&store, &key()).await, held);
        Other::at(&server).await.tell("SCRIPT FLUSH").await;
    }
}
