//! A primary that dies, and a replica that takes over with less: what is lost without `WAIT`, and not with it.

use std::time::Duration;

use evertoken::{Error, OnRequest, RedisStore, Token, TokenManager, TokenStore};
use tokio::task::JoinHandle;

use crate::proxy::Proxy;
use crate::records::swapping;
use crate::scene::{Other, entry, key, name, open, put, record, server, told, until, with};
use crate::services::Redis;
use crate::world::{MILLI, World};

const TTL: Duration = Duration::from_secs(3);

/// A primary, its replica, and a proxy that leads to the current primary.
struct Pair {
    primary: Redis,
    replica: Redis,
    proxy: Proxy,
}

/// A server that sends everything to a replica at once, without waiting for further replicas.
fn replicated() -> Redis {
    with("--repl-diskless-sync-delay 0")
}

/// Waits until the state of the server's replication contains this text.
async fn shows(server: &mut Other, text: &str) {
    let is_shown = async || {
        server
            .does::<String>(&["INFO", "replication"])
            .await
            .contains(text)
    };
    until(text, is_shown).await;
}

impl Pair {
    async fn start() -> Self {
        let (primary, replica) = (replicated(), replicated());
        let proxy = Proxy::to(primary.port()).await;
        let pair = Self {
            primary,
            replica,
            proxy,
        };
        pair.follow(&pair.replica, &pair.primary).await;
        pair
    }

    /// Makes one server the replica of the other, and waits until the replica has everything.
    async fn follow(&self, one: &Redis, other: &Redis) {
        let mut one = Other::at(one).await;
        let () = one
            .does(&["REPLICAOF", "127.0.0.1", &other.port().to_string()])
            .await;
        shows(&mut one, "master_link_status:up").await;
        let mut other = Other::at(other).await;
        until("all is told", async || {
            other.tell("SET told all").await;
            other.does::<u32>(&["WAIT", "1", "100"]).await == 1
        })
        .await;
    }

    async fn store(&self) -> RedisStore {
        RedisStore::connect(&self.proxy.url()).await.unwrap()
    }

    /// Cuts the replica off: it receives nothing from now on.
    async fn part(&self) {
        Other::at(&self.replica)
            .await
            .tell("REPLICAOF NO ONE")
            .await;
        let mut primary = Other::at(&self.primary).await;
        shows(&mut primary, "connected_slaves:0").await;
    }

    /// The primary dies, and the replica takes over.
    async fn fail_over(&mut self) {
        self.primary.kill();
        Other::at(&self.replica)
            .await
            .tell("REPLICAOF NO ONE")
            .await;
        self.proxy.lead_to(self.replica.port());
        std::mem::swap(&mut self.primary, &mut self.replica);
    }

    /// The dead server comes back as a replica.
    async fn restore(&mut self) {
        self.replica.restart().unwrap();
        self.follow(&self.replica, &self.primary).await;
    }
}

#[tokio::test]
async fn a_swap_that_too_few_replicas_acknowledge_is_an_error_and_written() {
    let pair = Pair::start().await;
    let store = pair.store().await.replicas(1, 100 * MILLI);
    let first = put(&store, None, &record(&key(), 1)).await;
    pair.part().await;
    let swap = store.swap(&key(), Some(first), &record(&key(), 2)).await;
    let error = told(&swap.unwrap_err());
    assert!(
        error.contains("0 of 1 replicas have acknowledged it within 0.1 s"),
        "{error}"
    );
    let (held, second) = entry(&store, &key()).await.unwrap();
    assert_eq!(held, record(&key(), 2));
    // A lost swap is an answer: nothing was written that a replica had to acknowledge.
    let lost = store.swap(&key(), Some(first), &record(&key(), 3)).await;
    assert!(
        matches!(lost.unwrap(), evertoken::store::Swap::Lost(Some((_, held))) if held == second)
    );
    pair.follow(&pair.replica, &pair.primary).await;
    put(&store, Some(second), &record(&key(), 3)).await;
}

/// Swaps that wait for replicas do not block reads.
#[tokio::test]
async fn other_calls_do_not_wait_for_the_replicas() {
    let server = server();
    let store = open(&server).await;
    let seen = put(&store, None, &record(&key(), 1)).await;
    let patient = store.clone().replicas(1, Duration::from_secs(20));
    let swap = swapping(&patient, seen, record(&key(), 2));
    let is_written = async || entry(&store, &key()).await.unwrap().1 != seen;
    until("it is written", is_written).await;
    assert!(!swap.is_finished());
    swap.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fm5_a_lease_without_an_acknowledgement_spends_no_token_and_is_recognised_as_ours() {
    let pair = Pair::start().await;
    let world = World::new(TTL);
    let store = pair.store().await.replicas(1, 100 * MILLI);
    let node = world.node(&store).await;
    pair.part().await;
    let caller = world.caller(&node);
    let leases = async || {
        let (record, _) = store.load(node.key()).await.unwrap().entry.unwrap();
        let form = serde_json::to_value(record).unwrap();
        form["lease"]["number"].as_u64().unwrap_or_default()
    };
    until("a lease is written", async || leases().await > 0).await;
    tokio::time::sleep(300 * MILLI).await;
    assert_eq!(
        world.server.exchanges(),
        0,
        "nothing is spent under a lease that may be lost"
    );
    pair.follow(&pair.replica, &pair.primary).await;
    until("a rotation", async || world.server.rotations() == 1).await;
    assert!(caller.served().await > 0);
    assert_eq!(world.server.exchanges(), 1);
    world.assert_unharmed();
}

/// Without `WAIT`, a stored pair may be missing on the replica. The instance that holds the pair writes it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_holder_of_a_pair_that_a_failover_lost_writes_it_again() {
    let mut pair = Pair::start().await;
    let world = World::new(TTL);
    let store = pair.store().await;
    let node = world.node(&store).await;
    pair.follow(&pair.replica, &pair.primary).await;
    pair.part().await;
    let has_rotated = async || node.status().pair_id.is_some_and(|held| held.version == 2);
    until("a rotation", has_rotated).await;
    let caller = world.caller(&node);
    pair.fail_over().await;
    let held = async || entry(&store, node.key()).await.unwrap().0.pair_id().version;
    until("it is there again", async || held().await >= 2).await;
    until("it goes on", async || held().await >= 4).await;
    assert!(caller.served().await > 0);
    world.assert_unharmed();
    assert_eq!(world.server.exchanges(), world.server.rotations());
}

fn call(node: &TokenManager) -> JoinHandle<Result<Token, Error>> {
    let node = node.clone();
    tokio::spawn(async move { node.token().await })
}

/// One instance has sent a token under a lease that the failover lost, and another instance finds no lease.
async fn two_who_may_spend(store: impl Fn(RedisStore) -> RedisStore) -> World {
    let mut pair = Pair::start().await;
    let world = World::new(TTL);
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let store = store(pair.store().await);
        nodes.push(loop {
            let node = world.builder(&store).strategy(OnRequest::default());
            let node = node.build().unwrap();
            if node.token().await.is_ok() {
                break node;
            }
        });
    }
    pair.follow(&pair.replica, &pair.primary).await;
    pair.part().await;
    tokio::time::sleep(TTL).await;
    let hold = world.server.hold();
    let [one, other] = [&nodes[0], &nodes[1]];
    let first = call(one);
    let name = name(one.key());
    let leased = async || {
        let mut primary = Other::at(&pair.primary).await;
        let lease: String = primary.does(&["HGET", &name, "lease"]).await;
        lease.contains("\"number\":1")
    };
    until("one leases", leased).await;
    // Time enough to send.
    tokio::time::sleep(300 * MILLI).await;
    pair.fail_over().await;
    pair.restore().await;
    let second = call(other);
    until("an instance sends", async || world.server.exchanges() >= 1).await;
    tokio::time::sleep(500 * MILLI).await;
    drop(hold);
    let (_, _) = (first.await.unwrap(), second.await.unwrap());
    world
}

/// The documented behaviour without `WAIT`: a lost lease lets two instances spend one token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_wait_a_failover_that_loses_a_lease_lets_two_spend() {
    let world = two_who_may_spend(|store| store).await;
    assert_eq!((world.server.exchanges(), world.server.replays()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wait_a_failover_loses_no_lease_under_which_a_token_was_spent() {
    let world = two_who_may_spend(|store| store.replicas(1, 100 * MILLI)).await;
    assert_eq!(world.server.exchanges(), world.server.rotations());
    world.assert_unharmed();
}

/// A failover to a replica in step and back, while instances rotate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wait_instances_continue_through_failovers() {
    let mut pair = Pair::start().await;
    let world = World::new(TTL);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let store = pair.store().await.replicas(1, 500 * MILLI);
        nodes.push(world.node(&store).await);
    }
    let callers: Vec<_> = nodes.iter().map(|node| world.caller(node)).collect();
    for _ in 0..3 {
        world.rotates(2).await;
        pair.fail_over().await;
        pair.restore().await;
    }
    world.rotates(1).await;
    for caller in callers {
        assert!(caller.served().await > 0);
    }
    world.assert_unharmed();
    assert_eq!(world.server.exchanges(), world.server.rotations());
}
