use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Builder;

use super::*;

fn at(second: i64) -> Urgency {
    Urgency::Expires(Timestamp::from_nanos(second * 1_000_000_000))
}

fn entered(gate: &Arc<Gate>) -> Place {
    gate.enter(at(0)).expect("a free place")
}

fn queued(gate: &Arc<Gate>, urgency: Urgency) -> Ticket {
    gate.enter(urgency).expect_err("no free place")
}

fn called(ticket: &mut Ticket) -> Option<Place> {
    ticket.called().now_or_never().flatten()
}

/// All places are free, and none waits.
#[track_caller]
fn assert_all_free(gate: &Arc<Gate>, places: usize) {
    let inside = gate.0.lock();
    assert_eq!((inside.free, inside.waiting.len()), (places, 0));
}

#[test]
fn a_place_goes_to_the_most_urgent_and_among_equals_to_the_first() {
    let gate = Gate::new(1);
    let mut place = entered(&gate);
    let urgencies = [at(9), at(3), at(-5), at(3), Urgency::Leased, at(9)];
    let tickets = urgencies.map(|urgency| queued(&gate, urgency));
    let mut waiting: Vec<_> = tickets.into_iter().enumerate().collect();
    for next in [4, 2, 1, 3, 0, 5] {
        drop(place);
        let calls = waiting
            .iter_mut()
            .map(|(name, ticket)| (*name, called(ticket)));
        let calls: Vec<_> = calls.filter(|(_, place)| place.is_some()).collect();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].0, next);
        waiting.retain(|(name, _)| *name != next);
        place = calls.into_iter().find_map(|(_, place)| place).expect("one");
    }
    drop(place);
    assert_all_free(&gate, 1);
}

#[test]
fn a_free_place_is_taken_at_once_and_no_more_are_taken_than_there_are() {
    let gate = Gate::new(3);
    let places: Vec<_> = (0..3).map(|_| entered(&gate)).collect();
    drop(queued(&gate, at(0)));
    drop(places);
    assert_all_free(&gate, 3);
}

#[test]
fn a_rotation_that_leaves_takes_no_place_along() {
    let gate = Gate::new(1);
    // It leaves before it is called, or after it was called and before it knows.
    for is_called in [false, true] {
        let place = entered(&gate);
        let leaves = queued(&gate, at(1));
        let mut stays = queued(&gate, at(2));
        if is_called {
            drop(place);
            drop(leaves);
        } else {
            drop(leaves);
            assert_eq!(gate.0.lock().waiting.len(), 1);
            drop(place);
        }
        drop(called(&mut stays).expect("the place"));
        drop(stays);
        assert_all_free(&gate, 1);
    }
}

#[test]
fn a_panic_gives_the_place_back() {
    let gate = Gate::new(1);
    let ours = Arc::clone(&gate);
    let panics = std::thread::spawn(move || {
        let _place = entered(&ours);
        panic!("with a place");
    });
    assert!(panics.join().is_err());
    assert_all_free(&gate, 1);
}

/// The runtime goes while rotations have places and others wait.
#[test]
fn a_runtime_that_goes_leaves_the_queue_and_gives_all_places_back() {
    let gate = Gate::new(2);
    let runtime = Builder::new_multi_thread().worker_threads(2).build();
    let runtime = runtime.expect("a runtime");
    for second in 0..100 {
        let gate = Arc::clone(&gate);
        runtime.spawn(async move {
            let _place = match gate.enter(at(second)) {
                Ok(place) => Some(place),
                Err(mut ticket) => ticket.called().await,
            };
            std::future::pending::<()>().await;
        });
    }
    while gate.0.lock().waiting.len() < 98 {
        std::thread::yield_now();
    }
    runtime.shutdown_timeout(Duration::from_secs(10));
    assert_all_free(&gate, 2);
}

/// Rotations that take, wait, leave and give back on several threads.
#[test]
fn no_place_is_lost_or_made_by_threads_that_race() {
    let gate = Gate::new(3);
    let inside = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let runtime = Builder::new_multi_thread().worker_threads(4).build();
    let runtime = runtime.expect("a runtime");
    let task = |number: i64| {
        let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
        async move {
            for round in 0..200 {
                let place = match gate.enter(at((number * 31 + round * 17) % 23)) {
                    Ok(place) => Some(place),
                    Err(_) if (number + round) % 3 == 0 => None,
                    Err(mut ticket) => ticket.called().await,
                };
                if let Some(place) = place {
                    let before = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    assert!(before < 3, "{before}");
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    drop(place);
                }
            }
        }
    };
    let tasks: Vec<_> = (0..16).map(|number| runtime.spawn(task(number))).collect();
    for task in tasks {
        runtime.block_on(task).expect("no panic");
    }
    assert_all_free(&gate, 3);
}
