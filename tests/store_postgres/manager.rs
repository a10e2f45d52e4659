//! Managers with a pair in PostgreSQL.

use std::time::Duration;

use evertoken::testing::AuthorizationServer;
use evertoken::{OnRequest, TokenManager};

use crate::atomic::{NOTHING, between};
use crate::scene::{Database, STORED};

const TTL: Duration = Duration::from_secs(600);

struct World {
    server: AuthorizationServer,
    database: Database,
    first: evertoken::TokenPair,
}

impl World {
    fn new() -> Self {
        let server = AuthorizationServer::builder().access_ttl(TTL).build();
        let first = server.issue();
        Self {
            server,
            database: Database::new(),
            first,
        }
    }

    /// An instance with its own connections.
    async fn instance(&self) -> TokenManager {
        let tokens = TokenManager::builder(self.server.endpoint())
            .strategy(OnRequest::default())
            .shortest_interval(Duration::from_millis(10))
            .store(self.database.open().await)
            .seed(self.first.clone())
            .build()
            .unwrap();
        tokens.token().await.unwrap();
        tokens
    }

    /// The columns of the active row.
    fn stored(&self) -> String {
        self.database.sql(STORED)
    }

    #[track_caller]
    fn assert_exchanges(&self, exchanges: u64) {
        let server = &self.server;
        let counts = [
            server.exchanges(),
            server.replays(),
            server.families_revoked(),
        ];
        assert_eq!(counts, [exchanges, 0, 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w14_a_pair_that_cannot_be_stored_is_served_and_stored_later_and_the_lease_stays_until_then()
 {
    let world = World::new();
    let tokens = world.instance().await;
    let before = world.stored();
    let stumbles = between("RAISE EXCEPTION 'no space left'");
    world.database.sql(&stumbles);
    let rotated = tokens.rotate().await.unwrap();
    assert_eq!(world.stored(), before, "the old pair is there");
    let lease = "SELECT convert_from(record, 'UTF8')::json->'lease'->>'number' FROM evertoken_pair";
    assert_ne!(world.database.sql(lease), "", "and its lease");
    world.database.sql(NOTHING);
    while world.stored() == before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.stored(), rotated.expose());
    let other = world.instance().await.token().await.unwrap();
    assert_eq!(other.expose(), rotated.expose());
    world.assert_exchanges(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_is_seen_by_every_instance_and_its_row_is_revoked() {
    let world = World::new();
    let (one, other) = (world.instance().await, world.instance().await);
    let token = other.token().await.unwrap();
    assert!(one.logout().await.is_complete());
    assert_eq!(world.database.rows("state"), ["REVOKED"]);
    assert_eq!(world.database.rows("pair IS NULL"), ["t"]);
    other.reject(&token);
    let error = other.token().await.unwrap_err();
    assert!(error.needs_sign_in(), "{error}");
    world.assert_exchanges(0);
}
