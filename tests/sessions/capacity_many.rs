//! Many sessions at a few places.

use std::time::Duration;

use evertoken::testing::TestClock;
use evertoken::{Coordination, Sessions};
use futures_util::future::join_all;

use crate::desk::{Desk, begun};
use crate::support::{SECOND, TTL, call, rotate, served};

#[tokio::test(start_paused = true)]
async fn n18_a_thousand_sessions_with_one_place_all_succeed() {
    let (clock, desk) = (TestClock::new(), Desk::slow(Duration::from_millis(20)));
    let sessions = desk.sessions(&clock, 1, |builder| builder);
    let names: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    let managers = join_all(names.iter().map(|name| begun(&sessions, name, TTL))).await;
    clock.advance(TTL + SECOND).await;
    let tokens = served(managers.iter().map(call)).await;
    for (token, name) in tokens.iter().zip(&names) {
        assert_eq!(token.expose(), format!("a {name} 2"));
    }
    assert_eq!((desk.order().len(), desk.most()), (1_000, 1));
    desk.assert_unharmed();
}

#[tokio::test(start_paused = true)]
async fn n18_never_more_exchanges_are_under_way_than_there_are_places() {
    for coordination in [Coordination::Lease, Coordination::None] {
        let (clock, desk) = (TestClock::new(), Desk::slow(Duration::from_millis(70)));
        let sessions = desk.sessions(&clock, 7, |builder| builder.coordination(coordination));
        let names: Vec<_> = (0..200).map(|number| number.to_string()).collect();
        let managers = join_all(names.iter().map(|name| begun(&sessions, name, TTL))).await;
        for round in 2..7 {
            clock.advance(TTL).await;
            served(managers.iter().map(call)).await;
            assert_eq!(desk.order().len(), (round - 1) * 200);
        }
        assert_eq!((desk.most(), desk.inside()), (7, 0));
        desk.assert_unharmed();
    }
}

/// Callers, rotations and places on several threads, in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn n18_never_more_than_there_are_places_on_several_threads_either() {
    let desk = Desk::slow(Duration::from_millis(1));
    let sessions = Sessions::builder(desk.clone()).exchanges_at_once(3);
    let sessions = sessions.build().unwrap();
    let names: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let managers = join_all(names.iter().map(|name| begun(&sessions, name, TTL))).await;
    for _ in 0..3 {
        served(managers.iter().map(rotate)).await;
    }
    assert_eq!(
        (desk.order().len(), desk.most(), desk.inside()),
        (300, 3, 0)
    );
    desk.assert_unharmed();
}
