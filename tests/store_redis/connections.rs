//! Connections that come and go, runtimes that end, and TLS.

use std::time::Duration;

use evertoken::{RedisStore, TokenStore};
use redis::{Client, TlsCertificates};
use tokio::runtime::{Builder, Runtime};

use crate::changes::until_listeners;
use crate::proxy::Proxy;
use crate::records::swapping;
use crate::scene::{Other, entry, key, open, put, record, server, told, until, waiting, with};
use crate::services::{Redis, certificate, free_port};

/// Servers and proxies close idle connections. The caller of the first read does not notice.
#[tokio::test]
async fn an_idle_connection_that_was_closed_is_not_an_error() {
    let server = server();
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::connect(&proxy.url()).await.unwrap();
    let mut seen = put(&store, None, &record(&key(), 1)).await;
    for number in 2..10 {
        proxy.cut();
        assert_eq!(entry(&store, &key()).await.unwrap().1, seen);
        seen = put(&store, Some(seen), &record(&key(), number)).await;
        proxy.cut();
        let found = store.find(&record(&key(), number).digest()).await.unwrap();
        assert_eq!(found, Some(key()));
    }
    // Swaps that wait for replicas have their own connection, which was idle as well.
    let patient = store.replicas(1, Duration::from_millis(1));
    for number in 10..20 {
        proxy.cut();
        let swap = swapping(&patient, seen, record(&key(), number)).await;
        let error = told(&swap.unwrap().unwrap_err());
        let reason = "has written, but only 0 of 1 replicas";
        assert!(error.contains(reason), "{error}");
        seen = entry(&patient, &key()).await.unwrap().1;
    }
}

/// A swap whose answer was lost is not sent again: the second one would lose to the first.
#[tokio::test]
async fn a_swap_is_sent_once() {
    let server = server();
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::connect(&proxy.url()).await.unwrap();
    let mut seen = put(&store, None, &record(&key(), 0)).await;
    let mut failed = 0;
    for number in 1..200 {
        let next = record(&key(), number);
        let swap = swapping(&store, seen, next.clone());
        for _ in 0..number % 8 {
            tokio::task::yield_now().await;
        }
        proxy.cut();
        match swap.await.unwrap() {
            Ok(evertoken::store::Swap::Swapped(revision)) => seen = revision,
            Ok(lost) => panic!("another caller wrote the record: {lost:?}"),
            Err(_) => {
                failed += 1;
                let (held, revision) = entry(&store, &key()).await.unwrap();
                assert!(held == next || revision == seen);
                seen = revision;
            }
        }
    }
    assert!(failed > 0, "none was cut in the middle");
}

#[tokio::test]
async fn a_server_is_reached_by_a_socket_in_another_database_and_by_protocol_3() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let socket = socket.to_str().unwrap();
    let server = with(&format!("--unixsocket {socket}"));
    let by_socket = RedisStore::connect(&format!("unix://{socket}?db=3"))
        .await
        .unwrap();
    let later = format!("{}/3?protocol=resp3", server.url());
    let later = RedisStore::connect(&later).await.unwrap();
    let mut seen = None;
    for number in 0..4 {
        let waiters = [&by_socket, &later].map(|store| waiting(store, key(), seen));
        let (writer, reader) = match number % 2 {
            0 => (&later, &by_socket),
            _ => (&by_socket, &later),
        };
        let next = record(&key(), number);
        seen = Some(put(writer, seen, &next).await);
        assert_eq!(entry(reader, &key()).await.unwrap().0, next);
        assert_eq!(reader.find(&next.digest()).await.unwrap(), Some(key()));
        for waiter in waiters {
            waiter.await.unwrap();
        }
    }
    assert!(entry(&open(&server).await, &key()).await.is_none());
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

/// The number of the subscribed connection.
async fn listener(server: &Redis) -> Option<String> {
    let mut other = Other::at(server).await;
    let listeners: String = other.does(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    listeners.split_ascii_whitespace().next().map(str::to_owned)
}

/// Each clone has its own connections, or shares those of a runtime that has ended since.
#[test]
fn clones_work_in_several_runtimes_and_outlive_their_own() {
    let server = server();
    let [first, second, third] = [(); 3].map(|()| runtime());
    let store = first.block_on(open(&server));
    let seen = first.block_on(put(&store, None, &record(&key(), 1)));
    let waiting = |runtime: &Runtime, seen| {
        let store = store.clone();
        runtime.spawn(async move { store.changed(&key(), Some(seen)).await })
    };
    // The first runtime listens for the others.
    let waiter = waiting(&first, seen);
    first.block_on(until_listeners(&server, 1));
    let waiters = [waiter, waiting(&second, seen), waiting(&third, seen)];
    let seen = second.block_on(put(&store, Some(seen), &record(&key(), 2)));
    for waiter in waiters {
        third.block_on(waiter).unwrap();
    }
    let waiters = [waiting(&second, seen), waiting(&third, seen)];
    second.block_on(until_listeners(&server, 1));
    let first_listener = second.block_on(listener(&server));
    first.shutdown_timeout(Duration::from_secs(60));
    // Another runtime listens.
    second.block_on(until("another listener", async || {
        let now = listener(&server).await;
        now.is_some() && now != first_listener
    }));
    // A read first, as managers do.
    assert_eq!(second.block_on(entry(&store, &key())).unwrap().1, seen);
    let seen = third.block_on(put(&store, Some(seen), &record(&key(), 3)));
    for waiter in waiters {
        second.block_on(waiter).unwrap();
    }
    second.shutdown_timeout(Duration::from_secs(60));
    // A read first, as managers do.
    assert_eq!(third.block_on(entry(&store, &key())).unwrap().1, seen);
    let waiter = waiting(&third, seen);
    third.block_on(put(&store, Some(seen), &record(&key(), 4)));
    third.block_on(waiter).unwrap();
}

#[tokio::test]
async fn tls_is_used_and_an_unknown_certificate_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let [key_file, certificate] = certificate(directory.path(), "DNS:localhost");
    let port = free_port();
    let options = format!(
        "--tls-port {port} --tls-auth-clients no --tls-cert-file {} --tls-key-file {}",
        certificate.display(),
        key_file.display()
    );
    let _server = with(&options);
    let url = format!("rediss://localhost:{port}");

    let error = told(&RedisStore::connect(&url).await.unwrap_err());
    assert!(error.contains("its certificate is not trusted"), "{error}");
    let plain = RedisStore::connect(&url.replace("rediss", "redis")).await;
    let error = told(&plain.unwrap_err());
    assert!(error.contains("the server may want TLS"), "{error}");

    let known = TlsCertificates {
        client_tls: None,
        root_cert: Some(std::fs::read(certificate).unwrap()),
    };
    let client = Client::build_with_tls(url, known).unwrap();
    let store = RedisStore::from_client(client).await.unwrap();
    let seen = Some(put(&store, None, &record(&key(), 1)).await);
    let waiting = waiting(&store, key(), seen);
    put(&store, seen, &record(&key(), 2)).await;
    waiting.await.unwrap();
}
