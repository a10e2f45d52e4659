//! Managers of several processes and a lease: they wait for the lease, and after the death of its holder they do
//! what the server permits about a token that may be spent, and nothing else.

use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::protocol::Digest;
use evertoken::testing::{FaultyStore, GraceAnswer, Reuse, StoreCall};
use evertoken::{EndReason, Error, Resend, ServerProfile, TokenManager};

use crate::holder::{HOUR, Shared};
use crate::process::Process;

const WINDOW: Duration = Duration::from_secs(1_800);

async fn grace() -> Shared {
    let answer = GraceAnswer::SamePair;
    let reuse = Reuse::Grace {
        window: WINDOW,
        answer,
    };
    Shared::new(reuse).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n2_processes_that_share_a_directory_spend_a_token_once_and_adopt() {
    let shared = Shared::new(Reuse::RevokeFamily).await;
    let holder = shared.holder("rotate", "").await;
    let directory = shared.directory.path();
    let others = [(); 2].map(|()| Process::start("rotate", "", directory));
    let ours = shared
        .manager(shared.endpoint(), ServerProfile::strict())
        .wait(2 * HOUR);
    let ours = ours.build().unwrap();
    let ours = tokio::spawn(async move { ours.token().await.unwrap() });
    drop(holder.hold);
    let ids: Vec<_> = others
        .iter()
        .chain([&holder.process])
        .map(Process::id)
        .collect();
    others
        .into_iter()
        .chain([holder.process])
        .for_each(Process::succeeds);
    let ours = Digest::of(ours.await.unwrap().expose()).to_string();
    for id in ids {
        let told = directory.join(format!("rotated-{id}"));
        assert_eq!(std::fs::read_to_string(told).unwrap(), ours);
    }
    assert_eq!((shared.server.exchanges(), shared.server.replays()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_the_token_of_a_killed_process_is_sent_again_at_once() {
    let (shared, profile) = (grace().await, ServerProfile::strict());
    let holder = shared.holder("rotate", "").await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let builder = shared.manager(shared.endpoint(), profile).wait(2 * HOUR);
            let tokens = builder.build().unwrap();
            tokio::spawn(async move { tokens.token().await.unwrap().expose().to_owned() })
        })
        .collect();
    // The managers wait an hour, unless they learn of the death.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    assert_eq!(shared.server.exchanges(), 1);

    let start = SystemClock.now();
    holder.process.kill();
    drop(holder.hold);
    let mut tokens = Vec::new();
    for waiting in waiting {
        tokens.push(waiting.await.unwrap());
    }
    println!(
        "three went on {:?} after the kill",
        SystemClock.now().since(start)
    );
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    let server = &shared.server;
    assert_eq!(
        (server.exchanges(), server.replays()),
        (2, 1),
        "one of them sent it again"
    );
    assert_eq!(server.families_revoked(), 0);
    assert_eq!(shared.lives().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_an_instance_waits_for_the_lease_of_a_stopped_process() {
    use rustix::process::Signal;

    let (shared, profile) = (grace().await, ServerProfile::strict());
    let holder = shared.holder("rotate", "").await;
    holder.signal(Signal::STOP);
    let second = Duration::from_secs(1);
    let hasty = shared.endpoint().timeout(second / 2);
    let hasty = shared.manager(hasty, profile).wait(second).build().unwrap();
    assert!(matches!(hasty.token().await, Err(Error::TimedOut { .. })));
    let patient = shared
        .manager(shared.endpoint(), profile)
        .wait(2 * HOUR)
        .build()
        .unwrap();
    let waiting = tokio::spawn(async move { patient.token().await.unwrap() });
    assert_eq!(shared.server.exchanges(), 1);
    holder.signal(Signal::CONT);
    drop(holder.hold);
    holder.process.succeeds();
    waiting.await.unwrap();
    assert_eq!((shared.server.exchanges(), shared.server.replays()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_strict_server_a_token_that_a_killed_process_spent_ends_the_session_at_once() {
    let shared = Shared::new(Reuse::RevokeFamily).await;
    let holder = shared.holder("rotate", "").await;
    let store = FaultyStore::new(shared.store());
    let tokens = shared
        .manager(shared.endpoint(), ServerProfile::strict())
        .store(store.clone())
        .wait(2 * HOUR)
        .build()
        .unwrap();
    let waiting = tokio::spawn(async move { tokens.token().await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    holder.process.kill();
    drop(holder.hold);
    let error = waiting.await.unwrap().unwrap_err();
    let Error::Ended { reason, .. } = error else {
        panic!("{error:?}");
    };
    let EndReason::Rejected(word) = reason else {
        panic!("{reason:?}");
    };
    assert_eq!(word.code(), Some("invalid_grant"));
    let server = &shared.server;
    let counts = (
        server.exchanges(),
        server.replays(),
        server.families_revoked(),
    );
    assert_eq!(counts, (2, 1, 1));
    // The death woke the manager once; it did not ask again and again.
    let loads = store.calls(StoreCall::Load);
    assert!(loads < 10, "{loads} loads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_at_once_where_neither_resend_nor_sign_in_is_permitted() {
    let shared = Shared::new(Reuse::RevokeFamily).await;
    let holder = shared.holder("rotate", "").await;
    holder.process.kill();
    drop(holder.hold);
    let profile = ServerProfile::strict().resend(Resend::Never);
    let builder = shared.manager(shared.endpoint(), profile).wait(2 * HOUR);
    let error = builder.build().unwrap().token().await.unwrap_err();
    let Error::Ended { reason, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, EndReason::OutcomeUnknown);
    assert_eq!(
        (shared.server.exchanges(), shared.server.families_revoked()),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_signs_in_at_once_after_a_holders_death() {
    let shared = Shared::new(Reuse::RevokeFamily).await;
    let holder = shared.holder("rotate", "").await;
    holder.process.kill();
    drop(holder.hold);
    let endpoint = shared.endpoint().sign_in_as_client();
    let builder = shared
        .manager(endpoint, ServerProfile::strict())
        .wait(2 * HOUR);
    builder.build().unwrap().token().await.unwrap();
    assert_eq!(
        (shared.server.exchanges(), shared.server.sign_ins()),
        (1, 1)
    );
    assert_eq!(shared.server.families_revoked(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_repeats_the_sign_in_of_a_dead_process_at_once() {
    let shared = Shared::new(Reuse::RevokeFamily).await;
    let hold = shared.server.hold();
    let mut process = Process::start("sign-in", "", shared.directory.path());
    while shared.server.sign_ins() == 0 {
        process.assert_running();
        tokio::task::yield_now().await;
    }
    process.kill();
    drop(hold);
    let endpoint = shared.endpoint().sign_in_as_client();
    let builder = TokenManager::builder(endpoint).store(shared.store());
    let tokens = builder.lease_duration(HOUR).wait(2 * HOUR).build().unwrap();
    tokens.token().await.unwrap();
    assert_eq!(
        (shared.server.exchanges(), shared.server.sign_ins()),
        (0, 2)
    );
    assert_eq!(shared.lives().len(), 0);
}
