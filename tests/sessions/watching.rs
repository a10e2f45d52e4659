//! Events of every session, each with its key.

use std::sync::Arc;

use evertoken::{EndReason, EndpointError, Event, Key, SessionsEvent, SessionsEvents};

use crate::support::{HOUR, SECOND, TTL, settle};
use crate::tenants::Service;

pub(crate) fn drain(events: &mut SessionsEvents) -> Vec<(Arc<Key>, Event)> {
    std::iter::from_fn(|| events.try_recv())
        .map(|event| match event {
            SessionsEvent::Session { key, event, .. } => (key, event),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_to_all_sessions_gets_each_event_with_the_key_of_its_session() {
    let service = Service::new();
    let mut events = service.sessions.subscribe();
    let one = service.signed_in("one").await;
    drop(service.signed_in("two").await);
    let mut of_one = one.subscribe();
    service.clock.advance(TTL).await;
    one.token().await.unwrap();
    let error = EndpointError::refused("invalid_client");
    service.tenants.answer("two", Some(error));
    assert!(service.manager("two").token().await.is_err());
    let events = drain(&mut events);
    let seen: Vec<_> = events
        .iter()
        .map(|(key, event)| {
            let what = match event {
                Event::Replaced { .. } => "replaced",
                Event::Rotated { .. } => "rotated",
                Event::Adopted { .. } => "adopted",
                Event::Failed { .. } => "failed",
                other => panic!("{other:?}"),
            };
            (key.tenant.as_str(), what)
        })
        .collect();
    let expected = [
        ("one", "replaced"),
        ("two", "replaced"),
        ("one", "rotated"),
        ("two", "adopted"),
        ("two", "failed"),
    ];
    assert_eq!(seen, expected);
    let own = std::iter::from_fn(|| of_one.try_recv()).count();
    assert_eq!(own, 1, "the events of one session alone");
}

/// The notice of an end is planned for a subscriber, also of a session that was there before.
#[tokio::test(start_paused = true)]
async fn a_subscriber_to_all_sessions_learns_of_an_end_that_no_caller_has_noticed() {
    let service = Service::new();
    let tokens = service.manager("diku");
    let mut pair = service.tenants.pair("diku");
    pair.refresh = None;
    tokens.replace(pair).await.unwrap();
    let mut events = service.sessions.subscribe();
    service.clock.advance(TTL + SECOND).await;
    settle().await;
    let events = drain(&mut events);
    let [
        (_, Event::Expiring { .. }),
        (key, Event::Ended { reason, .. }),
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!((key.tenant.as_str(), reason), ("diku", &EndReason::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_to_all_sessions_learns_how_many_events_it_lost() {
    let service = Service::new();
    let mut events = service.sessions.subscribe();
    let tokens = service.signed_in("diku").await;
    for _ in 0..1_024 {
        tokens.rotate().await.unwrap();
    }
    let first = events.try_recv();
    let Some(SessionsEvent::Lagged { missed, .. }) = first else {
        panic!("{first:?}");
    };
    assert_eq!(missed, 1);
    assert_eq!(drain(&mut events).len(), 1_024);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_to_all_sessions_ends_with_the_last_handle_and_the_last_manager() {
    let service = Service::new();
    let mut events = service.sessions.subscribe();
    let tokens = service.signed_in("diku").await;
    drop(service.sessions);
    assert!(matches!(
        events.recv().await,
        Some(SessionsEvent::Session { .. })
    ));
    tokio::select! {
        biased;
        event = events.recv() => panic!("{event:?}"),
        () = service.clock.advance(HOUR) => {}
    }
    drop(tokens);
    assert!(events.recv().await.is_none());
}
