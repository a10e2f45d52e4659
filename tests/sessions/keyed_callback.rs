//! The callback for new pairs of many sessions, which gets the session's key.

use std::sync::Arc;

use evertoken::{Key, TokenPair};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::support::{SECOND, TTL, call, served, settle};
use crate::tenants::Service;

#[tokio::test(start_paused = true)]
async fn fm23_the_callback_gets_every_new_pair_with_the_key_of_its_session() {
    let seen = Arc::<Mutex<Vec<(Key, String)>>>::default();
    let notes = Arc::clone(&seen);
    let service = Service::with(|builder| {
        builder.on_rotated(move |key: Key, pair: TokenPair| {
            let notes = Arc::clone(&notes);
            let refresh = pair.refresh.unwrap().expose().to_owned();
            async move { notes.lock().push((key, refresh)) }
        })
    });
    let one = service.signed_in("one").await;
    let two = service.signed_in("two").await;
    assert!(seen.lock().is_empty(), "the pair of a user is no new one");
    for round in 2..5 {
        service.clock.advance(TTL).await;
        let before = seen.lock().len();
        served([call(&one), call(&two), call(&one)]).await;
        let mut new: Vec<_> = seen.lock().split_off(before);
        new.sort_by(|a, b| a.1.cmp(&b.1));
        let expected = ["one", "two"].map(|name| (service.key(name), format!("r {name} {round}")));
        assert_eq!(new, expected);
    }
}

/// Each call may take the store's time, and other sessions do not wait for it.
#[tokio::test(start_paused = true)]
async fn fm23_a_callback_that_hangs_or_panics_concerns_its_own_session_only() {
    let service = Service::with(|builder| {
        builder.on_rotated(|key: Key, _| async move {
            match key.tenant.as_str() {
                "hangs" => std::future::pending().await,
                "panics" => panic!("in the callback"),
                _ => {}
            }
        })
    });
    let hangs = service.signed_in("hangs").await;
    let others = [
        service.signed_in("one").await,
        service.signed_in("panics").await,
    ];
    service.clock.advance(TTL).await;
    let asked = Instant::now();
    let hanging = call(&hangs);
    settle().await;
    served(others.iter().map(call)).await;
    assert_eq!(asked.elapsed().as_secs(), 0);
    served([hanging]).await;
    assert_eq!(asked.elapsed(), 5 * SECOND);
    service.tenants.assert_unharmed();
}
