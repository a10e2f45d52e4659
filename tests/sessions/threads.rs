//! Many threads make, use and drop managers of few keys at once, in real time.

use std::sync::Arc;

use evertoken::{Coordination, Sessions};
use futures_util::FutureExt;
use tokio::time::timeout;

use crate::support::SECOND;
use crate::tenants::Tenants;

const TASKS: usize = 8;
const ROUNDS: usize = 2_000;

/// A key has one session in the process at any time: two would send one token twice, because nothing else keeps them from that
/// without leases.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_make_and_drop_managers_never_have_two_sessions_of_a_key_at_work() {
    let tenants = Tenants::default();
    let builder = Sessions::builder(tenants.clone()).coordination(Coordination::None);
    let sessions = builder.build().unwrap();
    for tenant in ["one", "two"] {
        let tokens = sessions.manager(sessions.key().tenant(tenant));
        tokens.replace(tenants.pair(tenant)).await.unwrap();
    }
    let sessions = Arc::new(sessions);
    let workers = (0..TASKS).map(|worker| {
        let sessions = Arc::clone(&sessions);
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let tenant = if (worker + round / 7) % 2 == 0 {
                    "one"
                } else {
                    "two"
                };
                let tokens = sessions.manager(sessions.key().tenant(tenant));
                // The caller leaves in the middle of its rotation, and its manager goes with it.
                if round % 3 == 0 {
                    let _ = tokens.rotate().now_or_never();
                } else {
                    let token = tokens.rotate().await.unwrap();
                    assert!(token.expose().starts_with(&format!("a {tenant} ")));
                }
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    sessions.shutdown().await.unwrap();
    tenants.assert_unharmed();
    assert!(
        tenants.exchanges() > ROUNDS as u64,
        "{}",
        tenants.exchanges()
    );
    let left = async {
        while sessions.in_memory() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(30 * SECOND, left).await.unwrap();
}
