//! The cost of a second use of a refresh token. A server that refuses the second use also revokes the pair of the first
//! use.

use std::sync::Arc;

use evertoken::{OnRequest, TokenPair};

use super::cases;
use crate::judge::{Answer, Judge, Kind, Reuse, Rules};
use crate::world::{World, assert_rejected};

cases![
    a_second_use_revokes_the_family,
    a_second_use_is_refused_and_the_family_lives_on if can_refuse,
    one_of_many_uses_at_once_wins_and_its_pair_is_dead if is_strict_at_once,
    many_uses_at_once_bring_a_pair_a_refusal_or_a_server_error if is_django,
];

/// oidc-provider always revokes the family.
fn can_refuse(judge: &Judge) -> bool {
    judge.kind == Kind::Django
}

fn is_strict_at_once(judge: &Judge) -> bool {
    judge.is_embedded || judge.kind == Kind::OidcProvider
}

fn is_django(judge: &Judge) -> bool {
    !judge.is_embedded && judge.kind == Kind::Django
}

async fn a_second_use_revokes_the_family(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let server = &world.server;
    let old = &world.first.refresh_token;
    let second = server.exchange(old).await;
    assert_eq!(second.status, 200);
    let (access, refresh) = (second.text("access_token"), second.text("refresh_token"));
    assert!(server.is_live_access(access).await);
    assert!(server.is_live_refresh(refresh).await);

    assert_eq!(server.exchange(old).await.outcome(), (400, "invalid_grant"));
    assert!(!server.is_live_access(access).await);
    assert!(!server.is_live_access(&world.first.access_token).await);
    assert!(!server.is_live_refresh(refresh).await);

    let pair = TokenPair::new(access).refresh_token(refresh);
    let builder = world.builder(OnRequest::default()).seed(pair);
    let tokens = builder.build().unwrap();
    assert_rejected(tokens.rotate().await);
    world.assert_exchanges(1, 0, 0);
}

async fn a_second_use_is_refused_and_the_family_lives_on(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM.reuse(Reuse::Refuse)).await;
    let server = &world.server;
    let old = &world.first.refresh_token;
    let second = server.exchange(old).await;
    assert_eq!(server.exchange(old).await.outcome(), (400, "invalid_grant"));
    assert!(server.is_live_access(second.text("access_token")).await);
    let third = server.exchange(second.text("refresh_token")).await;
    assert_eq!(third.status, 200);
    assert!(server.is_live_refresh(third.text("refresh_token")).await);
}

async fn many_at_once(world: &World) -> Vec<Answer> {
    let uses = (0..8).map(|_| world.server.exchange(&world.first.refresh_token));
    futures_util::future::join_all(uses).await
}

async fn one_of_many_uses_at_once_wins_and_its_pair_is_dead(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let answers = many_at_once(&world).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 7));
    for answer in lost {
        assert_eq!(answer.outcome(), (400, "invalid_grant"));
    }
    let (access, refresh) = (won[0].text("access_token"), won[0].text("refresh_token"));
    assert!(!world.server.is_live_access(access).await);
    assert!(!world.server.is_live_refresh(refresh).await);
}

/// django-oauth-toolkit checks a token before it locks the token. The server therefore repeats a pair although it has
/// no grace window. It issues another pair to a request that it checked before a refusal revoked the family. It answers
/// 500 to a request whose pair was revoked before the answer was sent.
async fn many_uses_at_once_bring_a_pair_a_refusal_or_a_server_error(judge: Arc<Judge>) {
    let world = World::new(&judge, Rules::CALM).await;
    let answers = many_at_once(&world).await;
    for answer in &answers {
        let known = [(200, ""), (400, "invalid_grant"), (500, "")];
        assert!(known.contains(&answer.outcome()), "{:?}", answer.outcome());
    }
    assert!(answers.iter().any(|answer| answer.status == 200));
}
