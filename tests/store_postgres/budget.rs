//! A database that does not answer, and a manager with a short time-out.

use std::error::Error;
use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use evertoken::{Event, TokenManager};

use crate::scene::Database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_gets_the_reason_of_a_failure_however_short_its_timeout() {
    let database = Database::new();
    let store = database.open().await;
    let mut holder = sqlx::PgPool::connect(&database.url)
        .await
        .unwrap()
        .begin()
        .await
        .unwrap();
    let lock = sqlx::query("LOCK TABLE evertoken_pair IN ACCESS EXCLUSIVE MODE");
    lock.execute(&mut *holder).await.unwrap();
    let server = AuthorizationServer::builder().build();
    let tokens = TokenManager::builder(server.endpoint())
        .store(store)
        .store_timeout(Duration::from_secs(2))
        .seed(server.issue())
        .build()
        .unwrap();
    let mut events = tokens.subscribe();
    tokens.try_token().unwrap_err();
    let Some(Event::Failed { error, .. }) = events.recv().await else {
        panic!("the store answers");
    };
    let mut causes = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let told = causes.join(": ");
    assert!(
        told.contains("PostgreSQL has not answered within 1.6 s"),
        "{told}"
    );
}
