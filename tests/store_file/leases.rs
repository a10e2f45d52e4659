//! Managers of several processes and a lease: they wait for the lease, and after the death of its holder they do
//! what the server permits about a token that may be spent, and nothing else.

use std::time::Duration;

use evertoken::clock::{Clock, SystemClock};
use evertoken::protocol::Digest;
use evertoken::testing::{FaultyStore, GraceAnswer, Reuse, StoreCall};
use evertoken::{EndReason, Error, Resend, ServerProfile, TokenManager};
use futures_util::future::join_all;

use crate::holder::Shared;
use crate::process::Process;
use crate::support::{HOUR, call, loaded, reason, text};

async fn grace() -> Shared {
    let (window, answer) = (HOUR / 2, GraceAnswer::SamePair);
    Shared::new(Reuse::Grace { window, answer }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n2_processes_that_share_a_directory_spend_a_token_once_and_adopt() {
    let shared = Shared::new(Reuse::RevokeFamily).await;
    let holder = shared.holder("rotate", "").await;
    let directory = shared.directory.path();
    let others = [(); 2].map(|()| Process::start("rotate", "", directory));
    let ours = shared.call(shared.endpoint());
    drop(holder.hold);
    let processes: Vec<_> = others.into_iter().chain([holder.process]).collect();
    let ids: Vec<_> = processes.iter().map(Process::id).collect();
    processes.into_iter().for_each(Process::succeeds);
    let ours = Digest::of(text(&ours.await.unwrap())).to_string();
    for id in ids {
        let told = directory.join(format!("rotated-{id}"));
        assert_eq!(std::fs::read_to_string(told).unwrap(), ours);
    }
    assert_eq!(shared.counts(), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_the_token_of_a_killed_process_is_sent_again_at_once() {
    let shared = grace().await;
    let holder = shared.holder("rotate", "").await;
    let waiting = [(); 3].map(|()| shared.call(shared.endpoint()));
    // The managers wait an hour, unless they learn of the death.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    assert_eq!(shared.server.exchanges(), 1);

    let start = SystemClock.now();
    holder.die();
    let tokens: Vec<_> = join_all(waiting)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let after = SystemClock.now().since(start);
    println!("three went on {after:?} after the kill");
    assert!(tokens.iter().all(|token| text(token) == text(&tokens[0])));
    assert_eq!(shared.counts(), (2, 1, 0), "one of them sent it again");
    assert_eq!(shared.lives().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_an_instance_waits_for_the_lease_of_a_stopped_process() {
    use rustix::process::Signal;

    let shared = grace().await;
    let holder = shared.holder("rotate", "").await;
    holder.process.signal(Signal::STOP);
    let second = Duration::from_secs(1);
    let hasty = shared.endpoint().timeout(second / 2);
    let hasty = shared.manager(hasty).wait(second).build().unwrap();
    assert!(matches!(hasty.token().await, Err(Error::TimedOut { .. })));
    let waiting = shared.call(shared.endpoint());
    assert_eq!(shared.server.exchanges(), 1);
    holder.process.signal(Signal::CONT);
    drop(holder.hold);
    holder.process.succeeds();
    waiting.await.unwrap().unwrap();
    assert_eq!(shared.counts(), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_strict_server_a_token_that_a_killed_process_spent_ends_the_session_at_once() {
    let shared = Shared::new(Reuse::RevokeFamily).await;
    let holder = shared.holder("rotate", "").await;
    let store = FaultyStore::new(shared.store());
    let builder = shared.manager(shared.endpoint()).store(store.clone());
    let waiting = call(&builder.build().unwrap());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    holder.die();
    let error = waiting.await.unwrap().unwrap_err();
    let Some(EndReason::Rejected(word)) = reason(&error) else {
        panic!("{error:?}");
    };
    assert_eq!(word.code(), Some("invalid_grant"));
    assert_eq!(shared.counts(), (2, 1, 1));
    // The death woke the manager once; it did not ask again and again.
    let loads = store.calls(StoreCall::Load);
    assert!(loads < 10, "{loads} loads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_at_once_where_neither_resend_nor_sign_in_is_permitted() {
    let shared = Shared::new(Reuse::RevokeFamily).await;
    let holder = shared.holder("rotate", "").await;
    holder.die();
    let profile = ServerProfile::strict().resend(Resend::Never);
    let called = shared.call(shared.endpoint().profile(profile)).await;
    let error = called.unwrap().unwrap_err();
    assert_eq!(reason(&error), Some(EndReason::OutcomeUnknown));
    assert_eq!(shared.counts(), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_signs_in_at_once_after_a_holders_death() {
    let shared = Shared::new(Reuse::RevokeFamily).await;
    let holder = shared.holder("rotate", "").await;
    holder.die();
    loaded(shared.manager(shared.endpoint().sign_in_as_client())).await;
    assert_eq!((shared.counts(), shared.server.sign_ins()), ((1, 0, 0), 1));
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
    loaded(builder.lease_duration(HOUR).wait(2 * HOUR)).await;
    assert_eq!((shared.counts(), shared.server.sign_ins()), ((0, 0, 0), 2));
    assert_eq!(shared.lives().len(), 0);
}
