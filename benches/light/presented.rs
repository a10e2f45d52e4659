//! A presentation of a current pair, warm, beside a call of its manager; and very many presentations of one expired pair at once.

use std::sync::LazyLock;
use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use evertoken::{BrowserPair, MemoryStore, SessionId, SessionPolicy, Sessions, TokenPair};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::here;
use crate::reads::sample;
use crate::shared::{ACCESS, Issuer, Sample, Samples, float, table, token};

/// The lengths of the refresh token: of an opaque one, and of one that is a JWT.
const REFRESH: [usize; 2] = [64, 1_000];

const AT_ONCE: usize = 10_000;

/// The lifetime of the token that expires.
const SHORT: Duration = Duration::from_secs(2);

pub(crate) fn run() {
    warm();
    at_once();
}

fn policy() -> SessionPolicy {
    SessionPolicy::new().retired_for(Duration::from_secs(30))
}

/// A session in memory, the cookie of its browser, and its id.
fn signed_in(refresh: usize) -> (Sessions, BrowserPair, SessionId) {
    RUNTIME.block_on(async {
        let builder = Sessions::builder(Issuer::new()).policy("page", policy());
        let sessions = builder.build().expect("it holds");
        let pair = TokenPair::new(token(1, ACCESS))
            .refresh_token(token(1, refresh))
            .expires_in(Duration::from_secs(3_600));
        let id = sessions.sign_in(pair).policy("page").await;
        let id = id.expect("it is stored");
        let presented = sessions.present(&id).await.expect("it is alive");
        let cookie = presented.pair().expect("it has a pair");
        (sessions, cookie, id)
    })
}

/// The runtime of the warm sessions, which has to outlive them.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(here);

fn warm() {
    let mut table =
        table("a presentation | one thread, ns | over token() | two over one | samples");
    for refresh in REFRESH {
        let (sessions, cookie, id) = signed_in(refresh);
        let tokens = sessions.open(&id);
        let calls: [(&str, &dyn Fn(usize) -> Sample); 3] = [
            ("token()", &|threads| {
                sample(threads, &async || tokens.token().await.is_ok())
            }),
            ("present(id)", &|threads| {
                sample(threads, &async || sessions.present(&id).await.is_ok())
            }),
            ("present(pair)", &|threads| {
                sample(threads, &async || sessions.present(&cookie).await.is_ok())
            }),
        ];
        let mut samples: [[Samples; 2]; 3] = Default::default();
        while !samples.iter().flatten().all(Samples::are_enough) {
            for ((_, call), samples) in calls.iter().zip(&mut samples) {
                samples[0].add(call(1));
                samples[1].add(call(2));
            }
        }
        let [floor, ..] = &samples;
        let floor = floor[0].median();
        for ((name, _), samples) in calls.iter().zip(&samples) {
            let [one, two] = [0, 1].map(|at: usize| samples[at].median());
            table.add_row([
                format!("{name}, refresh token of {refresh} bytes"),
                format!("{:.0}", 1e9 / one),
                format!("{:.1}x", floor / one),
                format!("{:.2}x", two / one),
                samples[0].count(),
            ]);
        }
    }
    println!("A warm presentation of the current pair, awaited.\n{table}");
}

fn at_once() {
    let mut table = table("presentations at once | instances | exchanges | us for each one");
    for instances in [1, 3] {
        let runtime = here();
        let (exchanges, took) = runtime.block_on(herd(instances));
        table.add_row([
            AT_ONCE.to_string(),
            instances.to_string(),
            exchanges.to_string(),
            format!("{:.1}", took.as_secs_f64() * 1e6 / float(AT_ONCE as i64)),
        ]);
    }
    println!("Presentations of one expired pair, on instances that share a memory store.\n{table}");
}

async fn herd(instances: usize) -> (u64, Duration) {
    let server = AuthorizationServer::builder()
        .access_ttl(SHORT)
        .latency(Duration::from_millis(20))
        .build();
    let store = MemoryStore::new();
    let build = |_| {
        let builder = Sessions::builder(server.endpoint()).store(store.clone());
        let builder = builder.policy("page", policy());
        builder.build().expect("it holds")
    };
    let services: Vec<Sessions> = (0..instances).map(build).collect();
    let id = services[0].sign_in(server.issue()).policy("page").await;
    let id = id.expect("it is stored");
    let presented = services[0].present(&id).await.expect("it is alive");
    let cookie = presented.pair().expect("it has a pair");
    tokio::time::sleep(SHORT).await;
    let began = Instant::now();
    let presenting = (0..AT_ONCE).map(|number| {
        let (sessions, cookie) = (services[number % instances].clone(), cookie.clone());
        tokio::spawn(async move {
            let presented = sessions.present(cookie).await.expect("it is alive");
            assert!(presented.renewal().is_some(), "the pair was replaced");
        })
    });
    for done in join_all(presenting).await {
        done.expect("no panic");
    }
    (server.exchanges(), began.elapsed())
}
