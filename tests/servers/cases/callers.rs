//! Many callers share one exchange, also when they use several instances.

use std::collections::HashSet;
use std::sync::Arc;

use evertoken::{Error, MemoryStore, Token, TokenManager, TokenStore};
use futures_util::future::join_all;

use super::cases;
use crate::judge::{Judge, Rules};
use crate::world::{World, store};

cases![
    n1_many_callers_share_one_exchange,
    n2_instances_share_one_exchange
];

/// A manager whose session has no access token yet, so that every caller needs an exchange.
fn manager(world: &World, store: impl TokenStore) -> TokenManager {
    let builder = world.refreshing(&world.first.refresh_token);
    builder.store(store).build().unwrap()
}

/// The access tokens that this number of callers of each manager get.
pub(super) async fn tokens_of(managers: &[&TokenManager], callers: usize) -> HashSet<String> {
    let each = managers.iter();
    let calls = each.flat_map(|tokens| (0..callers).map(|_| tokens.token()));
    let answers = join_all(calls).await;
    let text = |token: Result<Token, Error>| token.unwrap().expose().to_owned();
    answers.into_iter().map(text).collect()
}

/// Many callers of one manager share one exchange.
async fn n1_many_callers_share_one_exchange(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let tokens = manager(&world, MemoryStore::new());
    let served = tokens_of(&[&tokens], 500).await;
    assert_eq!(served.len(), 1);
    world.assert_rotations(1);
    let token = served.iter().next().unwrap();
    assert!(world.server.is_live_access(token).await);
    assert_eq!(tokens_of(&[&tokens], 500).await, served);
    world.assert_rotations(1);
}

/// The callers of several instances share one exchange.
async fn n2_instances_share_one_exchange(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let directory = tempfile::tempdir().unwrap();
    let instance = || manager(&world, store(&directory));
    let (one, other) = (instance(), instance());
    let served = tokens_of(&[&one, &other], 50).await;
    assert_eq!(served.len(), 1);
    world.assert_rotations(1);
    for _ in 0..5 {
        one.rotate().await.unwrap();
        other.rotate().await.unwrap();
    }
    let (one, other) = (one.token().await.unwrap(), other.token().await.unwrap());
    assert!(world.server.is_live_access(other.expose()).await);
    world.assert_each_once();
    drop(one);
}
