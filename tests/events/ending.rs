//! The warning before the end of a session, and the end.

use std::sync::Arc;
use std::time::Duration;

use evertoken::clock::Clock;
use evertoken::testing::{FaultyStore, TestClock};
use evertoken::{
    BackgroundTimer, EndReason, Event, OnExpiry, OnRequest, OptimisticEarly, RefreshExpiry,
    RefreshStrategy, TokenManager, TokenPair,
};

use parking_lot::Mutex;

use crate::probe::{Probe, ProbedStore};
use crate::support::{HOUR, SECOND, World, loaded};

/// The part of an event that a test compares.
#[derive(Debug, Clone, PartialEq, Eq)]
enum News {
    Rotated,
    Adopted,
    Expiring(Duration),
    Ended(EndReason),
    Replaced,
    Other(String),
}

#[derive(Clone)]
struct Timeline(Arc<Mutex<Vec<(Duration, News)>>>);

impl Timeline {
    /// Collects every event of the manager, with the time since this call.
    fn of(tokens: &TokenManager, clock: &TestClock) -> Self {
        let (mut events, clock) = (tokens.subscribe(), clock.clone());
        let start = clock.now();
        let notes = Self(Arc::default());
        let seen = notes.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                seen.0.lock().push((clock.now().since(start), news(&event)));
            }
        });
        notes
    }

    fn all(&self) -> Vec<(Duration, News)> {
        self.0.lock().clone()
    }
}

fn news(event: &Event) -> News {
    match event {
        Event::Rotated { .. } => News::Rotated,
        Event::Adopted { .. } => News::Adopted,
        Event::Expiring { left, .. } => News::Expiring(*left),
        Event::Ended { reason, .. } => News::Ended(reason.clone()),
        Event::Replaced { .. } => News::Replaced,
        other => News::Other(format!("{other:?}")),
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The warning, 60 s before the end.
fn warned(at: u64) -> (Duration, News) {
    (seconds(at), News::Expiring(60 * SECOND))
}

fn idle_at(at: u64) -> (Duration, News) {
    (seconds(at), News::Ended(EndReason::Idle))
}

/// An expiry that is reported 200 ms before this number of seconds.
fn expired_before(at: u64) -> (Duration, News) {
    (just_before(at), News::Ended(EndReason::Expired))
}

/// The time 200 ms before this number of seconds.
fn just_before(n: u64) -> Duration {
    seconds(n) - Duration::from_millis(200)
}

fn fixed(ttl: u32) -> World {
    World::with(|server| {
        server
            .access_ttl(ttl * SECOND)
            .refresh_ttl(ttl * SECOND)
            .refresh_expiry(RefreshExpiry::Absolute)
    })
}

fn idle_ends() -> OptimisticEarly {
    OptimisticEarly::default().on_expiry(OnExpiry::End)
}

async fn idle(world: &World, strategy: impl RefreshStrategy) -> Timeline {
    let tokens = world.manager(strategy).await;
    let timeline = Timeline::of(&tokens, &world.clock);
    world.clock.advance(10 * HOUR).await;
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
    world.clock.advance(SECOND).await;
    timeline
}

/// Every strategy reports the end of a fixed session 60 s before, and ends the session 200 ms before.
#[tokio::test(start_paused = true)]
async fn r5_a_fixed_session_is_warned_of_60_s_and_ended_200_ms_before_its_end_by_every_strategy() {
    for strategy in 0..4 {
        let world = fixed(600);
        let timeline = match strategy {
            0 => idle(&world, BackgroundTimer::default()).await,
            1 => idle(&world, OnRequest::default()).await,
            2 => idle(&world, OptimisticEarly::default()).await,
            _ => idle(&world, idle_ends()).await,
        };
        // A strategy that ends idle sessions gives the reason `Idle` at the same moment.
        let expected = match strategy {
            3 => idle_at(600),
            _ => expired_before(600),
        };
        assert_eq!(timeline.all(), [warned(540), expected], "{strategy}");
        world.assert_exchanges(0);
    }
}

/// The timer does not rotate the last token of a fixed session, and serves that token to its end.
#[tokio::test(start_paused = true)]
async fn r5_the_timer_serves_the_last_token_to_its_end_and_rotates_nothing() {
    let world = fixed(600);
    let tokens = world.manager(BackgroundTimer::default()).await;
    let timeline = Timeline::of(&tokens, &world.clock);
    world.assert_live_for(&tokens, 599 * SECOND).await;
    for _ in 0..100 {
        let _ = tokens.token().await;
        world.clock.advance(SECOND).await;
    }
    assert!(tokens.token().await.unwrap_err().needs_sign_in());
    let ended = timeline.all();
    let [warning, end] = ended.as_slice() else {
        panic!("{ended:?}");
    };
    assert_eq!(*warning, warned(540));
    assert_eq!(end.1, News::Ended(EndReason::Expired));
    world.assert_exchanges(0);
}

/// A session shorter than the warning is reported as expiring at half of its length.
#[tokio::test(start_paused = true)]
async fn r5_a_short_session_is_reported_as_expiring_no_earlier_than_at_half_of_it() {
    for (ttl, warned) in [(100, 50), (120, 60), (121, 61)] {
        let world = fixed(ttl);
        let timeline = idle(&world, BackgroundTimer::default()).await;
        let ttl = u64::from(ttl);
        assert_eq!(
            timeline.all(),
            [
                (seconds(warned), News::Expiring(seconds(ttl - warned))),
                expired_before(ttl),
            ]
        );
    }
}

/// A session without a refresh token ends with its access token.
#[tokio::test(start_paused = true)]
async fn r5_a_pair_without_a_refresh_token_ends_with_its_access_token() {
    let world = World::new(600 * SECOND);
    let access = world.first.access.clone().unwrap();
    let pair = TokenPair::new(access).expires_in(600 * SECOND);
    let tokens = loaded(world.builder(BackgroundTimer::default()).seed(pair)).await;
    let timeline = Timeline::of(&tokens, &world.clock);
    world.clock.advance(HOUR).await;
    assert_eq!(timeline.all(), [warned(540), expired_before(600),]);
    world.assert_exchanges(0);
}

/// An idle session that a request would prolong ends with its refresh token.
#[tokio::test(start_paused = true)]
async fn r5_an_idle_session_that_a_request_would_prolong_ends_with_its_refresh_token() {
    let world = World::with(|server| server.refresh_ttl(HOUR));
    let timeline = idle(&world, OnRequest::default()).await;
    assert_eq!(
        timeline.all(),
        [
            warned(3_540),
            (seconds(3_600), News::Ended(EndReason::Expired)),
        ]
    );
    world.assert_exchanges(0);
}

/// An idle session is reported as expiring once, and as ended once.
#[tokio::test(start_paused = true)]
async fn n9_an_idle_session_is_reported_as_expiring_once_and_ended_once() {
    let world = World::new(600 * SECOND);
    let timeline = idle(&world, idle_ends()).await;
    assert_eq!(timeline.all(), [warned(540), idle_at(600),]);
    world.assert_exchanges(0);
}

/// A request inside the window postpones the end, and the next pair is reported as expiring again.
#[tokio::test(start_paused = true)]
async fn n9_a_request_inside_the_window_postpones_the_end_and_the_next_pair_is_reported_again() {
    let (world, tokens) = World::managed(idle_ends()).await;
    let timeline = Timeline::of(&tokens, &world.clock);
    world.clock.advance(570 * SECOND).await;
    tokens.token().await.unwrap();
    world.clock.advance(2 * HOUR).await;
    assert_eq!(
        timeline.all(),
        [
            warned(540),
            (seconds(570), News::Rotated),
            warned(570 + 540),
            idle_at(570 + 600),
        ]
    );
    world.assert_exchanges(1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_kept_alive_causes_no_warning() {
    let world = World::with(|server| server.refresh_ttl(HOUR));
    let tokens = world.manager(BackgroundTimer::default()).await;
    let timeline = Timeline::of(&tokens, &world.clock);
    world.clock.advance(24 * HOUR - SECOND).await;
    let events = timeline.all();
    assert!(
        events.iter().all(|(_, news)| *news == News::Rotated),
        "{events:?}"
    );
    // One event every 480 s, without the one at 86,400 s.
    assert_eq!(events.len(), 179);
}

/// Two managers on one store, with a strategy that ends idle sessions.
async fn two(world: &World) -> (TokenManager, TokenManager) {
    let here = loaded(world.shared(idle_ends())).await;
    let there = loaded(world.shared(idle_ends())).await;
    (here, there)
}

/// A pair that another instance stored before the warning is adopted in place of the warning.
#[tokio::test(start_paused = true)]
async fn r5_a_pair_of_another_instance_is_adopted_in_place_of_a_warning() {
    let world = World::new(600 * SECOND);
    let (here, there) = two(&world).await;
    let timeline = Timeline::of(&here, &world.clock);
    world.clock.advance(300 * SECOND).await;
    there.rotate().await.unwrap();
    world.clock.advance(HOUR).await;
    assert_eq!(
        timeline.all(),
        [
            (seconds(540), News::Adopted),
            warned(300 + 540),
            idle_at(300 + 600),
        ]
    );
    world.assert_exchanges(1);
}

/// A pair that another instance stored after the warning is adopted in place of the end.
#[tokio::test(start_paused = true)]
async fn r5_a_pair_of_another_instance_is_adopted_in_place_of_the_end() {
    let world = World::new(600 * SECOND);
    let (here, there) = two(&world).await;
    let timeline = Timeline::of(&here, &world.clock);
    world.clock.advance(550 * SECOND).await;
    there.rotate().await.unwrap();
    world.clock.advance(100 * SECOND).await;
    assert_eq!(
        timeline.all(),
        [warned(540), (seconds(600), News::Adopted),]
    );
    assert!(world.is_live(&here.token().await.unwrap()));
    world.assert_exchanges(1);
}

/// A fixed session that another instance replaced does not end here.
#[tokio::test(start_paused = true)]
async fn r5_a_final_session_that_was_replaced_elsewhere_does_not_end_here() {
    let world = fixed(600);
    let strategy = BackgroundTimer::default;
    let here = loaded(world.shared(strategy())).await;
    let there = loaded(world.shared(strategy())).await;
    let timeline = Timeline::of(&here, &world.clock);
    world.clock.advance(570 * SECOND).await;
    there.replace(world.server.issue()).await.unwrap();
    world.clock.advance(100 * SECOND).await;
    assert_eq!(
        timeline.all(),
        [warned(540), (just_before(600), News::Adopted),]
    );
    assert!(world.is_live(&here.token().await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_warning_is_dropped_when_the_session_changes_while_the_store_is_read() {
    // The change happens before the record is read, or after.
    for point in 0..2 {
        for sign_in in [false, true] {
            let world = World::new(600 * SECOND);
            let probe = Probe::default();
            let store = ProbedStore::new(&world.clock, &probe);
            let tokens = loaded(world.builder(idle_ends()).store(store)).await;
            let timeline = Timeline::of(&tokens, &world.clock);
            probe.at(point, {
                let (tokens, pair) = (tokens.clone(), world.server.issue());
                move || async move {
                    if sign_in {
                        tokens.replace(pair).await.unwrap();
                    } else {
                        tokens.rotate().await.unwrap();
                    }
                }
            });
            world.clock.advance(2 * HOUR).await;
            let news = if sign_in {
                News::Replaced
            } else {
                News::Rotated
            };
            // Only the second pair causes a warning. The manager does not return to the first pair.
            assert_eq!(
                timeline.all(),
                [(seconds(540), news), warned(540 + 540), idle_at(540 + 600),],
                "{point}"
            );
        }
    }
}

/// An end is reported once the store, which was down, has confirmed the end.
#[tokio::test(start_paused = true)]
async fn n9_an_end_that_the_store_could_not_confirm_is_reported_once_the_store_is_back() {
    let world = World::with(|server| server.refresh_ttl(HOUR)).with_store(FaultyStore::new);
    let builder = world.shared(OnRequest::default());
    let tokens = loaded(builder).await;
    let timeline = Timeline::of(&tokens, &world.clock);
    world.clock.advance(3_590 * SECOND).await;
    world.store.set_down(true);
    world.clock.advance(20 * SECOND).await;
    world.store.set_down(false);
    world.clock.advance(60 * SECOND).await;
    let mut ends = timeline.all();
    ends.retain(|(_, news)| matches!(news, News::Ended(_)));
    // The pauses after a failure are 2, 4 and 8 s.
    assert_eq!(ends, [(seconds(3_614), News::Ended(EndReason::Expired))]);
    world.assert_exchanges(0);
}
